//! What one lock covers: the entries of some keys, in time buckets, and the counts of those keys.

use core::hint;

use super::filter::Filter;
use super::marks::{Marks, Place};
use super::quota::Quota;
use super::room::Room;
use crate::refusal::Fault;
use crate::replay::{ReplayEntry, Seen};
use crate::time::UnixTime;

/// A bucket is 2^3 seconds wide: expired entries stay for half of that on average.
const WIDTH_BITS: u32 = 3;

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

/// The bucket of this second.
pub(super) const fn bucket_of(time: UnixTime) -> u64 {
    time.as_secs() >> WIDTH_BITS
}

#[derive(Debug)]
struct Bucket {
    number: u64,
    marks: Marks,
}

#[derive(Debug)]
pub(super) struct Shard {
    pub(super) epoch: u64,
    /// Every bucket below this was dropped, or never was.
    floor: u64,
    /// In the order of their numbers.
    buckets: Vec<Bucket>,
    /// Of all buckets.
    filter: Filter,
    entries: usize,
    quota: Quota,
}

impl Shard {
    pub(super) fn new(epoch: u64, per_key: u32) -> Self {
        Self { epoch, floor: 0, buckets: Vec::new(), filter: Filter::default(), entries: 0, quota: Quota::new(per_key) }
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
        let number = bucket_of(entry.expires());
        if entry.epoch().id() != self.epoch || number < self.floor || number < bucket_of(now) {
            return Ok(Seen::Forgotten);
        }
        self.fetch(mark);
        let index = self.index(number);
        let bucket = self.buckets.get(index).filter(|bucket| bucket.number == number);
        let place = bucket.map(|bucket| bucket.marks.seek(mark));
        if place == Some(Place::Taken) {
            return Ok(Seen::Before);
        }
        // The same `jti` for the same target is the same proof, whatever its times: it may stand in any bucket.
        if self.filter.may_hold(mark) && self.buckets.iter().any(|bucket| bucket.marks.seek(mark) == Place::Taken) {
            return Ok(Seen::Before);
        }
        let count = self.quota.count(mark.tag());
        if self.quota.is_used_up(count) {
            return Ok(Seen::OverQuota { retry_after: self.retry_after(mark.tag(), now) });
        }
        self.quota.reserve(mark.tag(), room)?;
        self.filter.reserve(self.entries, self.buckets.iter().flat_map(|bucket| bucket.marks.iter()), room)?;
        if place.is_none() {
            room.extend(&mut self.buckets)?;
            // Without room for so many, it begins small.
            let marks = Marks::with_room_for(self.expected(index, number), room).unwrap_or_default();
            self.buckets.insert(index, Bucket { number, marks });
        }
        self.insert(index, mark, place, room)?;
        self.filter.put(mark);
        self.quota.add(mark.tag(), count);
        self.fit_cells(room);
        Ok(Seen::Never)
    }

    /// Drops the buckets that lie before `now`, and remembers that it did.
    pub(super) fn advance(&mut self, now: UnixTime, room: &Room) {
        let edge = bucket_of(now);
        if self.buckets.first().is_none_or(|oldest| oldest.number >= edge) {
            return;
        }
        let expired = self.buckets.partition_point(|bucket| bucket.number < edge);
        for bucket in self.buckets.drain(..expired) {
            self.quota.remove_all(bucket.marks.iter().map(Mark::tag));
            self.entries = self.entries.saturating_sub(bucket.marks.len());
            self.floor = self.floor.max(bucket.number.saturating_add(1));
            bucket.marks.release(room);
        }
        room.trim(&mut self.buckets);
        if self.entries == 0 {
            self.filter.clear(room);
        }
        self.quota.trim(self.entries, room);
        self.fit_cells(room);
    }

    /// Has memory bring what a new mark needs besides its place in a bucket, all at once instead of one after the other: in a
    /// large store nothing of it is in a cache.
    fn fetch(&self, mark: Mark) {
        hint::black_box((self.filter.fetch(mark), self.quota.fetch(mark.tag())));
    }

    /// How many marks a new bucket is likely to take: as many as the last but one, which is as good as complete.
    fn expected(&self, index: usize, number: u64) -> usize {
        let earlier = index.checked_sub(2).and_then(|index| self.buckets.get(index));
        let earlier = earlier.filter(|bucket| bucket.number.saturating_add(2) == number);
        earlier.map_or(0, |bucket| bucket.marks.len().saturating_add(bucket.marks.len() / 16))
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
        if !bucket.marks.put(mark, place) {
            return Err(Fault::ReplayFull);
        }
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
        let gone = oldest.saturating_add(1) << WIDTH_BITS;
        u32::try_from(gone.saturating_sub(now.as_secs())).unwrap_or(u32::MAX).max(1)
    }
}
