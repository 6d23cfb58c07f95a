//! A database that is held by somebody else, a disk that is full, a file that is no database: nothing is half done, and what passes
//! passes by itself.

use std::fs;
use std::path::Path;

use keybound_issuer::store::Location;
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tokio::runtime::Runtime;

use crate::alone;
use crate::check::{assert_refused, is_active};
use crate::disk::Disk;
use crate::http::Peer;
use crate::issuer::Issuer;
use crate::postgres::Server;
use crate::story::{access_token, authentication, authorization, code, device, redemption, refresh};

/// Another process that has begun to write, until it is dropped.
struct Holder {
    runtime: Runtime,
    connection: Option<AnyConnection>,
}

impl Holder {
    fn of(file: &Path) -> Self {
        install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let connection = runtime.block_on(async {
            let mut connection = AnyConnection::connect(&format!("sqlite:{}", file.display())).await.unwrap();
            connection.execute("BEGIN EXCLUSIVE").await.unwrap();
            connection
        });
        Self { runtime, connection: Some(connection) }
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        let connection = self.connection.take().expect("it is taken once");
        self.runtime.block_on(connection.close()).unwrap();
    }
}

#[test]
fn what_cannot_be_written_is_not_begun_and_can_be_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id.db");
    let mut issuer = Issuer::new(folder.path(), &Location::Sqlite(file.clone()));
    issuer.start();
    let mut peer = Peer::new(issuer.address());
    let (one, verifier) = code(&mut peer).expect("a code");
    let first = redemption(&one, &verifier);

    let holder = Holder::of(&file);
    let answer = peer.token(&first).expect("an answer");
    assert!(answer.is_unavailable(), "held: {answer:?}");
    drop(holder);
    let answer = peer.token(&first).expect("an answer");
    assert_eq!(answer.status, 200, "the code is as it was: {answer:?}");

    assert_refused(&mut peer, &first);
    nothing_is_written_without_room(&issuer, &|has_room| issuer.limit_files(if has_room { "unlimited" } else { "1" }));
}

/// Whatever has to be written is refused while there is no room for it, and was not begun: it can be asked for again.
fn nothing_is_written_without_room(issuer: &Issuer, make_room: &dyn Fn(bool)) {
    let mut peer = Peer::new(issuer.address());
    let redeemed = |peer: &mut Peer| {
        let (code, verifier) = code(peer).expect("a code");
        let answer = peer.token(&redemption(&code, &verifier)).expect("an answer");
        (redemption(&code, &verifier), answer)
    };
    let (used, answer) = redeemed(&mut peer);
    let token = access_token(&answer);
    let second = refresh(&answer);
    let (waiting, verifier) = code(&mut peer).expect("a code");
    let waiting = redemption(&waiting, &verifier);
    let begin = format!("client_id=app&dpop_jkt={}", peer.jkt());
    let (of_device, connect) = device(&peer.post("/device_authorization", &begin).expect("an answer"));
    let push = authorization().1;
    let reference = peer.post("/par", &push).expect("an answer").json()["request_uri"].as_str().unwrap().to_owned();
    let open = format!("/authorize?client_id=app&request_uri={reference}");
    let asserted = ["grant_type=client_credentials&", &authentication(issuer.signer(), &issuer.url())].concat();
    let give_back = format!("client_id=app&token={token}");

    make_room(false);
    for _ in 0..2 {
        for form in [&second, &waiting, &asserted] {
            let answer = peer.token(form).expect("an answer");
            assert!(answer.is_unavailable(), "{form}: {answer:?}");
        }
        for (path, form) in [("/par", &push), ("/device_authorization", &begin), ("/revoke", &give_back)] {
            let answer = peer.post(path, form).expect("an answer");
            assert!(answer.is_unavailable(), "{path}: {answer:?}");
        }
        for page in [&open, &connect] {
            let answer = peer.get(page).expect("an answer");
            assert!(answer.is_unavailable() && answer.body.contains("store.unavailable"), "{page}: {answer:?}");
        }
        code(&mut peer).expect_err("a code that is nowhere written");
    }
    make_room(true);

    assert!(is_active(&mut peer, issuer, &token), "it was not revoked");
    assert_eq!(peer.get(&open).expect("an answer").status, 303);
    assert_eq!(peer.get(&connect).expect("an answer").status, 200);
    for (path, form) in [("/par", &push), ("/device_authorization", &begin), ("/revoke", &give_back)] {
        let answer = peer.post(path, form).expect("an answer");
        assert!(matches!(answer.status, 200 | 201), "{path}: {answer:?}");
    }
    assert!(!is_active(&mut peer, issuer, &token), "it is revoked now");
    for form in [&second, &waiting, &of_device, &asserted] {
        let answer = peer.token(form).expect("an answer");
        assert_eq!(answer.status, 200, "{form}: {answer:?}");
        assert_refused(&mut peer, form);
    }
    assert_refused(&mut peer, &used);
}

/// Rows that fill a table: more than a segment of the log takes, which is there before it is written to. Each is shorter than any that
/// an issuer writes, or that would find room between them.
const ROWS: usize = 260_000;

/// A database of its own, whose table has no page with room for one row more.
struct Filled {
    runtime: Runtime,
    url: String,
}

impl Filled {
    fn on(server: &Server) -> Self {
        install_default_drivers();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (begin, _) = server.url().rsplit_once('/').expect("an address ends in a database");
        let name = format!("full_{}", std::process::id());
        let filled = Self { runtime, url: format!("{begin}/{name}") };
        filled.execute(server.url(), format!("CREATE DATABASE {name}")).expect("a database");
        filled
    }

    fn execute(&self, url: &str, statement: String) -> sqlx::Result<()> {
        self.runtime.block_on(async {
            let mut connection = AnyConnection::connect(url).await?;
            let done = connection.execute(AssertSqlSafe(statement)).await;
            connection.close().await?;
            done.map(drop)
        })
    }

    fn insert(&self, name: &str, rows: usize) -> sqlx::Result<()> {
        let row = format!("'filler', '{name} ' || n, '', {}, 1, ''", i64::MAX);
        let rows = format!("SELECT {row} FROM generate_series(1, {rows}) AS n");
        let insert = "INSERT INTO keybound_record (kind, id, family, expires, version, body)";
        self.execute(&self.url, format!("{insert} {rows}"))
    }

    /// What its one big file has.
    fn fill(&self) -> i64 {
        // Nobody is to find room in it meanwhile.
        let still = "ALTER TABLE keybound_record SET (autovacuum_enabled = false)";
        self.execute(&self.url, still.to_owned()).expect("a setting");
        self.insert("many", ROWS).expect("rows");
        self.runtime.block_on(async {
            let mut connection = AnyConnection::connect(&self.url).await.expect("a connection");
            let size = "SELECT pg_relation_size('keybound_record')";
            sqlx::query_scalar(size).fetch_one(&mut connection).await.expect("a size")
        })
    }
}

#[test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
fn postgres_without_room_on_its_disk_works_again_when_there_is_some() {
    let folder = tempfile::tempdir().unwrap();
    let _alone = alone();
    let (server, disk) = (Server::named(), Disk::named());
    let filled = Filled::on(&server);
    let mut issuer = Issuer::new(folder.path(), &Location::Postgres(filled.url.as_str().into()));
    issuer.start();
    nothing_is_written_without_room(&issuer, &|has_room| {
        if has_room {
            return disk.limit_files("unlimited");
        }
        disk.limit_files(&filled.fill().to_string());
        // What is left of the last page.
        let full =
            (0..1000).find_map(|number| filled.insert(&format!("last {number}"), 1).err()).expect("an end of it");
        assert!(full.to_string().contains("could not extend file"), "{full}");
    });
}

#[test]
fn says_why_it_does_not_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("id.db");
    let issuer = Issuer::new(folder.path(), &Location::Sqlite(file.clone()));
    let says = |words: &str| {
        let said = issuer.command().output().expect("the program starts");
        let text = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(said.status.code() == Some(2) && text.contains(words), "{words}: {said:?}");
    };
    let holder = Holder::of(&file);
    says("another process holds the database");
    drop(holder);
    for beside in ["id.db-wal", "id.db-shm"] {
        // What they hold would be put over it.
        let _ = fs::remove_file(folder.path().join(beside));
    }
    fs::write(&file, "no database".repeat(1000)).unwrap();
    says("the file is damaged or no SQLite database");
}
