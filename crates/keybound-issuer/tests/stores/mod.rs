//! Where an issuer under test keeps what it must not forget: in memory, or, where `KEYBOUND_TEST_STORES` asks for it, in a file of
//! SQLite or in a schema of PostgreSQL that no other one has. `cargo xtask test` runs the same tests with each.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use keybound::time::UnixTime;
use keybound_issuer::store::{Location, MemoryStore, Store, open};
use sqlx::{AnyConnection, AssertSqlSafe, Connection as _, Executor as _};
use tempfile::TempDir;

/// Where one store is, and gone with this.
#[derive(Debug)]
pub(crate) enum Place {
    Memory,
    Sqlite(TempDir),
    Postgres(Schema),
}

impl Place {
    /// A new one of the kind that these tests are run with.
    pub(crate) fn new() -> Self {
        match std::env::var("KEYBOUND_TEST_STORES").as_deref() {
            Err(_) => Self::Memory,
            Ok("sqlite") => Self::Sqlite(tempfile::tempdir().expect("a folder")),
            Ok("postgres") => Self::Postgres(Schema::new()),
            Ok(other) => panic!("KEYBOUND_TEST_STORES is sqlite or postgres, not {other}"),
        }
    }

    /// The same, or a file where it would be in memory: for what is seen after a restart.
    pub(crate) fn that_lasts() -> Self {
        match Self::new() {
            Self::Memory => Self::Sqlite(tempfile::tempdir().expect("a folder")),
            lasting => lasting,
        }
    }

    /// The store that is there, since then if it is made by this.
    pub(crate) fn open(&self, since: UnixTime) -> Arc<dyn Store> {
        let location = match self {
            Self::Memory => return Arc::new(MemoryStore::new(since)),
            Self::Sqlite(folder) => Location::Sqlite(folder.path().join("id.db")),
            Self::Postgres(schema) => Location::Postgres(schema.url().into()),
        };
        open(&location, since).expect("a store")
    }

    /// Whether there is a database, which has this trouble from now on, or has it no more.
    pub(crate) fn trouble(&self, trouble: Trouble, is_there: bool) -> bool {
        let url = match self {
            Self::Memory => return false,
            Self::Sqlite(folder) => format!("sqlite:{}", folder.path().join("id.db").display()),
            Self::Postgres(schema) => schema.url(),
        };
        let text = if is_there { trouble.begins(self) } else { trouble.ends(self).to_owned() };
        command(&url, text).expect("another table");
        true
    }
}

/// What may be wrong with a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Nothing is where it was.
    Away,
    /// All is there, and nothing can be written.
    Full,
}

impl Trouble {
    fn begins(self, place: &Place) -> String {
        match (self, place) {
            (Self::Away, _) => "ALTER TABLE keybound_record RENAME TO keybound_away".to_owned(),
            (Self::Full, Place::Sqlite(_)) => {
                let raised = "BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END";
                let on = |what| format!("CREATE TRIGGER no_{what} BEFORE {what} ON keybound_record {raised}");
                ["INSERT", "UPDATE", "DELETE"].map(on).join("; ")
            }
            (Self::Full, _) => "CREATE FUNCTION no_room() RETURNS trigger LANGUAGE plpgsql AS \
                $$BEGIN RAISE 'no space left on device' USING ERRCODE = '53100'; END$$; \
                CREATE TRIGGER no_room BEFORE INSERT OR UPDATE OR DELETE ON keybound_record \
                FOR EACH STATEMENT EXECUTE FUNCTION no_room()"
                .to_owned(),
        }
    }

    fn ends(self, place: &Place) -> &'static str {
        match (self, place) {
            (Self::Away, _) => "ALTER TABLE keybound_away RENAME TO keybound_record",
            (Self::Full, Place::Sqlite(_)) => "DROP TRIGGER no_INSERT; DROP TRIGGER no_UPDATE; DROP TRIGGER no_DELETE",
            (Self::Full, _) => "DROP TRIGGER no_room ON keybound_record; DROP FUNCTION no_room",
        }
    }
}

/// A schema of the database for tests: made in a hundredth of the time that a database takes.
#[derive(Debug)]
pub(crate) struct Schema(String);

impl Schema {
    fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let name = format!("test_{}_{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        command(&server(), format!("CREATE SCHEMA {name}")).expect("a new schema");
        Self(name)
    }

    /// The address of the database, where tables are looked for and made in the schema alone.
    fn url(&self) -> String {
        format!("{}?options[search_path]={}", server(), self.0)
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Err(error) = command(&server(), format!("DROP SCHEMA {} CASCADE", self.0)) {
            eprintln!("{}: {error}", self.0);
        }
    }
}

fn server() -> String {
    std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database")
}

/// On a thread of its own, for some tests are in a runtime already.
fn command(url: &str, text: String) -> sqlx::Result<()> {
    sqlx::any::install_default_drivers();
    let commanding = || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            let mut connection = AnyConnection::connect(url).await?;
            connection.execute(AssertSqlSafe(text)).await?;
            connection.close().await
        })
    };
    thread::scope(|scope| scope.spawn(commanding).join().expect("no panic"))
}
