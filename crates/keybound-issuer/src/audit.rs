//! What happened at this issuer: each token that left, each request that was refused and why, what was revoked, who registered,
//! and what an administrator changed. To the log, to a file if there is one, and to the store.
//!
//! What is issued is noted in the very write that issues it: no token leaves whose entry is not durable. A refusal changes nothing,
//! and strangers can bring about as many as they like; so refusals that come together are written together, one write at a time,
//! and those of strangers up to so many octets a day, of which no network has all. What was left out is counted, in an entry of its own.

use core::fmt;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use keybound::crypto::aws_lc::random_array;
use keybound::refusal::{Fault, Reason};
use keybound::time::UnixTime;
use parking_lot::Mutex;

use self::counts::Counts;
use self::file::LogFile;
use crate::room::{DEFAULT_ROOM_FOR_STRANGERS, Shares, network};
use crate::store::{Change, Kind, Store, Written, to_json};

mod counts;
mod entry;
mod file;
pub(crate) mod list;
#[cfg(test)]
mod tests;

pub use self::counts::Count;
pub use self::entry::{Entry, Event};
pub(crate) use self::entry::{Refused, digest_prefix};
pub use self::list::{Events, MOST_LISTED, Noted, Page, Query, UnknownEvents};

/// How long entries stay in the store unless set otherwise.
pub const DEFAULT_AUDIT_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// In which strangers may leave so many refusals and no more, and of these one network a thirty-second part.
const A_DAY: Duration = Duration::from_secs(86_400);

/// Between two warnings.
const WARNINGS: Duration = Duration::from_secs(10);

/// Refusals that wait to be written; of more it is noted how many there were.
const MOST_WAITING: usize = 4096;

/// Refusals that share a write.
const GROUP: usize = 256;

/// Who did what a command does.
pub const COMMAND: &str = "command";

/// How long the answer to a refused request waits until it is noted; what is late is noted all the same.
const PATIENCE: Duration = Duration::from_secs(2);

/// Where entries go. Clones share everything, so that what is counted outlives a configuration.
///
/// ```
/// use core::time::Duration;
/// use keybound_issuer::IssuerConfig;
/// use keybound_issuer::audit::Audit;
///
/// let audit = Audit::new(Some(Duration::from_secs(7 * 86_400)), None)?;
/// let config = IssuerConfig::new("https://id.example.com", "https://api.example.com").audit(audit);
/// # let _ = config;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Audit(Arc<Inner>);

struct Inner {
    lifetime: Option<Duration>,
    file: Option<LogFile>,
    counts: Counts,
    names: Names,
    waiting: Mutex<Waiting>,
    /// Held by the one that writes what waits.
    turn: tokio::sync::Mutex<()>,
    /// Held while what nobody waits for any more is written.
    late: Arc<tokio::sync::Mutex<()>>,
    /// For refusals of those who did not authenticate.
    strangers: Shares,
    /// Of those who do not know the secret of administrators.
    warnings: Mutex<Warnings>,
    /// For what is no failure: first requests, before they have a nonce, and devices that wait for their person. They are many.
    challenged: Shares,
}

/// What the log is told of now and then.
#[derive(Default)]
struct Warnings {
    last: Option<Instant>,
    times: u64,
}

#[derive(Default)]
struct Waiting {
    changes: Vec<Change>,
    left_out: u64,
}

impl Audit {
    /// Keeps entries in the store for so long, or not at all; and appends each to `file` as a line of JSON, if there is one. The
    /// log has them all, as events of `keybound::audit`.
    ///
    /// # Errors
    ///
    /// If the file cannot be opened or made.
    pub fn new(lifetime: Option<Duration>, file: Option<&Path>) -> io::Result<Self> {
        Ok(Self(Arc::new(Inner {
            lifetime,
            file: file.map(LogFile::open).transpose()?,
            counts: Counts::default(),
            names: Names::new(),
            waiting: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
            late: Arc::default(),
            warnings: Mutex::default(),
            strangers: Shares::of(DEFAULT_ROOM_FOR_STRANGERS, A_DAY),
            challenged: Shares::of(DEFAULT_ROOM_FOR_STRANGERS, A_DAY),
        })))
    }

    /// What was issued and refused since it was made.
    pub fn counts(&self) -> Vec<Count> {
        self.0.counts.all()
    }

    /// Entries that could not be written: to the store, or to the file.
    pub fn failures(&self) -> u64 {
        self.0.counts.failures()
    }

    /// What is to be part of the write that does what the entry says; nothing if entries are not kept.
    pub(crate) fn change(&self, entry: &Entry) -> Option<Change> {
        let now = UnixTime::from_secs(entry.time);
        let expires = now.plus(self.0.lifetime?);
        Some(Change::Insert {
            kind: Kind::AUDIT,
            id: self.0.names.of(now),
            family: "".into(),
            expires,
            body: to_json(entry),
        })
    }

    /// What the entry says was done, and stands in the store: now the log, the file and the counters.
    pub(crate) async fn tell(&self, entry: &Entry) {
        self.0.counts.count(entry);
        // The log of a command is the terminal of whoever typed it.
        if entry.by.as_deref() != Some(COMMAND) {
            entry.log(None);
        }
        self.append(entry).await;
    }

    /// A request was refused. When this is done, the entry is durable if there is room for it and the store works; whether it is
    /// or not, the answer stays the same.
    pub(crate) async fn refused(&self, store: &Arc<dyn Store>, refused: Refused) {
        let Refused { entry, detail, is_known } = refused;
        self.0.counts.count(&entry);
        entry.log(detail.as_deref());
        let code = entry.reason.as_deref().unwrap_or_default();
        let is_usual = code.starts_with("nonce.") || code == Reason::DevicePending.code();
        let room = if is_usual { &self.0.challenged } else { &self.0.strangers };
        let whose = entry.peer.as_deref().and_then(|peer| network(peer.parse::<SocketAddr>().ok()?.ip()));
        let fits = is_known || room.take(entry.octets(), whose, UnixTime::from_secs(entry.time)).is_ok();
        // The file is no place without an end, either.
        if fits {
            self.append(&entry).await;
        }
        let store_is_gone = [Fault::StoreUnavailable, Fault::StoreFull].iter().any(|fault| fault.code() == code);
        let Some(change) = self.change(&entry).filter(|_| !store_is_gone) else {
            return if !fits {
                self.0.waiting.lock().left_out += 1
            };
        };
        self.wait(change, fits);
        let now = UnixTime::from_secs(entry.time);
        if tokio::time::timeout(PATIENCE, self.write(&**store, now)).await.is_err() {
            self.write_later(store, now);
        }
    }

    /// Counts what is to be warned of; how often it was since the last warning, if it is time for another.
    pub(crate) fn is_time_to_warn(&self) -> Option<u64> {
        let mut warnings = self.0.warnings.lock();
        warnings.times += 1;
        if warnings.last.is_some_and(|last| last.elapsed() < WARNINGS) {
            return None;
        }
        warnings.last = Some(Instant::now());
        Some(core::mem::take(&mut warnings.times))
    }

    fn wait(&self, change: Change, fits: bool) {
        let mut waiting = self.0.waiting.lock();
        if fits && waiting.changes.len() < MOST_WAITING {
            waiting.changes.push(change);
        } else {
            waiting.left_out += 1;
        }
    }

    /// Writes what waits. Whoever has the turn writes for all who wait for theirs: refusals never have more than one place in the
    /// queue of the store.
    async fn write(&self, store: &dyn Store, now: UnixTime) {
        let _turn = self.0.turn.lock().await;
        let Some((changes, left_out)) = self.take(now) else { return };
        let appending = async {
            if let Some(entry) = left_out {
                self.append(&entry).await;
            }
        };
        // Both are on their way from here on, also if nobody waits for their end.
        let (written, ()) = tokio::join!(store.write(changes, now), appending);
        if written != Ok(Written::Done) {
            self.0.counts.failed();
            tracing::error!("refusals could not be written to the store");
        }
    }

    /// Writes what waits when nobody waits for it any more: otherwise it would lie there until somebody else is refused.
    fn write_later(&self, store: &Arc<dyn Store>, now: UnixTime) {
        let Ok(late) = Arc::clone(&self.0.late).try_lock_owned() else { return };
        let (own, store) = (self.clone(), Arc::clone(store));
        tokio::spawn(async move {
            let _late = late;
            while !own.0.waiting.lock().changes.is_empty() {
                own.write(&*store, now).await;
            }
        });
    }

    /// What waits, as far as it shares a write, and the entry of what was left out.
    fn take(&self, now: UnixTime) -> Option<(Vec<Change>, Option<Entry>)> {
        let mut waiting = self.0.waiting.lock();
        if waiting.changes.is_empty() {
            return None;
        }
        let left_out = core::mem::take(&mut waiting.left_out);
        let group = waiting.changes.len().min(GROUP);
        let mut changes: Vec<Change> = waiting.changes.drain(..group).collect();
        let entry = (left_out > 0).then(|| Entry { count: Some(left_out), ..Entry::new(Event::EntriesLeftOut, now) });
        changes.extend(entry.as_ref().and_then(|entry| self.change(entry)));
        Some((changes, entry))
    }

    async fn append(&self, entry: &Entry) {
        let Some(file) = &self.0.file else { return };
        if let Err(error) = file.append(to_json(entry).into_string()).await {
            self.0.counts.failed();
            tracing::error!(%error, "the audit file cannot be written");
        }
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self::new(Some(DEFAULT_AUDIT_LIFETIME), None).expect("no file is opened")
    }
}

impl fmt::Debug for Audit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Audit({:?})", self.0.lifetime)
    }
}

/// Names of entries: the later, the smaller, so that a list of the store begins with the latest. Digits alone, which every
/// database puts in the same order: the second by the clock of the issuer, the microsecond by that of the machine, which orders what
/// several processes write, and what no other process has.
struct Names {
    own: u32,
    /// The microsecond of the last one: no two are of the same.
    last: AtomicU64,
}

/// Later than any second in this century.
const LAST_SECOND: u64 = 9_999_999_999;

/// And any microsecond.
const LAST_MICROSECOND: u64 = 9_999_999_999_999_999;

impl Names {
    fn new() -> Self {
        // Without randomness nothing is issued either.
        let own = random_array().map(u32::from_be_bytes).unwrap_or_default();
        Self { own: own % 100_000_000, last: AtomicU64::new(0) }
    }

    fn of(&self, now: UnixTime) -> Box<str> {
        let machine = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        let machine = u64::try_from(machine).unwrap_or(0);
        let next = |last: u64| machine.max(last + 1);
        let before = self.last.fetch_update(Relaxed, Relaxed, |last| Some(next(last)));
        let unique = next(before.unwrap_or_else(|last| last));
        format!("{}{:016}{:08}", name_of_second(now), LAST_MICROSECOND.saturating_sub(unique), self.own).into()
    }
}

/// With which the names of the entries of a second begin.
fn name_of_second(time: UnixTime) -> String {
    format!("{:010}", LAST_SECOND.saturating_sub(time.as_secs()))
}
