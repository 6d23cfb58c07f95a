//! A schema of its own for each test, nodes and proofs.

use core::time::Duration;
use std::path::PathBuf;
use std::process::Command;
use std::time::SystemTime;

use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore as _, Seen};
use keybound::time::UnixTime;
use keybound_postgres::{ConnectError, PostgresSettings, PostgresStore};
use redis_rig::Proxy;
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, Connection as _, Executor as _};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

use crate::server::Server;

/// For an answer that has to come: a machine that has much to do may stand still for seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For what the server and nodes do by themselves.
const LONG: Duration = Duration::from_secs(60);

/// Ends all connections of nodes.
pub(crate) const TERMINATE: &str =
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'keybound'";

/// The server is killed and held by some: one test at a time.
static ONE: Mutex<()> = Mutex::const_new(());

pub(crate) struct Place {
    pub(crate) server: Server,
    schema: String,
    _one: MutexGuard<'static, ()>,
}

impl Place {
    pub(crate) async fn new(name: &str) -> Self {
        let place = Self { _one: ONE.lock().await, server: Server::named(), schema: format!("test_{name}") };
        place.run("DROP SCHEMA IF EXISTS {} CASCADE").await;
        place
    }

    pub(crate) fn settings(&self) -> PostgresSettings {
        let settings = PostgresSettings::from_url(self.server.url()).expect("a URL").timeout(PATIENCE);
        settings.schema(&self.schema).expect("a name")
    }

    pub(crate) async fn node(&self) -> PostgresStore {
        connected(self.settings()).await
    }

    /// One that is to come upon a fault, and soon.
    pub(crate) async fn hasty(&self) -> PostgresStore {
        connected(self.settings().timeout(Duration::from_millis(300))).await
    }

    /// The address by way of a proxy, and that.
    pub(crate) fn by_proxy(&self) -> (String, Proxy) {
        let options: PgConnectOptions = self.server.url().parse().expect("a URL");
        let proxy = Proxy::to(([127, 0, 0, 1], options.get_port()).into()).expect("a proxy");
        (format!("postgres://keybound@{}/postgres", proxy.address()), proxy)
    }

    pub(crate) async fn connection(&self) -> PgConnection {
        PgConnection::connect(self.server.url()).await.expect("a connection")
    }

    pub(crate) fn sql(&self, text: &str) -> AssertSqlSafe<String> {
        AssertSqlSafe(text.replace("{}", &self.schema))
    }

    /// A statement, with the schema for `{}`.
    pub(crate) async fn run(&self, text: &str) {
        self.connection().await.execute(self.sql(text)).await.expect("an outcome");
    }

    pub(crate) async fn turn(&self, is_far: bool, from: i64) -> bool {
        self.try_turn(is_far, from).await.expect("an answer")
    }

    pub(crate) async fn try_turn(&self, is_far: bool, from: i64) -> Result<bool, sqlx::Error> {
        let turning = self.sql("SELECT {}.turn((SELECT marker FROM {}.epoch), $1, $2)");
        sqlx::query_scalar(turning).bind(is_far).bind(from).fetch_one(&mut self.connection().await).await
    }

    /// What a question about it is answered with.
    pub(crate) async fn number(&self, question: &str) -> i64 {
        let asking = sqlx::query_scalar(self.sql(question));
        asking.fetch_one(&mut self.connection().await).await.expect("a number")
    }

    /// How often the near ring has turned.
    pub(crate) async fn turns(&self) -> i64 {
        self.number("SELECT near FROM {}.epoch").await
    }

    /// As by a node whose clock is so far behind that of the server.
    pub(crate) async fn record_of_nothing(&self, off: f64) -> Vec<i64> {
        let recording = self.sql(
            "SELECT {}.record((SELECT marker FROM {}.epoch), extract(epoch FROM clock_timestamp())::float8 - $1, 10, 5, 100, \
             '{}', '{}', '{}')",
        );
        // What looks like a schema there is an empty list.
        let recording = AssertSqlSafe(recording.0.replace(&format!("'{}'", self.schema), "'{}'"));
        sqlx::query_scalar(recording).bind(off).fetch_one(&mut self.connection().await).await.expect("an answer")
    }
}

pub(crate) async fn connected(settings: PostgresSettings) -> PostgresStore {
    outcome(settings).await.unwrap_or_else(|error| panic!("{error}"))
}

pub(crate) async fn refused(settings: PostgresSettings) -> ConnectError {
    outcome(settings).await.expect_err("no store")
}

/// Of connecting, by a server that answers: for how long a node tries to connect is no setting.
async fn outcome(settings: PostgresSettings) -> Result<PostgresStore, ConnectError> {
    let end = Instant::now() + LONG;
    loop {
        match PostgresStore::connect(settings.clone()).await {
            Err(error) if error.to_string().ends_with("answer in time") && Instant::now() < end => {}
            outcome => return outcome,
        }
    }
}

/// Begins an epoch for these windows: whoever asks for one gives up after three seconds.
pub(crate) async fn raised(node: &PostgresStore, window: Duration) -> Epoch {
    let mut raised = None;
    eventually("an epoch", async || {
        raised = node.raise(window, window).await.ok();
        raised.is_some()
    })
    .await;
    raised.expect("it was waited for")
}

/// A line for the shell, as the user that the server runs as; `BIN` is where its programs are.
pub(crate) fn shell(line: &str) -> bool {
    let start = std::env::var("KEYBOUND_TEST_POSTGRES_START").expect("it is named");
    let (user, rest) = start.split_once('\'').expect("the program in quotes");
    let programs = rest.split_once("/pg_ctl").expect("pg_ctl").0;
    let line = format!("{user} sh -c '{}'", line.replace("BIN", programs));
    Command::new("sh").args(["-c", &line]).status().expect("a shell").success()
}

/// The folder of the server's data.
pub(crate) fn data() -> PathBuf {
    std::env::var_os("KEYBOUND_TEST_POSTGRES_DATA").expect("it is named").into()
}

pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// A proof of the key of this number.
pub(crate) struct Proof {
    key: u8,
    jti: String,
    expires: UnixTime,
}

impl Proof {
    pub(crate) fn new(key: u8, jti: impl Into<String>) -> Self {
        Self { key, jti: jti.into(), expires: now().plus(Duration::from_secs(306)) }
    }

    pub(crate) const fn until(mut self, expires: UnixTime) -> Self {
        self.expires = expires;
        self
    }

    /// Judged by this node just now.
    pub(crate) async fn at(&self, node: &PostgresStore) -> Result<Seen, Fault> {
        self.under(node.epoch(), node).await
    }

    /// Judged when this was the epoch.
    pub(crate) async fn under(&self, epoch: Epoch, node: &PostgresStore) -> Result<Seen, Fault> {
        let jkt = Thumbprint::from_bytes([self.key; 32]);
        node.record(&ReplayEntry::new(jkt, &self.jti, "https://api.example.com/", epoch, self.expires), now()).await
    }
}

/// Lets so many seconds go by, by the clock that nobody sets.
pub(crate) async fn later(seconds: u64) {
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(seconds)).await;
    tokio::time::resume();
}

/// Waits for something that the store does by itself.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done().await {
        assert!(Instant::now() < end, "waited too long for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}
