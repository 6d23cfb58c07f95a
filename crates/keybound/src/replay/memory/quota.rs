//! Quotas by key without a counter for each key: coarse cells count for all keys that fall into them, and only a key whose
//! cell is well filled gets a count of its own.

use core::hint;

use super::keys::Keys;
use super::room::Room;
use super::shard::Mark;
use crate::refusal::Fault;

/// Up to here every key is counted by itself.
const EXACT: u32 = 64;

/// Cells of a shard at first: so many that with the default quota a store hardly ever counts again.
const MIN_CELLS: usize = 256;

/// Of how many expired entries the counts are fetched at once.
const TOGETHER: usize = 16;

/// A key that is not in `keys` has at most `slack` live entries: it gets a count of its own, beginning with `slack`, before
/// it could have more. So a count is never below the truth, and above it by at most `slack`. A key leaves `keys` when its
/// count is down at `slack`, where the first sentence holds again.
#[derive(Debug)]
pub(super) struct Quota {
    per_key: u32,
    slack: u32,
    /// The live entries of all keys whose tags end in the index; a power of two of them, or none if `slack` is zero.
    cells: Vec<u32>,
    keys: Keys,
}

impl Quota {
    pub(super) fn new(per_key: u32) -> Self {
        let slack = if per_key <= EXACT { 0 } else { per_key / 16 };
        Self { per_key, slack, cells: Vec::new(), keys: Keys::default() }
    }

    /// How many entries this key has, unless it is so few that they are not counted: then zero.
    pub(super) fn count(&self, tag: u64) -> u32 {
        self.keys.count(tag)
    }

    pub(super) const fn is_used_up(&self, count: u32) -> bool {
        count >= self.per_key
    }

    /// Makes room for what [`Quota::add`] may write.
    pub(super) fn reserve(&mut self, tag: u64, room: &Room) -> Result<(), Fault> {
        if self.cells.is_empty() && self.slack > 0 {
            let cells = room.zeros(MIN_CELLS)?;
            room.replace(&mut self.cells, cells);
        }
        if self.cell(tag) >= self.slack { self.keys.reserve(room) } else { Ok(()) }
    }

    /// Adds an entry to the `count` this key has, after [`Quota::reserve`].
    pub(super) fn add(&mut self, tag: u64, count: u32) {
        if count > 0 || self.cell(tag) >= self.slack {
            self.keys.set(tag, count.max(self.slack).saturating_add(1));
        }
        self.change_cell(tag, |entries| entries.saturating_add(1));
    }

    /// Reads what [`Quota::count`] and [`Quota::add`] will.
    pub(super) fn fetch(&self, tag: u64) -> u64 {
        self.keys.fetch(tag) ^ u64::from(self.cell(tag))
    }

    /// Counts one entry less for each of these, which are of one key or of several.
    pub(super) fn remove_all(&mut self, mut tags: impl Iterator<Item = u64>) {
        loop {
            let mut some = [0; TOGETHER];
            let filled = some.iter_mut().zip(tags.by_ref()).map(|(place, tag)| *place = tag).count();
            let some = some.get(..filled).unwrap_or_default();
            if some.is_empty() {
                return;
            }
            hint::black_box(some.iter().fold(0, |all, tag| all ^ self.fetch(*tag)));
            some.iter().for_each(|tag| self.remove(*tag));
        }
    }

    /// Counts one entry of this key less.
    fn remove(&mut self, tag: u64) {
        self.keys.lower(tag, self.slack);
        self.change_cell(tag, |entries| entries.saturating_sub(1));
    }

    /// How many cells there should be for so many entries, if there are far too few or too many: enough that the entries of
    /// other keys alone hardly ever fill one.
    pub(super) fn cells_wanted(&self, entries: usize) -> Option<usize> {
        let slack = usize::try_from(self.slack).unwrap_or(usize::MAX);
        let capacity = self.cells.len().saturating_mul(slack);
        let few = !self.cells.is_empty() && entries > capacity / 4;
        let many = self.cells.len() > MIN_CELLS && entries < capacity / 32;
        if !few && !many {
            return None;
        }
        let wanted = entries.saturating_mul(4).checked_div(slack)?.checked_add(1)?.checked_next_power_of_two()?;
        Some(wanted.max(MIN_CELLS))
    }

    /// Spreads the entries over so many cells. Without room for them, the old ones stay, which are right as well.
    pub(super) fn recount(&mut self, cells: usize, marks: impl Iterator<Item = Mark>, room: &Room) {
        let Ok(cells) = room.zeros(cells) else { return };
        room.replace(&mut self.cells, cells);
        for mark in marks {
            self.change_cell(mark.tag(), |entries| entries.saturating_add(1));
        }
    }

    /// Gives back what is not needed.
    pub(super) fn trim(&mut self, entries: usize, room: &Room) {
        self.keys.trim(room);
        if entries == 0 {
            room.replace(&mut self.cells, Vec::new());
        }
    }

    fn cell(&self, tag: u64) -> u32 {
        self.cells.get(self.index(tag)).copied().unwrap_or(0)
    }

    fn change_cell(&mut self, tag: u64, change: impl Fn(u32) -> u32) {
        let index = self.index(tag);
        if let Some(entries) = self.cells.get_mut(index) {
            *entries = change(*entries);
        }
    }

    /// By the low bits: [`Keys`] goes by the high ones, where the keys of one cell must not meet again.
    fn index(&self, tag: u64) -> usize {
        usize::try_from(tag & u64::from(u32::MAX)).unwrap_or(0) & self.cells.len().saturating_sub(1)
    }
}
