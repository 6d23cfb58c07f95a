//! What one lock covers: the entries of some keys, in time buckets, and the counts of those keys.

use core::time::Duration;

use super::marks::{Marks, Place};
use super::quota::Quota;
use super::room::Room;
use crate::refusal::Fault;
use crate::replay::{ReplayEntry, Seen};
use crate::time::UnixTime;

/// How wide the buckets are, as a power of two in seconds. Expired entries stay for half of that on average, and every live
/// bucket is looked through for an entry: so there are half a dozen of them, whatever the retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Width(u32);

impl Width {
    /// No narrower: eight seconds more or less is no memory worth having.
    const LEAST: u32 = 3;

    /// For entries that are kept for this long.
    pub(super) fn of(retention: Duration) -> Self {
        let fits = |bits: &u32| retention.as_secs() >> bits < 6;
        Self((Self::LEAST..u64::BITS).find(fits).unwrap_or(Self::LEAST))
    }

    /// The bucket of this second.
    pub(super) const fn bucket_of(self, time: UnixTime) -> u64 {
        time.as_secs() >> self.0
    }

    /// The first second after this bucket.
    const fn end(self, bucket: u64) -> u64 {
        bucket.saturating_add(1) << self.0
    }
}

/// How many places a refusal looks through for the oldest entry of its key. At least one bucket is looked through.
const SEARCH: usize = 1 << 16;

/// Of 100 million keys, one in a million has its tag in common with another key of its shard, and the two share a quota.
pub(super) const TAG_BITS: u32 = 40;

const TAG: u128 = (1 << TAG_BITS) - 1;

/// What is kept of an entry: a digest of the whole, and in the low bits the tag of its key. Never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark(u128);

impl Mark {
    /// Takes the upper bits of `digest` and the lower ones of `key`.
    pub(super) fn new(digest: u128, key: u64) -> Self {
        let bits = (digest & !TAG) | (u128::from(key) & TAG);
        Self(if bits == 0 { 1 << TAG_BITS } else { bits })
    }

    pub(super) const fn from_bits(bits: u128) -> Self {
        Self(bits)
    }

    pub(super) const fn bits(self) -> u128 {
        self.0
    }

    /// The upper half.
    pub(super) fn high(self) -> u64 {
        u64::try_from(self.0 >> 64).unwrap_or(0)
    }

    /// The same for all entries of a key.
    pub(super) fn tag(self) -> u64 {
        u64::try_from(self.0 & TAG).unwrap_or(0)
    }
}

#[derive(Debug)]
struct Bucket {
    number: u64,
    marks: Marks,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) epoch: u64,
    width: Width,
    /// Every bucket below this was dropped, or never was.
    floor: u64,
    /// In the order of their numbers.
    buckets: Vec<Bucket>,
    entries: usize,
    quota: Quota,
}

impl Shard {
    pub(super) fn new(epoch: u64, per_key: u32, width: Width) -> Self {
        Self { epoch, width, floor: 0, buckets: Vec::new(), entries: 0, quota: Quota::new(per_key) }
    }

    pub(super) const fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn record(
        &mut self,
        entry: &ReplayEntry<'_>,
        mark: Mark,
        now: UnixTime,
        room: &Room,
    ) -> Result<Seen, Fault> {
        self.advance(now, room);
        let number = self.width.bucket_of(entry.expires());
        if entry.epoch().id() != self.epoch || number < self.floor || number < self.width.bucket_of(now) {
            return Ok(Seen::Forgotten);
        }
        // The same `jti` for the same target is the same proof, whatever its times: it may be in any bucket. All
        // searches are begun before any is gone through, so that their way from memory is waited for once.
        let touched = self.buckets.iter().fold(0, |all, bucket| all ^ bucket.marks.touch(mark));
        core::hint::black_box(touched);
        let elsewhere = |bucket: &Bucket| bucket.number != number && bucket.marks.seek(mark) == Place::Taken;
        if self.buckets.iter().any(elsewhere) {
            return Ok(Seen::Before);
        }
        let index = self.index(number);
        let bucket = self.buckets.get(index).filter(|bucket| bucket.number == number);
        let place = bucket.map(|bucket| bucket.marks.seek(mark));
        if place == Some(Place::Taken) {
            return Ok(Seen::Before);
        }
        let count = self.quota.count(mark.tag());
        if self.quota.is_used_up(count) {
            return Ok(Seen::OverQuota { retry_after: self.retry_after(mark.tag(), now) });
        }
        self.quota.reserve(mark.tag(), room)?;
        if place.is_none() {
            room.extend(&mut self.buckets)?;
            self.buckets.insert(index, Bucket { number, marks: Marks::default() });
        }
        self.insert(index, mark, place, room)?;
        self.quota.add(mark.tag(), count);
        self.fit_cells(room);
        Ok(Seen::Never)
    }

    /// Drops the buckets that lie before `now`, and remembers that it did.
    pub(super) fn advance(&mut self, now: UnixTime, room: &Room) {
        let edge = self.width.bucket_of(now);
        if self.buckets.first().is_none_or(|oldest| oldest.number >= edge) {
            return;
        }
        let expired = self.buckets.partition_point(|bucket| bucket.number < edge);
        for bucket in self.buckets.drain(..expired) {
            bucket.marks.iter().for_each(|mark| self.quota.remove(mark.tag()));
            self.entries = self.entries.saturating_sub(bucket.marks.len());
            self.floor = self.floor.max(bucket.number.saturating_add(1));
            bucket.marks.release(room);
        }
        room.trim(&mut self.buckets);
        self.quota.trim(self.entries, room);
        self.fit_cells(room);
    }

    /// Where this bucket is or belongs. Buckets that follow each other without a gap are found without a search.
    fn index(&self, number: u64) -> usize {
        let first = self.buckets.first().map_or(number, |bucket| bucket.number);
        let guess = usize::try_from(number.saturating_sub(first)).unwrap_or(usize::MAX);
        match self.buckets.get(guess) {
            Some(bucket) if bucket.number == number => guess,
            _ => self.buckets.partition_point(|bucket| bucket.number < number),
        }
    }

    fn insert(&mut self, index: usize, mark: Mark, place: Option<Place>, room: &Room) -> Result<(), Fault> {
        let Some(bucket) = self.buckets.get_mut(index) else {
            return Err(Fault::ReplayFull);
        };
        let moved = bucket.marks.reserve(room)?;
        let place = place.filter(|_| !moved).unwrap_or_else(|| bucket.marks.seek(mark));
        let Place::Free(place) = place else {
            return Err(Fault::ReplayFull);
        };
        bucket.marks.put(mark, place);
        self.entries = self.entries.saturating_add(1);
        Ok(())
    }

    fn fit_cells(&mut self, room: &Room) {
        if let Some(cells) = self.quota.cells_wanted(self.entries) {
            self.quota.recount(cells, self.buckets.iter().flat_map(|bucket| bucket.marks.iter()), room);
        }
    }

    /// In how many seconds the oldest entry of this key goes, or less if that takes too long to find out.
    fn retry_after(&self, tag: u64, now: UnixTime) -> u32 {
        let mut places = 0_usize;
        let has_key = |bucket: &&Bucket| {
            places = places.saturating_add(bucket.marks.places());
            places > SEARCH || bucket.marks.iter().any(|mark| mark.tag() == tag)
        };
        let oldest = self.buckets.iter().find(has_key).map_or(0, |bucket| bucket.number);
        let gone = self.width.end(oldest);
        u32::try_from(gone.saturating_sub(now.as_secs())).unwrap_or(u32::MAX).max(1)
    }
}
