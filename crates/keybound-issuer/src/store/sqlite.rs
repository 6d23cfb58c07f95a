//! SQLite in a file: what was answered is on the disk. One connection writes, for everything that came during the write
//! before at once (each flush costs a millisecond, whatever it holds); others read beside it.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt as _};
use keybound::time::UnixTime;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions};
use sqlx::{AnyConnection, AnyPool, ConnectOptions as _, Connection as _, Executor as _};
use tokio::sync::{Mutex, mpsc};

use super::sql::{self, Asked, Database, NotOpened, Pace, SqlStore, Work};
use super::{Found, OpenError, Opening, Written, inserts};

/// A row if there are tables of an issuer.
const TABLES: &str = "SELECT 1 FROM sqlite_master WHERE name = 'keybound_store'";

/// Connections that read: each has a thread of its own.
const READERS: u32 = 2;

struct Sqlite {
    options: AnyConnectOptions,
    readers: AnyPool,
    /// The one that writes; made again after it failed.
    writer: Mutex<Option<AnyConnection>>,
}

pub(super) fn open(how: Opening, file: &Path, now: UnixTime) -> Result<SqlStore, OpenError> {
    let name = format!("sqlite:{}", file.display());
    let url = url(file, how).ok_or_else(|| OpenError::new(&name, &"the path is not text"))?;
    if how.makes {
        make_private(file);
    } else if matches!(file.try_exists(), Ok(false)) {
        return Err(OpenError { text: format!("{name}: there is no such file"), is_absent: true });
    }
    SqlStore::open(&name, move || async move { Sqlite::open(&url, how, now).await }.boxed())
}

/// Makes the file, if there is none, for this user alone: names of users and digests of secrets are in it, and SQLite gives the
/// files beside it the same mode. What goes wrong is said when it is opened.
fn make_private(file: &Path) {
    let mut options = std::fs::OpenOptions::new();
    options.append(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let _ = options.open(file);
}

/// `sqlite:` and the path, encoded where the path would end otherwise.
fn url(file: &Path, how: Opening) -> Option<String> {
    let path = file.to_str()?.replace('%', "%25").replace('?', "%3F").replace('#', "%23");
    let mode = if how.makes { "rwc" } else { "rw" };
    Some(format!("sqlite:{path}?mode={mode}"))
}

impl Sqlite {
    async fn open(url: &str, how: Opening, now: UnixTime) -> Result<(Self, UnixTime), NotOpened> {
        let text = |error: sqlx::Error| in_words(&error);
        let options: AnyConnectOptions = url.parse().map_err(text)?;
        let options = options.disable_statement_logging();
        if !how.makes {
            // Before anything is set in a file that may be of another program.
            let mut looking = AnyConnection::connect_with(&options).await.map_err(text)?;
            sql::is_there(&mut looking, TABLES).await.map_err(text)?.then_some(()).ok_or(NotOpened::Absent)?;
        }
        let mut writer = connect(&options).await.map_err(text)?;
        let opened = prepare(&mut writer, now).await?;
        let readers = AnyPoolOptions::new().max_connections(READERS).acquire_timeout(Duration::from_secs(5));
        let readers = readers.connect_with(options.clone()).await.map_err(text)?;
        Ok((Self { options, readers, writer: Mutex::new(Some(writer)) }, opened))
    }

    /// Does a group of writes and answers each: all of them are durable then, or none is done.
    async fn write(&self, group: Vec<Work>, sweep: Option<UnixTime>) -> bool {
        let mut writer = self.writer.lock().await;
        let result = async {
            let connection = match &mut *writer {
                Some(connection) => connection,
                none => none.insert(connect(&self.options).await?),
            };
            write_group(connection, &group, sweep).await
        };
        match sql::in_time(result).await {
            Ok((written, more)) => {
                for (work, written) in group.into_iter().zip(written) {
                    work.answer(Ok(written));
                }
                more
            }
            Err(fault) => {
                // In whatever state it was left: a new connection has no transaction.
                *writer = None;
                group.into_iter().for_each(|work| work.answer(Err(fault)));
                false
            }
        }
    }
}

impl Database for Sqlite {
    fn read(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, sqlx::Result<Found>> {
        let reading = async move {
            let mut connection = self.readers.acquire().await?;
            let found = sql::find(&mut connection, &asked).await;
            if found.is_err() {
                // What it holds in memory may be what is wrong; a new one reads the file.
                connection.close_on_drop();
            }
            found
        };
        reading.boxed()
    }

    fn serve_writes(self: Arc<Self>, mut works: mpsc::Receiver<Work>) -> BoxFuture<'static, ()> {
        async move {
            let (mut next_sweep, mut pace) = (UnixTime::from_secs(0), Pace::new());
            loop {
                let group = pace.next(&mut works).await;
                if group.is_empty() {
                    return;
                }
                let now = group.iter().map(|work| work.now).max().unwrap_or(next_sweep);
                let sweep = (now >= next_sweep).then_some(now);
                let more = self.write(group, sweep).await;
                if sweep.is_some() && !more {
                    next_sweep = now.plus(Duration::from_secs(sql::SWEEP_SECONDS));
                }
            }
        }
        .boxed()
    }
}

async fn connect(options: &AnyConnectOptions) -> sqlx::Result<AnyConnection> {
    let mut connection = AnyConnection::connect_with(options).await?;
    // A reader sees the last commit and hinders no writer; a commit is on the disk before it is answered.
    connection.execute("PRAGMA journal_mode = WAL").await?;
    connection.execute("PRAGMA synchronous = FULL").await?;
    Ok(connection)
}

async fn prepare(connection: &mut AnyConnection, now: UnixTime) -> Result<UnixTime, String> {
    let text = |error: sqlx::Error| in_words(&error);
    connection.execute("BEGIN IMMEDIATE").await.map_err(text)?;
    let opened = sql::migrate(connection, TABLES, now).await?;
    connection.execute("COMMIT").await.map_err(text)?;
    Ok(opened)
}

async fn write_group(
    connection: &mut AnyConnection,
    group: &[Work],
    swept: Option<UnixTime>,
) -> sqlx::Result<(Vec<Written>, bool)> {
    let is_plain = swept.is_none() && group.iter().all(inserts::is_one);
    if is_plain {
        // One statement is a transaction by itself.
        if inserts::done(inserts::values(group).execute(&mut *connection).await)? {
            return Ok((vec![Written::Done; group.len()], false));
        }
    }
    connection.execute("BEGIN IMMEDIATE").await?;
    let mut written = Vec::with_capacity(group.len());
    for work in group {
        // One of them alone needs no mark to return to, and most hold one change, which is done or not by itself.
        let several = work.changes.len() > 1;
        if several {
            connection.execute("SAVEPOINT work").await?;
        }
        let outcome = sql::apply(connection, &work.changes).await?;
        if several && outcome != Written::Done {
            connection.execute("ROLLBACK TO work").await?;
        }
        if several {
            connection.execute("RELEASE work").await?;
        }
        written.push(outcome);
    }
    let more = match swept {
        Some(now) => sql::sweep(connection, now).await?,
        None => false,
    };
    connection.execute("COMMIT").await?;
    Ok((written, more))
}

/// What SQLite says, and what it means to the one who starts the issuer.
fn in_words(error: &sqlx::Error) -> String {
    let said = error.to_string();
    let meant = if said.contains("not a database") || said.contains("malformed") {
        "the file is damaged or no SQLite database"
    } else if said.contains("locked") {
        "another process holds the database"
    } else if said.contains("unable to open") {
        "the file cannot be made or opened: see whether its folder is there and may be written to, and whose the file is"
    } else if said.contains("readonly") {
        "the file, or the folder it is in, may not be written to"
    } else if said.contains("disk is full") || said.contains("disk I/O error") {
        "the disk is full or fails"
    } else {
        return said;
    };
    format!("{meant} ({said})")
}

#[cfg(test)]
mod tests {
    use keybound::refusal::Fault;
    use tokio::sync::oneshot;

    use super::super::{Change, Kind};
    use super::*;

    /// As the connection itself has them in force.
    async fn settings(database: &Sqlite) -> (String, i64) {
        let mut writer = database.writer.lock().await;
        let writer = writer.as_mut().expect("a connection");
        let journal = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut *writer).await.expect("a mode");
        let synchronous = sqlx::query_scalar("PRAGMA synchronous").fetch_one(writer).await.expect("a number");
        (journal, synchronous)
    }

    async fn written(database: &Sqlite, id: &str) -> Result<Written, Fault> {
        let now = UnixTime::from_secs(1_700_000_000);
        let insert =
            Change::Insert { kind: Kind::CODE, id: id.into(), family: "".into(), expires: now, body: "{}".into() };
        let (done, answer) = oneshot::channel();
        // Two of them, so that it is a transaction.
        let other = Change::Delete { kind: Kind::CODE, id: "".into() };
        database.write(vec![Work { changes: vec![insert, other], now, done }], None).await;
        answer.await.expect("an answer")
    }

    // Whatever the database was before, and on the connection that comes after one that failed, too: with FULL, a commit has been flushed
    // to the disk when it is acknowledged, which NORMAL leaves to the next checkpoint in this mode.
    #[tokio::test]
    async fn every_commit_is_flushed() {
        sqlx::any::install_default_drivers();
        let folder = tempfile::tempdir().expect("a folder");
        let (how, now) = (Opening { patience: Duration::ZERO, makes: true }, UnixTime::from_secs(1_700_000_000));
        let url = url(&folder.path().join("id.db"), how).expect("a path");
        let mut before = AnyConnection::connect(&url).await.expect("a connection");
        before.execute("PRAGMA journal_mode = DELETE").await.expect("another mode");
        before.close().await.expect("an end");
        let (database, _) = Sqlite::open(&url, how, now).await.expect("a database");
        let durable = ("wal".to_owned(), 2);
        assert_eq!(settings(&database).await, durable);

        let mut beside = AnyConnection::connect(&url).await.expect("a connection");
        beside.execute("ALTER TABLE keybound_record RENAME TO away").await.expect("another name");
        assert_eq!(written(&database, "one").await, Err(Fault::StoreUnavailable));
        assert!(database.writer.lock().await.is_none(), "that one is given up");
        beside.execute("ALTER TABLE away RENAME TO keybound_record").await.expect("its own name");
        assert_eq!(written(&database, "one").await, Ok(Written::Done));
        assert_eq!(settings(&database).await, durable);
    }

    // What SQLite says where root runs the tests, and may write everywhere, has to be given.
    #[test]
    fn an_error_says_what_to_look_at() {
        let said = |words: &str| in_words(&sqlx::Error::Protocol(words.to_owned()));
        for (words, meant) in [
            ("attempt to write a readonly database", "may not be written to"),
            ("database or disk is full", "the disk is full"),
            ("database is locked", "another process holds"),
        ] {
            let text = said(words);
            assert!(text.contains(meant) && text.contains(words), "{text}");
        }
    }
}
