//! The suite on each store, and what only a database can do wrong.

pub(crate) mod server;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

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
