//! PostgreSQL: the suite on it, and what only a server can do wrong.

use std::io::{Read as _, Seek as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use futures_util::future::join_all;

use super::*;

/// The server for tests, and a database on it.
fn server_url() -> String {
    std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database")
}

/// A database of its own on that server.
pub(crate) struct OwnDatabase {
    name: String,
    server: sqlx::PgConnection,
}

impl OwnDatabase {
    pub(crate) async fn new(name: &str) -> Self {
        let mut server = sqlx::PgConnection::connect(&server_url()).await.expect("a server");
        let name = format!("{name}_{}", std::process::id());
        server.execute(sqlx::AssertSqlSafe(format!("CREATE DATABASE {name}"))).await.expect("a new database");
        Self { name, server }
    }

    pub(crate) fn location(&self) -> Location {
        Location::Postgres(self.url().into())
    }

    fn url(&self) -> String {
        let url = server_url();
        let (server, _) = url.rsplit_once('/').expect("an address ends in a database");
        format!("{server}/{}", self.name)
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
    let there = own.url();
    let nowhere = Location::Postgres(format!("{there}_mistyped").into());
    let said = open_existing(&nowhere, NOW).expect_err("there is no such database").to_string();
    assert!(said.ends_with("_mistyped\" does not exist"), "{said}");
}

#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres() {
    let location = Location::Postgres(server_url().into());
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

// Started together with its database, the issuer is there as soon as that is.
#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn postgres_that_is_there_a_moment_later() {
    let database = OwnDatabase::new("later").await;
    let url = database.url();
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
        let url = database.url();
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
    let url = own.url();
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

#[tokio::test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
async fn tables_of_a_later_version_are_refused_in_postgres() {
    let own = OwnDatabase::new("version").await;
    let url = own.url();
    tables_of_a_later_version_are_refused(&own.location(), &url).await;
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
