//! A set of marks: open addressing in one vector that grows by a quarter. A mark's place is in proportion to its value, so
//! growing walks both vectors from front to back and costs little.

use super::room::Room;
use super::shard::Mark;
use crate::refusal::Fault;

#[derive(Debug, Default)]
pub(super) struct Marks {
    /// Zero is a free place.
    places: Vec<u128>,
    len: usize,
}

/// What a look for a mark found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Taken,
    Free(usize),
}

impl Marks {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn places(&self) -> usize {
        self.places.len()
    }

    /// Where `mark` is or belongs.
    pub(super) fn seek(&self, mark: Mark) -> Place {
        let wanted = mark.bits();
        let start = proportion(mark.high(), self.places.len());
        let (front, back) = self.places.split_at_checked(start).unwrap_or((&[], &self.places));
        let mut index = start;
        for place in back.iter().chain(front) {
            if *place == wanted {
                return Place::Taken;
            }
            if *place == 0 {
                return Place::Free(if index < self.places.len() {
                    index
                } else {
                    index.wrapping_sub(self.places.len())
                });
            }
            index = index.wrapping_add(1);
        }
        Place::Free(start)
    }

    /// Makes room for one mark more; whether places have moved.
    pub(super) fn reserve(&mut self, room: &Room) -> Result<bool, Fault> {
        if self.len < most(self.places.len()) {
            return Ok(false);
        }
        let mut grown = Self { places: room.zeros(wider(self.places.len()))?, len: 0 };
        for mark in self.iter() {
            if let Place::Free(place) = grown.seek(mark) {
                grown.put(mark, place);
            }
        }
        room.replace(&mut self.places, grown.places);
        Ok(true)
    }

    /// Puts a mark into the free place that [`Marks::seek`] found for it.
    pub(super) fn put(&mut self, mark: Mark, place: usize) {
        if let Some(free) = self.places.get_mut(place) {
            *free = mark.bits();
            self.len = self.len.saturating_add(1);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Mark> {
        self.places.iter().filter(|bits| **bits != 0).map(|bits| Mark::from_bits(*bits))
    }

    pub(super) fn release(mut self, room: &Room) {
        room.replace(&mut self.places, Vec::new());
    }
}

/// How many of the places are taken before there must be more of them: four fifths, beyond which searches get long, and
/// always one fewer, where a search ends.
pub(super) const fn most(places: usize) -> usize {
    places.saturating_sub(places.div_ceil(5))
}

/// How many places there should be next.
pub(super) const fn wider(places: usize) -> usize {
    places.saturating_add(places / 4).saturating_add(4)
}

/// Where in `places` a hash lies, as its value lies between 0 and 2^64.
pub(super) fn proportion(hash: u64, places: usize) -> usize {
    let scaled = u128::from(hash).wrapping_mul(u128::try_from(places).unwrap_or(0)) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}
