//! The suite on each store, and what only a database can do wrong.

use std::fs;
use std::io::{Read, Seek as _, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use sqlx::{AnyConnection, Connection as _, Executor as _};

use super::{Change, Kind, Location, Store, Written, open, open_at_once, open_existing, postgres, suite};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

/// No wait for what is to happen is longer.
const PATIENCE: Duration = Duration::from_secs(30);

fn sqlite(file: &Path) -> Arc<dyn Store> {
    open(&Location::Sqlite(file.into()), NOW).expect("a store")
}

fn insert(id: &str) -> Vec<Change> {
    vec![Change::Insert { kind: Kind::CODE, id: id.into(), family: "".into(), expires: NOW, body: "{}".into() }]
}

const LATER: UnixTime = UnixTime::from_secs(1_700_003_600);

/// What is still there an hour later.
fn lasting(id: &str) -> Vec<Change> {
    vec![Change::Insert { kind: Kind::CODE, id: id.into(), family: "".into(), expires: LATER, body: "{}".into() }]
}

/// A name that was mistyped, and the file of another program: nothing becomes of either.
#[tokio::test]
async fn who_looks_makes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let [nothing, other, kept] = ["nothing.db", "other.db", "kept.db"].map(|name| folder.path().join(name));
    let look = |file: &Path| open_existing(&Location::Sqlite(file.into()), NOW);
    let absent = look(&nothing).expect_err("nothing is there");
    assert!(absent.is_absent() && absent.to_string().ends_with("nothing.db: there is no such file"), "{absent}");
    assert!(!nothing.exists());

    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&other).create_if_missing(true);
    let mut theirs = sqlx::SqliteConnection::connect_with(&options).await.expect("a database");
    theirs.execute("CREATE TABLE songs (name TEXT)").await.expect("a table");
    drop(theirs);
    let before = fs::read(&other).expect("a file");
    let absent = look(&other).expect_err("it is no store");
    assert!(absent.is_absent() && absent.to_string().contains("it holds no store of an issuer"), "{absent}");
    assert_eq!(fs::read(&other).expect("a file"), before);

    assert_eq!(sqlite(&kept).write(insert("kept"), NOW).await, Ok(Written::Done));
    let store = look(&kept).expect("a store");
    assert!(store.read(Kind::CODE, "kept", NOW).await.expect("a store that works").is_some());
}

#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn who_looks_makes_nothing_in_postgres() {
    let own = OwnDatabase::new("looking").await;
    for _ in 0..2 {
        let absent = open_existing(&own.location(), NOW).expect_err("it has no tables");
        assert!(absent.is_absent() && absent.to_string().contains("it holds no store of an issuer"), "{absent}");
    }
    drop(open(&own.location(), NOW).expect("a store"));
    open_existing(&own.location(), NOW).expect("the same store");
    let Location::Postgres(there) = own.location() else { panic!("an address") };
    let nowhere = Location::Postgres(format!("{there}_mistyped").into());
    let said = open_existing(&nowhere, NOW).expect_err("there is no such database").to_string();
    assert!(said.ends_with("_mistyped\" does not exist"), "{said}");
}

#[tokio::test]
async fn memory() {
    suite::run(&open(&Location::Memory, NOW).expect("a store"), "first", NOW).await;
}

#[tokio::test]
async fn sqlite_in_a_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("odd name?#%.db");
    let store = sqlite(&file);
    suite::run(&store, "first", NOW).await;
    suite::run(&store, "second", NOW).await;
    #[cfg(unix)]
    for made in fs::read_dir(folder.path()).expect("a folder") {
        let made = made.expect("a file");
        let mode = std::os::unix::fs::PermissionsExt::mode(&made.metadata().expect("a mode").permissions());
        assert_eq!(mode & 0o777, 0o600, "{made:?}");
    }
    assert!(file.exists());
}

#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres() {
    let url = std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database");
    let location = Location::Postgres(url.into());
    let store = open(&location, NOW).expect("a store");
    let run = format!("run {}", std::process::id());
    suite::run(&store, &run, NOW).await;
    // Another issuer on the same database: it makes no tables, and sees what the first wrote.
    let replica = open(&location, NOW).expect("a store");
    assert_eq!(replica.opened(), store.opened());
    let id = format!("{run} shared");
    assert_eq!(store.write(insert(&id), NOW).await, Ok(Written::Done));
    assert_eq!(replica.write(insert(&id), NOW).await, Ok(Written::Conflict(0)));
}

// Until there is a later program, of which this one knows nothing.
#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id.db");
    {
        let store = sqlite(&file);
        assert_eq!(store.write(insert("kept"), NOW).await, Ok(Written::Done));
    }
    let store = open(&Location::Sqlite(file), UnixTime::from_secs(1_700_000_100)).expect("a store");
    assert_eq!(store.opened(), NOW, "it has forgotten nothing since it was made");
    assert!(store.read(Kind::CODE, "kept", NOW).await.expect("a store that works").is_some());
}

#[tokio::test]
async fn what_has_expired_is_swept() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = sqlite(&folder.path().join("id.db"));
    assert_eq!(store.write(insert("old"), NOW).await, Ok(Written::Done));
    assert_eq!(store.write(lasting("new"), LATER).await, Ok(Written::Done));
    // As of before: were it still in the table, it would be found.
    assert_eq!(store.read(Kind::CODE, "old", NOW).await, Ok(None));
}

#[test]
fn what_cannot_be_opened_says_why() {
    let folder = tempfile::tempdir().expect("a folder");
    let said = |location: Location| open(&location, NOW).err().map(|error| error.to_string()).unwrap_or_default();
    let damaged = folder.path().join("damaged.db");
    fs::write(&damaged, "no database at all, and long enough to have a header of one, one would think".repeat(9))
        .expect("a file");
    assert!(said(Location::Sqlite(damaged)).contains("damaged or no SQLite database"));
    let nowhere = folder.path().join("missing/id.db");
    let nowhere = said(Location::Sqlite(nowhere));
    assert!(nowhere.contains("see whether its folder is there"), "{nowhere}");
    let secret = "postgres://keybound:hunter2@127.0.0.1:1/id";
    let begun = Instant::now();
    let unreachable = open_at_once(&Location::Postgres(secret.into()), NOW).unwrap_err().to_string();
    assert!(begun.elapsed() < postgres::START, "nobody waits for it");
    assert!(unreachable.contains("cannot be reached") && !unreachable.contains("hunter2"), "{unreachable}");
    let rootless = format!("{secret}?sslmode=verify-full&sslrootcert={}", folder.path().join("mistyped.pem").display());
    let rootless = said(Location::Postgres(rootless.into()));
    assert!(begun.elapsed() < postgres::START, "a path is not waited for");
    assert!(rootless.contains("sslrootcert") && rootless.contains("No such file"), "{rootless}");
    let of_a_folder = format!("{secret}?ssl-mode=verify-ca&ssl-ca={}", folder.path().display());
    let of_a_folder = said(Location::Postgres(of_a_folder.into()));
    assert!(begun.elapsed() < postgres::START && of_a_folder.contains("directory"), "{of_a_folder}");
    let odd = said(Location::Postgres("postgres://[".into()));
    assert!(odd.contains("not one of a PostgreSQL database"), "{odd}");
}

/// A service that waits says why once, not at every try.
#[tokio::test]
async fn what_a_database_is_waited_for_is_said_once() {
    let mut log = Arc::new(tempfile::tempfile().expect("a file"));
    let subscriber = tracing_subscriber::fmt().with_writer(Arc::clone(&log)).with_ansi(false).finish();
    let noted = tracing::subscriber::set_default(subscriber);
    let options = "postgres://keybound@127.0.0.1:1/id".parse().expect("an address");
    sqlx::any::install_default_drivers();
    let patience = postgres::PAUSE * 12;
    let begun = Instant::now();
    postgres::await_it(&options, patience).await.expect_err("nobody is there");
    assert!(begun.elapsed() >= 2 * postgres::PAUSE, "it was tried more than once");
    drop(noted);
    let mut said = String::new();
    log.rewind().and_then(|()| log.read_to_string(&mut said)).expect("what was said");
    assert_eq!(said.matches("waiting for the database").count(), 1, "{said}");
}

/// A server that is about to start may take up a handshake and go no further.
#[tokio::test]
async fn a_handshake_that_breaks_off_is_tried_again() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let tries = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&tries);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("a connection");
            stream.read_exact(&mut [0; 8]).expect("a request for TLS");
            counted.fetch_add(1, Ordering::Relaxed);
            // Yes, and then no record of TLS.
            stream.write_all(b"SE: not yet, not yet, not yet").expect("an answer");
            // Until the other side has read it.
            let _ = stream.read_to_end(&mut Vec::new());
        }
    });
    sqlx::any::install_default_drivers();
    let options = format!("postgres://keybound@127.0.0.1:{port}/id?sslmode=require").parse().expect("an address");
    let said = postgres::await_it(&options, postgres::PAUSE * 4).await.expect_err("no database");
    assert!(said.starts_with("TLS fails"), "{said}");
    assert!(tries.load(Ordering::Relaxed) >= 2, "it was tried once");
}

/// So many records that the file has more pages than SQLite keeps in memory.
const MANY: usize = 20_000;

fn name(number: usize) -> String {
    format!("{number:064}")
}

async fn fill(store: &Arc<dyn Store>) {
    for chunk in 0..MANY / 1000 {
        let changes = (0..1000).flat_map(|number| insert(&name(chunk * 1000 + number))).collect();
        assert_eq!(store.write(changes, NOW).await, Ok(Written::Done));
    }
}

/// Everything that was written stands in the file itself then.
async fn settle(file: &Path) {
    let url = format!("sqlite:{}", file.display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.expect("a connection");
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").await.expect("a checkpoint");
    connection.close().await.expect("an end");
}

// Half of the file is gone: no answer is a wrong one, nothing new is acknowledged, and what comes back is whole again.
#[tokio::test]
async fn a_file_that_is_cut_off_is_a_fault_until_it_is_mended() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id.db");
    let store = sqlite(&file);
    fill(&store).await;
    settle(&file).await;
    let whole = fs::read(&file).expect("a file");
    let cut = fs::OpenOptions::new().write(true).open(&file).expect("a file");
    cut.set_len(u64::try_from(whole.len() / 2).expect("a length")).expect("a shorter file");
    let mut faults = 0;
    for number in (0..MANY).step_by(501) {
        match store.read(Kind::CODE, &name(number), NOW).await {
            Ok(record) => assert!(record.is_some(), "{number} was acknowledged and is said not to be there"),
            Err(fault) => {
                assert_eq!(fault, Fault::StoreUnavailable);
                faults += 1;
            }
        }
    }
    assert!(faults > 0, "half of the file is gone");
    assert_eq!(store.write(insert("new"), NOW).await, Err(Fault::StoreUnavailable));
    let damaged = folder.path().join("started.db");
    fs::copy(&file, &damaged).expect("a copy");
    let error = open(&Location::Sqlite(damaged), NOW).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("the file is damaged"), "{error}");

    (&cut).write_all(&whole).expect("the same file");
    for number in (0..MANY).step_by(501) {
        assert!(store.read(Kind::CODE, &name(number), NOW).await.expect("a store that works").is_some());
    }
    assert_eq!(store.read(Kind::CODE, "new", NOW).await, Ok(None), "refused, and nothing of it is there");
    assert_eq!(store.write(insert("new"), NOW).await, Ok(Written::Done));
}

#[test]
fn a_folder_that_may_not_be_written_to_is_said() {
    // Nobody makes files there, not even root.
    let location = Location::Sqlite("/proc/id.db".into());
    let error = open(&location, NOW).err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("see whether its folder is there and may be written to"), "{error}");
}

/// With each row that is written, how long its commit will wait.
const WITNESS: &str = "CREATE TABLE witness (name text, setting text); \
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
        $$BEGIN INSERT INTO witness VALUES (NEW.id, current_setting('synchronous_commit')); RETURN NEW; END$$; \
    CREATE TRIGGER noting AFTER INSERT ON keybound_record FOR EACH ROW EXECUTE FUNCTION note()";

// What was acknowledged would be lost with a server that ends suddenly, if commits were not waited for. Where more is waited for, it stays so.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres_whose_commits_are_waited_for() {
    for (set, expected) in [
        ("off", "on"),
        ("on", "on"),
        ("local", "local"),
        ("remote_write", "remote_write"),
        ("remote_apply", "remote_apply"),
    ] {
        let mut database = OwnDatabase::new(&format!("commits_{set}")).await;
        let alter = format!("ALTER DATABASE {} SET synchronous_commit = {set}", database.name);
        database.server.execute(sqlx::AssertSqlSafe(alter)).await.expect("what a superuser may do");
        let store = open(&database.location(), NOW).expect("a store");
        let Location::Postgres(url) = database.location() else { panic!("an address") };
        let mut beside = sqlx::PgConnection::connect(&url).await.expect("a connection");
        beside.execute(WITNESS).await.expect("a witness");
        // By itself, with others in one step, and in one statement with those of others.
        assert_eq!(store.write(insert("one"), NOW).await, Ok(Written::Done));
        assert_eq!(store.write([insert("two"), insert("three")].concat(), NOW).await, Ok(Written::Done));
        let many: Vec<_> = (0..64).map(|number| store.write(insert(&name(number)), NOW)).collect();
        assert!(join_all(many).await.into_iter().all(|written| written == Ok(Written::Done)));
        let noted: Vec<(String, i64)> = sqlx::query_as("SELECT setting, count(*) FROM witness GROUP BY setting")
            .fetch_all(&mut beside)
            .await
            .expect("rows");
        assert_eq!(noted, [(expected.to_owned(), 67)], "{set}");
    }
}

/// So many that have expired.
const EXPIRED: usize = 1200;

async fn expire(store: &Arc<dyn Store>) {
    let changes = (0..EXPIRED).flat_map(|number| insert(&name(number))).chain(lasting("kept")).collect();
    assert_eq!(store.write(changes, NOW).await, Ok(Written::Done));
}

async fn count(connection: &mut AnyConnection) -> i64 {
    sqlx::query_scalar("SELECT count(*) FROM keybound_record").fetch_one(connection).await.expect("a number")
}

/// With each group of writes some go, so that nobody waits for all of them.
#[tokio::test]
async fn many_are_swept_in_small_steps() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id.db");
    let store = sqlite(&file);
    let mut beside = AnyConnection::connect(&format!("sqlite:{}", file.display())).await.expect("a connection");
    expire(&store).await;
    // Besides the one that is kept, and those that are written.
    for (name, rows) in [("one", 702), ("two", 203), ("three", 4), ("four", 5)] {
        assert_eq!(store.write(lasting(name), LATER).await, Ok(Written::Done));
        assert_eq!(count(&mut beside).await, rows, "{name}");
    }
    assert!(store.read(Kind::CODE, "kept", LATER).await.expect("a store that works").is_some());
}

/// How many rows each statement takes away.
const STEPS: &str = "CREATE TABLE steps (number SERIAL, size BIGINT); \
    CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS \
        $$BEGIN INSERT INTO steps (size) SELECT count(*) FROM gone; RETURN NULL; END$$; \
    CREATE TRIGGER noting AFTER DELETE ON keybound_record REFERENCING OLD TABLE AS gone \
        FOR EACH STATEMENT EXECUTE FUNCTION note()";

// Beside what is written, which waits for none of it.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn many_are_swept_in_small_steps_in_postgres() {
    let own = OwnDatabase::new("swept").await;
    let store = open(&own.location(), NOW).expect("a store");
    let Location::Postgres(url) = own.location() else { panic!("an address") };
    let mut beside = sqlx::PgConnection::connect(&url).await.expect("a connection");
    beside.execute(STEPS).await.expect("a witness");
    expire(&store).await;
    assert_eq!(store.write(lasting("new"), LATER).await, Ok(Written::Done));
    let begun = Instant::now();
    let mut steps: Vec<i64> = Vec::new();
    while steps.iter().sum::<i64>() < 1200 {
        assert!(begun.elapsed() < PATIENCE, "{steps:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
        steps = sqlx::query_scalar("SELECT size FROM steps WHERE size > 0 ORDER BY number")
            .fetch_all(&mut beside)
            .await
            .expect("rows");
    }
    assert_eq!(steps, [500, 500, 200]);
    for kept in ["kept", "new"] {
        assert!(store.read(Kind::CODE, kept, LATER).await.expect("a store that works").is_some());
    }
}

/// Another version of this program has changed the tables to what this one does not know.
async fn tables_of_a_later_version_are_refused(location: &Location, url: &str) {
    let store = open(location, NOW).expect("a store");
    assert_eq!(store.write(insert("kept"), NOW).await, Ok(Written::Done));
    drop(store);
    let mut beside = AnyConnection::connect(url).await.expect("a connection");
    beside.execute("UPDATE keybound_store SET version = version + 1").await.expect("a later version");
    for open in [open, open_at_once, open_existing] {
        let said = open(location, NOW).expect_err("it is later").to_string();
        let expected = "its tables are of version 2, which a later program made; this one knows 1";
        assert!(said.ends_with(expected), "{said}");
    }
    beside.execute("UPDATE keybound_store SET version = version - 1").await.expect("this version");
    let store = open(location, NOW).expect("nothing was changed");
    assert!(store.read(Kind::CODE, "kept", NOW).await.expect("a store that works").is_some());
}

#[tokio::test]
async fn tables_of_a_later_version_are_refused_in_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("id.db");
    let url = format!("sqlite:{}", file.display());
    tables_of_a_later_version_are_refused(&Location::Sqlite(file), &url).await;
}

#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn tables_of_a_later_version_are_refused_in_postgres() {
    let own = OwnDatabase::new("version").await;
    let Location::Postgres(url) = own.location() else { panic!("an address") };
    tables_of_a_later_version_are_refused(&own.location(), &url).await;
}

/// A database of its own on the server for tests.
pub(crate) struct OwnDatabase {
    name: String,
    server: sqlx::PgConnection,
}

impl OwnDatabase {
    pub(crate) async fn new(name: &str) -> Self {
        let url = std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database");
        let mut server = sqlx::PgConnection::connect(&url).await.expect("a server");
        let name = format!("{name}_{}", std::process::id());
        server.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
        Self { name, server }
    }

    pub(crate) fn location(&self) -> Location {
        let url = std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database");
        let (server, _) = url.rsplit_once('/').expect("an address ends in a database");
        Location::Postgres(format!("{server}/{}", self.name).into())
    }

    /// Has all transactions that begin from now on read only, or lets them write.
    async fn read_only(&mut self, is_read_only: bool) {
        let state = if is_read_only { "on" } else { "off" };
        let name = &self.name;
        let alter = format!("ALTER DATABASE {name} SET default_transaction_read_only = {state}");
        // That holds for connections that are made after it.
        let end = format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'");
        for statement in [alter, end] {
            self.server.execute(sqlx::AssertSqlSafe(statement)).await.expect("what a superuser may do");
        }
    }
}

// A database that others have made read-only, as its operators do before the disk is full: reads go on, writes fail whole.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres_that_takes_no_writes_for_a_while() {
    let mut database = OwnDatabase::new("readonly").await;
    let store = open(&database.location(), NOW).expect("a store");
    assert_eq!(store.write(insert("before"), NOW).await, Ok(Written::Done));
    database.read_only(true).await;
    let changes = || [insert("one"), insert("other")].concat();
    // The first may meet a connection that has just ended.
    let _ = store.write(changes(), NOW).await;
    assert_eq!(store.write(changes(), NOW).await, Err(Fault::StoreUnavailable));
    // Nothing to do is to be written, too: that is how it is seen that it is not ready.
    let nothing = vec![Change::Delete { kind: Kind::GRANT, id: "".into() }];
    assert_eq!(store.write(nothing.clone(), NOW).await, Err(Fault::StoreUnavailable));
    assert!(store.read(Kind::CODE, "before", NOW).await.expect("a store that can be read").is_some());
    database.read_only(false).await;
    let _ = store.write(nothing.clone(), NOW).await;
    assert_eq!(store.write(nothing, NOW).await, Ok(Written::Done));
    for refused in ["one", "other"] {
        assert_eq!(store.read(Kind::CODE, refused, NOW).await, Ok(None), "refused, and nothing of it is there");
    }
    assert_eq!(store.write(changes(), NOW).await, Ok(Written::Done));
}

// Started together with its database, the issuer is there as soon as that is.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres_that_is_there_a_moment_later() {
    let database = OwnDatabase::new("later").await;
    let Location::Postgres(url) = database.location() else { panic!("an address") };
    let (begin, place) = url.rsplit_once('@').expect("a user");
    let (server, name) = place.split_once('/').expect("a database");
    let server = server.to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let through = format!("{begin}@{}/{name}", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        // As a server that is not there yet.
        drop(listener.accept().expect("a first try"));
        for client in listener.incoming() {
            let client = client.expect("a connection");
            let server = TcpStream::connect(&server).expect("the server");
            pass(client.try_clone().expect("a socket"), server.try_clone().expect("a socket"));
            pass(server, client);
        }
    });
    let store = tokio::task::spawn_blocking(move || open(&Location::Postgres(through.into()), NOW)).await;
    let store = store.expect("no panic").expect("a store, at the second try");
    assert_eq!(store.write(insert("first"), NOW).await, Ok(Written::Done));
}

/// All octets that come from there.
fn pass(mut from: TcpStream, mut to: TcpStream) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(length @ 1..) = from.read(&mut buffer) {
            if to.write_all(&buffer[..length]).is_err() {
                return;
            }
        }
        let _ = to.shutdown(std::net::Shutdown::Write);
    });
}
