//! PostgreSQL, which many issuers share. The server groups the flushes of what is written at once.

use core::time::Duration;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _, TryFutureExt as _};
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, sleep, timeout};

use super::sql::{self, Asked, Database, NotOpened, Pace, SqlStore, Work};
use super::{Change, Found, OpenError, Opening, Written, inserts};

/// Connections of one issuer.
const CONNECTIONS: u32 = 16;

/// Statements that insert at once what came during those before. One that waits holds up the other half only.
const ABREAST: usize = 2;

/// Of a text for each column, whose parts are apart by [`inserts::SEPARATOR`].
const INSERT: &str = "INSERT INTO keybound_record (kind, id, family, expires, version, body) \
    SELECT kind, id, family, expires::bigint, 1, body \
    FROM unnest(string_to_array($1, chr(31)), string_to_array($2, chr(31)), string_to_array($3, chr(31)), \
    string_to_array($4, chr(31)), string_to_array($5, chr(31))) AS record (kind, id, family, expires, body)";

/// How often a write is tried that another one got in the way of.
const TRIES: u32 = 5;

/// How long it may take to be there when the issuer starts: both often start together.
pub(super) const START: Duration = Duration::from_secs(10);

/// How long after one that was refused another connection is tried.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

/// The server is starting, is about to stop, or has no room for one more (appendix A of its documentation).
const PASSING: [&str; 4] = ["57P03", "57P01", "57P02", "53300"];

const SILENT: &str = "the database does not answer";

/// Among all locks of the database, the one that is held while tables are made.
const MIGRATION_LOCK: &str = "SELECT pg_advisory_xact_lock(5641893720465411)";

/// A row if there are tables of an issuer.
const TABLES: &str = "SELECT 1 WHERE to_regclass('keybound_store') IS NOT NULL";

/// What is said to be done is on the disk, whatever the server, the database or the role has for others. What waits for more than that stays
/// as it is, and is held on to, so that a server whose settings change takes nothing away from connections that are there.
const DURABLE: &str = "SELECT set_config('synchronous_commit', CASE setting WHEN 'off' THEN 'on' ELSE setting END, false) \
    FROM pg_settings WHERE name = 'synchronous_commit'";

struct Postgres {
    pool: AnyPool,
}

pub(super) fn open(how: Opening, url: &str, now: UnixTime) -> Result<SqlStore, OpenError> {
    let url = url.to_owned();
    SqlStore::open("postgres", move || async move { Postgres::open(&url, how, now).await }.boxed())
}

impl Postgres {
    async fn open(url: &str, how: Opening, now: UnixTime) -> Result<(Self, UnixTime), NotOpened> {
        let text = |error: sqlx::Error| in_words(&error);
        let options: AnyConnectOptions = url.parse().map_err(text)?;
        has_its_roots(&options)?;
        let options = options.disable_statement_logging();
        // By itself first: a pool tries for a while, and then does not say what failed.
        let mut first = await_it(&options, how.patience).await?;
        first.execute(DURABLE).await.map_err(text)?;
        if !how.makes {
            sql::is_there(&mut first, TABLES).await.map_err(text)?.then_some(()).ok_or(NotOpened::Absent)?;
        }
        let mut transaction = first.begin().await.map_err(text)?;
        transaction.execute(MIGRATION_LOCK).await.map_err(text)?;
        let opened = sql::migrate(&mut transaction, TABLES, now).await?;
        transaction.commit().await.map_err(text)?;
        let pool = AnyPoolOptions::new().max_connections(CONNECTIONS).acquire_timeout(Duration::from_secs(3));
        let pool = pool.after_connect(|connection, _| connection.execute(DURABLE).map_ok(drop).boxed());
        Ok((Self { pool: pool.connect_lazy_with(options) }, opened))
    }

    /// A transaction that lost against another one is none; it begins again.
    async fn write(&self, changes: &[Change]) -> sqlx::Result<Written> {
        for _ in 1..TRIES {
            match self.try_write(changes).await {
                Err(sqlx::Error::Database(error)) if inserts::lost(&*error) => {}
                result => return result,
            }
        }
        self.try_write(changes).await
    }

    async fn try_write(&self, changes: &[Change]) -> sqlx::Result<Written> {
        if let [_] = changes {
            // Most writes are one change, which is done or not by itself, in one way to the server and back.
            return sql::apply(&mut *self.pool.acquire().await?, changes).await;
        }
        let mut transaction = self.pool.begin().await?;
        let written = sql::apply(&mut transaction, changes).await?;
        match written {
            Written::Done => transaction.commit().await?,
            Written::Conflict(_) => transaction.rollback().await?,
        }
        Ok(written)
    }

    /// Writes by itself, beside whatever else is written.
    fn write_alone(self: &Arc<Self>, work: Work) {
        let database = Arc::clone(self);
        tokio::spawn(async move {
            let written = sql::in_time(database.write(&work.changes)).await;
            work.answer(written);
        });
    }

    /// Takes new records, as many as there are at a time.
    async fn serve_inserts(self: Arc<Self>, mut works: mpsc::Receiver<Work>) {
        let room = Arc::new(Semaphore::new(ABREAST));
        while let Ok(place) = Arc::clone(&room).acquire_owned().await {
            let mut group = Vec::new();
            if works.recv_many(&mut group, sql::GROUP).await == 0 {
                return;
            }
            let database = Arc::clone(&self);
            tokio::spawn(async move {
                database.insert(group).await;
                drop(place);
            });
        }
    }

    async fn insert(self: &Arc<Self>, group: Vec<Work>) {
        let several = group.len() > 1;
        let inserting = async {
            let mut connection = self.pool.acquire().await?;
            let query =
                inserts::columns(&group).into_iter().fold(sqlx::query(INSERT), |query, column| query.bind(column));
            inserts::done(query.execute(&mut *connection).await)
        };
        let inserting = async { Ok(several && inserting.await?) };
        match sql::in_time(inserting).await {
            Ok(true) => group.into_iter().for_each(|work| work.answer(Ok(Written::Done))),
            Ok(false) => group.into_iter().for_each(|work| self.write_alone(work)),
            Err(fault) => group.into_iter().for_each(|work| work.answer(Err(fault))),
        }
    }

    async fn sweep(&self, now: UnixTime) {
        let sweeping = async {
            while sql::sweep(&mut *self.pool.acquire().await?, now).await? {}
            Ok(())
        };
        // What failed is logged, and what is left goes the next time.
        let _ = sql::in_time(sweeping).await;
    }
}

impl Database for Postgres {
    fn read(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, sqlx::Result<Found>> {
        async move { sql::find(&mut *self.pool.acquire().await?, &asked).await }.boxed()
    }

    fn serve_writes(self: Arc<Self>, mut works: mpsc::Receiver<Work>) -> BoxFuture<'static, ()> {
        async move {
            let (mut next_sweep, mut pace) = (UnixTime::from_secs(0), Pace::new());
            let (inserts, queue) = mpsc::channel(sql::QUEUE);
            tokio::spawn(Arc::clone(&self).serve_inserts(queue));
            loop {
                let group = pace.next(&mut works).await;
                let Some(now) = group.iter().map(|work| work.now).max() else { return };
                if now >= next_sweep {
                    next_sweep = now.plus(Duration::from_secs(sql::SWEEP_SECONDS));
                    let database = Arc::clone(&self);
                    tokio::spawn(async move { database.sweep(now).await });
                }
                for work in group {
                    if !inserts::is_one(&work) {
                        self.write_alone(work);
                    } else if let Err(refused) = inserts.try_send(work) {
                        refused.into_inner().answer(Err(Fault::StoreUnavailable));
                    }
                }
            }
        }
        .boxed()
    }
}

/// Whether the certificates that the server's is held against can be read: waiting does not mend a path.
fn has_its_roots(options: &AnyConnectOptions) -> Result<(), String> {
    let named = |names: &[&str]| options.database_url.query_pairs().filter(|(key, _)| names.contains(&&**key)).last();
    // They are read in these modes alone.
    let is_read =
        named(&["sslmode", "ssl-mode"]).is_some_and(|(_, mode)| mode.to_ascii_lowercase().starts_with("verify-"));
    match named(&["sslrootcert", "ssl-root-cert", "ssl-ca"])
        .filter(|(_, path)| is_read && !path.trim().starts_with("-----BEGIN"))
    {
        Some((_, path)) => std::fs::read(&*path).map(drop).map_err(|error| tls(&error)),
        None => Ok(()),
    }
}

/// A connection, as soon as there can be one.
pub(super) async fn await_it(options: &AnyConnectOptions, patience: Duration) -> Result<AnyConnection, String> {
    let (begun, mut said) = (Instant::now(), String::new());
    loop {
        let connected = timeout(START, AnyConnection::connect_with(options)).await.map_err(|_| SILENT)?;
        match connected {
            Ok(connection) => return Ok(connection),
            Err(error) if is_passing(&error) && begun.elapsed() + PAUSE < patience => {
                let words = in_words(&error);
                if words != said {
                    tracing::warn!(error = words, "waiting for the database");
                    said = words;
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(in_words(&error)),
        }
    }
}

fn is_passing(error: &sqlx::Error) -> bool {
    match error {
        // A certificate stays as it is. Whatever else a server that is about to start says may be another thing the next time.
        sqlx::Error::Io(error) => !matches!(of_tls(error), Some(rustls::Error::InvalidCertificate(_))),
        // Where a connection ends before the server has said whether it speaks TLS.
        sqlx::Error::Protocol(_) => true,
        sqlx::Error::Database(error) => error.code().is_some_and(|code| PASSING.contains(&&*code)),
        _ => false,
    }
}

/// What the database says, and what it means to the one who starts the issuer. An address holds a password: it is not said.
fn in_words(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Configuration(error) => format!("the address is not one of a PostgreSQL database ({error})"),
        sqlx::Error::Io(error) if of_tls(error).is_some() => tls(error),
        sqlx::Error::Io(error) => format!("the database cannot be reached ({error})"),
        sqlx::Error::Tls(error) => tls(error),
        // Without the line of its own source that it names.
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}

/// What went wrong in a handshake comes as an error of the connection.
fn of_tls(error: &std::io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

fn tls(error: &dyn core::fmt::Display) -> String {
    format!("TLS fails: {error}; see sslmode and sslrootcert in the address")
}
