//! The replay store of one process: digests in time buckets, quotas by key, a bound on memory.

use core::fmt;
use core::future::{self, Future};
use core::hash::Hasher as _;
use core::sync::atomic::Ordering;

use siphasher::sip;
use siphasher::sip128::{self, Hasher128 as _};

use self::room::Room;
use self::shard::{Mark, Shard, bucket_of};
use self::sync::{AtomicU64, Mutex, RwLock};
use super::{Epoch, ReplayEntry, ReplayStore, Seen};
use crate::refusal::Fault;
use crate::time::UnixTime;

mod filter;
mod keys;
mod marks;
mod quota;
mod room;
mod shard;
mod sync;

/// How many bytes a store may allocate unless set otherwise: room for some eleven million entries.
pub const DEFAULT_BYTES: usize = 256 << 20;

/// How many live entries one key may have unless set otherwise.
pub const DEFAULT_PER_KEY: u32 = 100_000;

/// The least a store may be given.
pub const MIN_BYTES: usize = 1 << 20;

/// The most live entries one key may be given.
pub const MAX_PER_KEY: u32 = keys::MAX_COUNT;

/// 2^6 locks: many more than cores that verify proofs, and few enough that an idle store is small.
const SHARD_BITS: u32 = 6;

/// What a [`MemoryStore`] may hold.
///
/// ```
/// use keybound::replay::memory::MemoryLimits;
///
/// let limits = MemoryLimits::new().bytes(64 << 20).per_key(10_000);
/// # let _ = limits;
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct MemoryLimits {
    bytes: usize,
    per_key: u32,
}

impl MemoryLimits {
    /// [`DEFAULT_BYTES`] and [`DEFAULT_PER_KEY`].
    pub const fn new() -> Self {
        Self { bytes: DEFAULT_BYTES, per_key: DEFAULT_PER_KEY }
    }

    /// How many bytes the store may allocate, what it needs while a table grows included. At least [`MIN_BYTES`].
    pub const fn bytes(self, bytes: usize) -> Self {
        Self { bytes, ..self }
    }

    /// How many live entries one key (`jkt`) may have: one to [`MAX_PER_KEY`].
    ///
    /// Up to 64 the count is exact. Above, a key is never admitted beyond it, and never refused below 15/16 of it.
    pub const fn per_key(self, entries: u32) -> Self {
        Self { per_key: entries, ..self }
    }
}

impl Default for MemoryLimits {
    fn default() -> Self {
        Self::new()
    }
}

/// Why no store can be made of these [`MemoryLimits`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LimitsError {
    /// Fewer bytes than [`MIN_BYTES`].
    Bytes,
    /// No entry at all for a key, or more than [`MAX_PER_KEY`].
    PerKey,
}

impl fmt::Display for LimitsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes => write!(f, "the replay memory needs at least {MIN_BYTES} bytes"),
            Self::PerKey => write!(f, "one key may have 1 to {MAX_PER_KEY} entries in the replay memory"),
        }
    }
}

impl core::error::Error for LimitsError {}

/// Remembers proofs in the memory of this process.
///
/// Of each proof it keeps 128 bits: 88 of a keyed digest over `jkt`, `jti` and target and 40 of one over `jkt` alone. An entry is kept
/// through its `expires` second, in a bucket of eight seconds that is dropped whole. The store never drops a live entry:
/// when its bytes are used up it answers [`Fault::ReplayFull`], but a repetition is still [`Seen::Before`].
///
/// The clock is the caller's. If it steps back, an entry whose bucket was dropped already, or whose bucket lies in the past
/// of `now`, is answered [`Seen::Forgotten`]: nobody knows any more whether it was there, and a new proof with a nonce lives
/// long enough. Never is such an entry [`Seen::Never`] again.
///
/// ```
/// use keybound::jwk::Thumbprint;
/// use keybound::replay::memory::{MemoryLimits, MemoryStore};
/// use keybound::replay::{Epoch, ReplayEntry, Seen};
/// use keybound::time::UnixTime;
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// # let (sixteen_random_octets, random) = ([7; 16], 7);
/// let store = MemoryStore::new(MemoryLimits::new(), sixteen_random_octets, Epoch::new(random, now))?;
///
/// let jkt = Thumbprint::from_bytes([1; 32]);
/// let expires = UnixTime::from_secs(1_700_000_306);
/// let entry = ReplayEntry::new(jkt, "4b5ee0c2", "https://api.example.com/", store.epoch(), expires);
/// assert_eq!(store.record_now(&entry, now), Ok(Seen::Never));
/// assert_eq!(store.record_now(&entry, now), Ok(Seen::Before));
/// # Ok::<(), keybound::replay::memory::LimitsError>(())
/// ```
pub struct MemoryStore {
    key: [u8; 16],
    per_key: u32,
    epoch: RwLock<Epoch>,
    shards: Box<[Mutex<Shard>]>,
    room: Room,
    swept: AtomicU64,
    refused: AtomicU64,
}

impl MemoryStore {
    /// An empty store. `key` is 16 octets nobody else knows, fresh for each store: with them somebody could make proofs that
    /// fall together. `epoch` is fresh as well: what was accepted before is not remembered.
    ///
    /// # Errors
    ///
    /// [`LimitsError`] if a limit is out of its range.
    pub fn new(limits: MemoryLimits, key: [u8; 16], epoch: Epoch) -> Result<Self, LimitsError> {
        if limits.bytes < MIN_BYTES {
            return Err(LimitsError::Bytes);
        }
        if !(1..=MAX_PER_KEY).contains(&limits.per_key) {
            return Err(LimitsError::PerKey);
        }
        let shards: Box<[_]> =
            (0..1_u32 << SHARD_BITS).map(|_| Mutex::new(Shard::new(epoch.id(), limits.per_key))).collect();
        let room = Room::new(limits.bytes, size_of::<Self>().saturating_add(size_of_val(&*shards)));
        Ok(Self {
            key,
            per_key: limits.per_key,
            epoch: RwLock::new(epoch),
            shards,
            room,
            swept: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        })
    }

    /// The epoch in force.
    pub fn epoch(&self) -> Epoch {
        *self.epoch.read()
    }

    /// Opens this epoch. What was judged under another one and is not recorded when this returns, never will be: it is
    /// [`Seen::Forgotten`]. Called when a window or the nonce policy changes, because then a proof's `expires` changes too.
    pub fn raise(&self, epoch: Epoch) {
        let mut current = self.epoch.write();
        for shard in &self.shards {
            shard.lock().epoch = epoch.id();
        }
        *current = epoch;
    }

    /// [`ReplayStore::record`], at once.
    ///
    /// # Errors
    ///
    /// [`Fault::ReplayFull`] if the entry is new and there is no room for it.
    pub fn record_now(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let (shard, mark) = self.locate(entry);
        let Some(shard) = self.shards.get(shard) else {
            return Err(Fault::ReplayFull);
        };
        let record = || shard.lock().record(entry, mark, now, &self.room);
        let seen = record();
        if seen != Err(Fault::ReplayFull) {
            return seen;
        }
        // Shards nobody has asked since may hold expired buckets; once a bucket's time it is worth a look.
        let edge = bucket_of(now);
        let seen = if self.swept.swap(edge, Ordering::Relaxed) == edge { seen } else { self.retry(now, record) };
        if seen == Err(Fault::ReplayFull) {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        seen
    }

    /// Gives back the memory of entries that have expired. Recording does so by itself; a store that nobody writes to any
    /// more needs this every few seconds or minutes.
    pub fn sweep(&self, now: UnixTime) {
        for shard in &self.shards {
            shard.lock().advance(now, &self.room);
        }
    }

    /// How many entries are held, expired ones that were not dropped yet included.
    pub fn entries(&self) -> usize {
        self.shards.iter().fold(0, |sum, shard| sum.saturating_add(shard.lock().entries()))
    }

    /// How many bytes are allocated.
    pub fn bytes(&self) -> usize {
        self.room.used()
    }

    /// How many entries were refused for want of room since the store opened.
    pub fn refused_for_room(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn retry(&self, now: UnixTime, record: impl Fn() -> Result<Seen, Fault>) -> Result<Seen, Fault> {
        self.sweep(now);
        record()
    }

    /// The shard of the entry's key, so that one lock covers its count and its entries; and what is kept of the entry.
    fn locate(&self, entry: &ReplayEntry<'_>) -> (usize, Mark) {
        let key = sip::SipHasher24::new_with_key(&self.key).hash(entry.jkt().as_bytes());
        let mut whole = sip128::SipHasher24::new_with_key(&self.key);
        entry.digest_input(|octets| whole.write(octets));
        let shard = usize::try_from(key >> (u64::BITS - SHARD_BITS)).unwrap_or(0);
        (shard, Mark::new(whole.finish128().as_u128(), key))
    }
}

impl ReplayStore for MemoryStore {
    fn epoch(&self) -> Epoch {
        self.epoch()
    }

    fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> impl Future<Output = Result<Seen, Fault>> + Send {
        future::ready(self.record_now(entry, now))
    }
}

impl fmt::Debug for MemoryStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryStore")
            .field("epoch", &self.epoch())
            .field("per_key", &self.per_key)
            .field("bytes", &self.bytes())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
