//! How many live entries a key has: a map from tag to count, eight bytes a place.

use super::marks::{most, proportion};
use super::room::Room;
use super::shard::TAG_BITS;
use crate::refusal::Fault;

const COUNT_BITS: u32 = u64::BITS - TAG_BITS;

/// The highest count there is room for.
pub(super) const MAX_COUNT: u32 = (1 << COUNT_BITS) - 1;

#[derive(Debug, Default)]
pub(super) struct Keys {
    /// The tag above, the count below; zero is a free place.
    places: Vec<u64>,
    len: usize,
}

impl Keys {
    /// The count of this key; zero if it is not there.
    pub(super) fn count(&self, tag: u64) -> u32 {
        self.places.get(self.seek(tag)).map_or(0, |place| count_of(*place))
    }

    /// Reads the place at which [`Keys::count`] begins.
    pub(super) fn fetch(&self, tag: u64) -> u64 {
        self.places.get(self.home(tag)).copied().unwrap_or(0)
    }

    /// Makes room for one key more.
    pub(super) fn reserve(&mut self, room: &Room) -> Result<(), Fault> {
        if self.len < most(self.places.len()) {
            return Ok(());
        }
        self.resize(wider(self.places.len()), room)
    }

    /// Sets the count of this key, which is there or for which room was made. Not to zero.
    pub(super) fn set(&mut self, tag: u64, count: u32) {
        let index = self.seek(tag);
        if let Some(place) = self.places.get_mut(index) {
            self.len = self.len.saturating_add(usize::from(*place == 0));
            *place = (tag << COUNT_BITS) | u64::from(count);
        }
    }

    /// Takes one off the count of this key, if it is there. A key whose count comes down to `least` leaves.
    pub(super) fn lower(&mut self, tag: u64, least: u32) {
        let index = self.seek(tag);
        let Some(place) = self.places.get_mut(index).filter(|place| **place != 0) else {
            return;
        };
        *place = place.wrapping_sub(1);
        if count_of(*place) <= least {
            self.take_out(index);
            self.len = self.len.saturating_sub(1);
        }
    }

    /// Gives back what is not needed, once that is most of it.
    pub(super) fn trim(&mut self, room: &Room) {
        if self.len == 0 {
            room.replace(&mut self.places, Vec::new());
        } else if self.len < self.places.len() / 4 {
            // Without room for the smaller one, the larger one stays.
            let _kept = self.resize(self.len.saturating_mul(3) / 2, room);
        }
    }

    fn resize(&mut self, places: usize, room: &Room) -> Result<(), Fault> {
        let mut resized = Self { places: room.zeros(places.max(4))?, len: 0 };
        for place in self.places.iter().filter(|place| **place != 0) {
            resized.set(tag_of(*place), count_of(*place));
        }
        self.len = resized.len;
        room.replace(&mut self.places, resized.places);
        Ok(())
    }

    /// Where this key is or belongs; beyond the end if there are no places.
    fn seek(&self, tag: u64) -> usize {
        let mut index = self.home(tag);
        while let Some(place) = self.places.get(index) {
            if *place == 0 || tag_of(*place) == tag {
                break;
            }
            index = self.after(index);
        }
        index
    }

    /// Frees a place and moves up what would no longer be found behind it.
    fn take_out(&mut self, index: usize) {
        let mut hole = index;
        let mut next = self.after(hole);
        while let Some(place) = self.places.get(next).copied().filter(|place| *place != 0) {
            let home = self.home(tag_of(place));
            if self.distance(home, next) >= self.distance(hole, next) {
                self.write(hole, place);
                hole = next;
            }
            next = self.after(next);
        }
        self.write(hole, 0);
    }

    fn write(&mut self, index: usize, place: u64) {
        if let Some(there) = self.places.get_mut(index) {
            *there = place;
        }
    }

    fn home(&self, tag: u64) -> usize {
        proportion(tag << COUNT_BITS, self.places.len())
    }

    fn after(&self, index: usize) -> usize {
        let next = index.wrapping_add(1);
        if next < self.places.len() { next } else { 0 }
    }

    /// How far one goes from one place to the other, forward and round.
    fn distance(&self, from: usize, to: usize) -> usize {
        let ahead = to.wrapping_sub(from);
        if from <= to { ahead } else { ahead.wrapping_add(self.places.len()) }
    }
}

/// How many places there should be next.
const fn wider(places: usize) -> usize {
    places.saturating_add(places / 4).saturating_add(4)
}

const fn tag_of(place: u64) -> u64 {
    place >> COUNT_BITS
}

fn count_of(place: u64) -> u32 {
    u32::try_from(place & u64::from(MAX_COUNT)).unwrap_or(MAX_COUNT)
}
