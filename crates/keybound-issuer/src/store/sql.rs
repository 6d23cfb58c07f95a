//! The statements, one text for both databases, and the thread on which they run: a database connection belongs to the
//! runtime it was made on, and a gateway has one runtime a core.

use core::time::Duration;
use std::sync::Arc;
use std::sync::mpsc as blocking;

use futures_util::future::BoxFuture;
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use sqlx::any::AnyRow;
use sqlx::{AnyConnection, Executor as _, Row as _};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};

use super::{Change, Found, Kind, OpenError, Pending, Record, Store, Written};

/// How long one job may take, waiting for a connection included.
const PATIENCE: Duration = Duration::from_secs(10);

/// Jobs that wait; more are refused at once.
pub(super) const QUEUE: usize = 4096;

/// Writes that share one statement or one flush.
pub(super) const GROUP: usize = 256;

/// Expired rows go in steps of this many.
pub(super) const SWEPT: i64 = 500;

/// How often, by the clock of the issuer, there is such a step at least.
pub(super) const SWEEP_SECONDS: u64 = 10;

/// What changes the tables from one version of them to the next.
const MIGRATIONS: [&str; 1] = [include_str!("migrations/0001.sql")];

/// A database with its thread. Dropping it ends the thread after what was begun.
#[derive(Debug)]
pub(super) struct SqlStore {
    reads: mpsc::Sender<Read>,
    writes: mpsc::Sender<Work>,
    opened: UnixTime,
}

/// Why a database is not ready.
#[derive(Debug)]
pub(super) enum NotOpened {
    /// It holds no store of an issuer, and none was to be made.
    Absent,
    /// Anything else, in words.
    Failed(String),
}

impl From<String> for NotOpened {
    fn from(words: String) -> Self {
        Self::Failed(words)
    }
}

/// What is looked for, and who waits for it.
#[derive(Debug)]
struct Read {
    asked: Asked,
    done: oneshot::Sender<Result<Found, Fault>>,
}

/// Which records.
#[derive(Debug)]
pub(super) struct Asked {
    kind: Kind,
    /// One name, or the name behind which a list begins.
    id: Box<str>,
    limit: Option<u32>,
    now: UnixTime,
}

/// A write and who waits for it.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) changes: Vec<Change>,
    pub(super) now: UnixTime,
    pub(super) done: oneshot::Sender<Result<Written, Fault>>,
}

impl Work {
    pub(super) fn answer(self, result: Result<Written, Fault>) {
        // Whoever asked may be gone.
        let _ = self.done.send(result);
    }
}

/// A database that is ready: it answers reads wherever it likes, and takes writes as they come.
pub(super) trait Database: Send + Sync + 'static {
    fn read(self: Arc<Self>, asked: Asked) -> BoxFuture<'static, sqlx::Result<Found>>;

    /// Takes writes until there are no more.
    fn serve_writes(self: Arc<Self>, works: mpsc::Receiver<Work>) -> BoxFuture<'static, ()>;
}

impl SqlStore {
    /// Opens the database on a thread of its own and waits until it is ready.
    pub(super) fn open<D: Database>(
        name: &str,
        open: impl FnOnce() -> BoxFuture<'static, Result<(D, UnixTime), NotOpened>> + Send + 'static,
    ) -> Result<Self, OpenError> {
        sqlx::any::install_default_drivers();
        let ((reads, asked), (writes, works)) = (mpsc::channel(QUEUE), mpsc::channel(QUEUE));
        let (ready, opened) = blocking::channel();
        let run = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let runtime = match runtime {
                Ok(runtime) => runtime,
                Err(error) => return drop(ready.send(Err(error.to_string().into()))),
            };
            runtime.block_on(async move {
                match open().await {
                    Ok((database, since)) => {
                        drop(ready.send(Ok(since)));
                        serve(Arc::new(database), asked, works).await;
                    }
                    Err(error) => drop(ready.send(Err(error))),
                }
            });
        };
        let thread = std::thread::Builder::new().name("keybound-store".to_owned());
        thread.spawn(run).map_err(|error| OpenError::new(name, &error))?;
        let opened = opened.recv().map_err(|_| OpenError::new(name, &"its thread ended"))?;
        let opened = opened.map_err(|why| match why {
            NotOpened::Absent => OpenError { text: format!("{name}: it holds no store of an issuer"), is_absent: true },
            NotOpened::Failed(error) => OpenError::new(name, &error),
        })?;
        Ok(Self { reads, writes, opened })
    }

    async fn find(&self, asked: Asked) -> Result<Found, Fault> {
        let (done, found) = oneshot::channel();
        ask(&self.reads, Read { asked, done }, found).await
    }
}

async fn ask<Q, T>(queue: &mpsc::Sender<Q>, job: Q, answer: oneshot::Receiver<Result<T, Fault>>) -> Result<T, Fault> {
    queue.try_send(job).map_err(|_| Fault::StoreUnavailable)?;
    answer.await.map_err(|_| Fault::StoreUnavailable)?
}

impl Store for SqlStore {
    fn opened(&self) -> UnixTime {
        self.opened
    }

    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>> {
        Box::pin(async move {
            let found = self.find(Asked { kind, id: id.into(), limit: None, now }).await?;
            Ok(found.into_iter().next().map(|(_, record)| record))
        })
    }

    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found> {
        Box::pin(self.find(Asked { kind, id: after.into(), limit: Some(limit), now }))
    }

    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written> {
        let (done, written) = oneshot::channel();
        Box::pin(ask(&self.writes, Work { changes, now, done }, written))
    }
}

/// Serves until the store is dropped, then lets the writes that wait come to their end.
async fn serve<D: Database>(database: Arc<D>, mut reads: mpsc::Receiver<Read>, works: mpsc::Receiver<Work>) {
    let writer = tokio::spawn(Arc::clone(&database).serve_writes(works));
    while let Some(Read { asked, done }) = reads.recv().await {
        let reading = Arc::clone(&database).read(asked);
        tokio::spawn(async move { drop(done.send(in_time(reading).await)) });
    }
    drop(writer.await);
}

/// Lets writes that come fast gather: the more were begun at once, the longer after them the next ones are, so that what a flush
/// costs is shared by more when it is most of the work. Nobody else waits.
pub(super) struct Pace {
    next: Instant,
}

impl Pace {
    /// For each write of those before.
    const APART: Duration = Duration::from_micros(80);

    /// At least, and at most: longer, and everybody would wait where there are few clients.
    const BOUNDS: [Duration; 2] = [Duration::from_micros(1000), Duration::from_micros(2500)];

    pub(super) fn new() -> Self {
        Self { next: Instant::now() }
    }

    /// The next ones, or none when there will be none.
    pub(super) async fn next(&mut self, works: &mut mpsc::Receiver<Work>) -> Vec<Work> {
        sleep_until(self.next).await;
        let mut group = Vec::new();
        let count = works.recv_many(&mut group, GROUP).await;
        self.next = Instant::now() + Self::apart(count);
        group
    }

    fn apart(count: usize) -> Duration {
        let [least, most] = Self::BOUNDS;
        u32::try_from(count).map_or(most, |count| Self::APART.saturating_mul(count)).clamp(least, most)
    }
}

/// What failed goes to the log and not to the client.
pub(super) async fn in_time<T>(work: impl Future<Output = sqlx::Result<T>>) -> Result<T, Fault> {
    let failed = match tokio::time::timeout(PATIENCE, work).await {
        Ok(Ok(done)) => return Ok(done),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it did not answer in time".to_owned(),
    };
    tracing::error!(error = failed, "the store failed");
    Err(Fault::StoreUnavailable)
}

/// Whether this finds a row.
pub(super) async fn is_there(connection: &mut AnyConnection, query: &'static str) -> sqlx::Result<bool> {
    Ok(sqlx::query(query).fetch_optional(connection).await?.is_some())
}

/// Brings the tables to the version of this program, inside a transaction of the caller's; since when the store is there. `tables`
/// finds a row if there are some.
pub(super) async fn migrate(
    connection: &mut AnyConnection,
    tables: &'static str,
    now: UnixTime,
) -> Result<UnixTime, String> {
    const STATE: &str = "CREATE TABLE keybound_store (version BIGINT NOT NULL, opened BIGINT NOT NULL)";
    let text = |error: sqlx::Error| error.to_string();
    if !is_there(connection, tables).await.map_err(text)? {
        connection.execute(STATE).await.map_err(text)?;
    }
    let state = sqlx::query("SELECT version, opened FROM keybound_store").fetch_optional(&mut *connection).await;
    let (version, opened) = match state.map_err(text)? {
        Some(row) => (row.try_get::<i64, _>(0).map_err(text)?, row.try_get::<i64, _>(1).map_err(text)?),
        None => {
            let insert = sqlx::query("INSERT INTO keybound_store (version, opened) VALUES (0, $1)").bind(seconds(now));
            insert.execute(&mut *connection).await.map_err(text)?;
            (0, seconds(now))
        }
    };
    let done = usize::try_from(version).unwrap_or(usize::MAX);
    if done > MIGRATIONS.len() {
        return Err(format!(
            "its tables are of version {version}, which a later program made; this one knows {}",
            MIGRATIONS.len()
        ));
    }
    for migration in MIGRATIONS.iter().skip(done) {
        for statement in migration.split(';').map(str::trim).filter(|statement| !statement.is_empty()) {
            connection.execute(statement).await.map_err(text)?;
        }
    }
    let current = i64::try_from(MIGRATIONS.len()).unwrap_or(i64::MAX);
    let update = sqlx::query("UPDATE keybound_store SET version = $1").bind(current);
    update.execute(&mut *connection).await.map_err(text)?;
    Ok(UnixTime::from_secs(u64::try_from(opened).unwrap_or(0)))
}

/// Reads records.
pub(super) async fn find(connection: &mut AnyConnection, asked: &Asked) -> sqlx::Result<Found> {
    const ONE: &str = "SELECT id, family, expires, version, body FROM keybound_record \
        WHERE kind = $1 AND id = $2 AND expires >= $3";
    const MANY: &str = "SELECT id, family, expires, version, body FROM keybound_record \
        WHERE kind = $1 AND id > $2 AND expires >= $3 ORDER BY id LIMIT $4";
    let query = sqlx::query(if asked.limit.is_some() { MANY } else { ONE })
        .bind(asked.kind.as_str())
        .bind(&*asked.id)
        .bind(seconds(asked.now));
    let query = match asked.limit {
        Some(limit) => query.bind(i64::from(limit)),
        None => query,
    };
    query.fetch_all(connection).await?.iter().map(record).collect()
}

fn record(row: &AnyRow) -> sqlx::Result<(Box<str>, Record)> {
    let text = |column| row.try_get::<String, _>(column).map(Box::from);
    let number = |column| row.try_get::<i64, _>(column).map(|number| u64::try_from(number).unwrap_or(0));
    let expires = UnixTime::from_secs(number(2)?);
    Ok((text(0)?, Record { family: text(1)?, expires, version: number(3)?, body: text(4)? }))
}

/// All changes, in a transaction of the caller's, who undoes it on a conflict.
pub(super) async fn apply(connection: &mut AnyConnection, changes: &[Change]) -> sqlx::Result<Written> {
    for (position, change) in changes.iter().enumerate() {
        if !apply_one(connection, change).await? {
            return Ok(Written::Conflict(position));
        }
    }
    Ok(Written::Done)
}

/// Whether the change found what it needs.
async fn apply_one(connection: &mut AnyConnection, change: &Change) -> sqlx::Result<bool> {
    const INSERT: &str = "INSERT INTO keybound_record (kind, id, family, expires, version, body) \
        VALUES ($1, $2, $3, $4, 1, $5) ON CONFLICT DO NOTHING";
    const REPLACE: &str = "UPDATE keybound_record SET expires = $1, body = $2, version = version + 1 \
        WHERE kind = $3 AND id = $4 AND version = $5";
    const EXTEND: &str = "UPDATE keybound_record SET expires = $1, version = version + 1 WHERE kind = $2 AND id = $3";
    const DELETE: &str = "DELETE FROM keybound_record WHERE kind = $1 AND id = $2";
    const DELETE_FAMILY: &str = "DELETE FROM keybound_record WHERE family = $1 AND family <> ''";
    let query = match change {
        Change::Insert { kind, id, family, expires, body } => {
            let query = sqlx::query(INSERT).bind(kind.as_str()).bind(&**id).bind(&**family);
            query.bind(seconds(*expires)).bind(&**body)
        }
        Change::Replace { kind, id, version, expires, body } => {
            let query = sqlx::query(REPLACE).bind(seconds(*expires)).bind(&**body).bind(kind.as_str()).bind(&**id);
            query.bind(i64::try_from(*version).unwrap_or(i64::MAX))
        }
        Change::Extend { kind, id, expires } => {
            sqlx::query(EXTEND).bind(seconds(*expires)).bind(kind.as_str()).bind(&**id)
        }
        Change::Take { kind, id } | Change::Delete { kind, id } => sqlx::query(DELETE).bind(kind.as_str()).bind(&**id),
        Change::DeleteFamily { family } => sqlx::query(DELETE_FAMILY).bind(&**family),
    };
    let changed = query.execute(connection).await?.rows_affected();
    Ok(changed > 0 || matches!(change, Change::Delete { .. } | Change::DeleteFamily { .. }))
}

/// Drops some expired rows; whether there may be more.
pub(super) async fn sweep(connection: &mut AnyConnection, now: UnixTime) -> sqlx::Result<bool> {
    const SWEEP: &str = "DELETE FROM keybound_record WHERE (kind, id) IN \
        (SELECT kind, id FROM keybound_record WHERE expires < $1 LIMIT $2)";
    let swept = sqlx::query(SWEEP).bind(seconds(now)).bind(SWEPT).execute(connection).await?.rows_affected();
    Ok(swept >= u64::try_from(SWEPT).unwrap_or(u64::MAX))
}

pub(super) fn seconds(time: UnixTime) -> i64 {
    i64::try_from(time.as_secs()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    // With the time of tokio standing still but for what is waited for.
    #[tokio::test(start_paused = true)]
    async fn what_comes_fast_gathers_and_nobody_else_waits() {
        let change = || Change::Delete { kind: Kind::CODE, id: "".into() };
        let (works, mut queue) = mpsc::channel(QUEUE);
        let mut pace = Pace::new();
        for (count, least) in [(1, 0), (1, 1), (40, 1), (GROUP, 3), (1, 3)] {
            for _ in 0..count {
                let work = Work { changes: vec![change()], now: UnixTime::from_secs(0), done: oneshot::channel().0 };
                works.try_send(work).expect("room in the queue");
            }
            let begun = Instant::now();
            assert_eq!(pace.next(&mut queue).await.len(), count);
            // Timers know milliseconds, of which the first may be a part.
            let waited = begun.elapsed().as_millis();
            assert!((least..=least + 1).contains(&waited), "{count}: {waited} ms");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
        drop(works);
        let begun = Instant::now();
        assert!(pace.next(&mut queue).await.is_empty(), "the end of the store");
        assert_eq!(begun.elapsed(), Duration::ZERO);
    }
}
