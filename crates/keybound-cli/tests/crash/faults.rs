//! A database that is held by somebody else, a disk that is full, a file that is no database: nothing is half done, and what passes
//! passes by itself.

use std::fs;
use std::path::Path;

use keybound_issuer::store::Location;
use sqlx::any::install_default_drivers;
use sqlx::{AnyConnection, Connection as _, Executor as _};
use tokio::runtime::Runtime;

use crate::check::assert_refused;
use crate::http::Peer;
use crate::issuer::Issuer;
use crate::story::{code, redemption, refresh};

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

    let second = refresh(&answer);
    issuer.limit_files("1");
    for _ in 0..3 {
        let answer = peer.token(&second).expect("an answer");
        assert!(answer.is_unavailable(), "full: {answer:?}");
        code(&mut peer).expect_err("a code that is nowhere written");
    }
    issuer.limit_files("unlimited");
    let answer = peer.token(&second).expect("an answer");
    assert_eq!(answer.status, 200, "the refresh token is as it was: {answer:?}");
    assert_refused(&mut peer, &second);
    assert_refused(&mut peer, &first);
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
