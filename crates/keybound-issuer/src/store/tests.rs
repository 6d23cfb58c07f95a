//! The suite on each store, and what only a database can do wrong.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use keybound::time::UnixTime;

use super::{Change, Kind, Location, Store, Written, open, suite};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

fn sqlite(file: &Path) -> Arc<dyn Store> {
    open(&Location::Sqlite(file.into()), NOW).expect("a store")
}

fn insert(id: &str) -> Vec<Change> {
    vec![Change::Insert { kind: Kind::CODE, id: id.into(), family: "".into(), expires: NOW, body: "{}".into() }]
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
    let later = UnixTime::from_secs(NOW.as_secs() + 3600);
    let other =
        Change::Insert { kind: Kind::CODE, id: "new".into(), family: "".into(), expires: later, body: "{}".into() };
    assert_eq!(store.write(vec![other], later).await, Ok(Written::Done));
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
    let unreachable = said(Location::Postgres(secret.into()));
    assert!(unreachable.contains("cannot be reached") && !unreachable.contains("hunter2"), "{unreachable}");
    let odd = said(Location::Postgres("postgres://[".into()));
    assert!(odd.contains("not one of a PostgreSQL database"), "{odd}");
}
