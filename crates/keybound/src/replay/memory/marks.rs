//! A set of marks: open addressing in one vector of cache lines that grows by a quarter. A mark's line is in proportion to its
//! value, so growing walks both vectors from front to back and costs little.

use super::room::Room;
use super::shard::Mark;
use crate::refusal::Fault;

/// As much as memory brings at once: whether a mark is among four costs one wait, as it would among one.
#[derive(Clone, Copy, Debug, Default)]
#[repr(align(64))]
struct Line([u128; PER_LINE]);

const PER_LINE: usize = 4;

#[derive(Debug, Default)]
pub(super) struct Marks {
    lines: Vec<Line>,
    len: usize,
}

/// What a look for a mark found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    Taken,
    /// In this line.
    Free(usize),
}

impl Marks {
    /// A set in which so many marks find room before it grows: fewer where the store is filling, for they may never come, and
    /// what is set aside for them is nobody else's.
    pub(super) fn with_room_for(marks: usize, room: &Room) -> Result<Self, Fault> {
        let lines = lines_for(marks).min(room.left_of_half().div_euclid(size_of::<Line>()));
        Ok(Self { lines: room.zeros(lines)?, len: 0 })
    }

    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn places(&self) -> usize {
        self.lines.len().saturating_mul(PER_LINE)
    }

    /// Where `mark` is or belongs.
    pub(super) fn seek(&self, mark: Mark) -> Place {
        let start = proportion(mark.high(), self.lines.len());
        let (front, back) = self.lines.split_at_checked(start).unwrap_or((&[], &self.lines));
        let mut index = start;
        for line in back.iter().chain(front) {
            if line.holds(mark) {
                return Place::Taken;
            }
            if line.has_room() {
                return Place::Free(if index < self.lines.len() {
                    index
                } else {
                    index.wrapping_sub(self.lines.len())
                });
            }
            index = index.wrapping_add(1);
        }
        Place::Free(start)
    }

    /// Makes room for one mark more; whether places have moved.
    pub(super) fn reserve(&mut self, room: &Room) -> Result<bool, Fault> {
        if self.len < most(self.places()) {
            return Ok(false);
        }
        let lines = self.lines.len();
        let mut grown = Self { lines: room.zeros(lines.saturating_add(lines / 4).saturating_add(1))?, len: 0 };
        for mark in self.iter() {
            let is_there = match grown.seek(mark) {
                Place::Free(line) => grown.put(mark, line),
                Place::Taken => true,
            };
            if !is_there {
                // A mark that is lost would be a proof that passes again.
                grown.release(room);
                return Err(Fault::ReplayFull);
            }
        }
        room.replace(&mut self.lines, grown.lines);
        Ok(true)
    }

    /// Puts a mark into the line that [`Marks::seek`] found for it; whether there was room.
    #[must_use]
    pub(super) fn put(&mut self, mark: Mark, line: usize) -> bool {
        let Some(free) = self.lines.get_mut(line).and_then(Line::free) else { return false };
        *free = mark.bits();
        self.len = self.len.saturating_add(1);
        true
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Mark> {
        let places = self.lines.iter().flat_map(|line| line.0.iter());
        places.filter(|bits| **bits != 0).map(|bits| Mark::from_bits(*bits))
    }

    pub(super) fn release(mut self, room: &Room) {
        room.replace(&mut self.lines, Vec::new());
    }
}

impl Line {
    /// All four are compared and then one jump is taken, which goes the same way for nearly every new mark.
    fn holds(&self, mark: Mark) -> bool {
        let wanted = mark.bits();
        self.0.iter().fold(false, |found, bits| found | (*bits == wanted))
    }

    /// A line is filled from its front, and nothing leaves it.
    fn has_room(&self) -> bool {
        self.0.last() == Some(&0)
    }

    fn free(&mut self) -> Option<&mut u128> {
        self.0.iter_mut().find(|bits| **bits == 0)
    }
}

/// How many of the places are taken before there must be more of them: four fifths, beyond which searches get long, and
/// always one fewer, where a search ends.
pub(super) const fn most(places: usize) -> usize {
    places.saturating_sub(places.div_ceil(5))
}

/// The lines of which so many marks are four fifths.
const fn lines_for(marks: usize) -> usize {
    marks.saturating_add(marks / 4).saturating_add(1).div_ceil(PER_LINE)
}

/// Where in `places` a hash lies, as its value lies between 0 and 2^64.
pub(super) fn proportion(hash: u64, places: usize) -> usize {
    let scaled = u128::from(hash).wrapping_mul(u128::try_from(places).unwrap_or(0)) >> 64;
    usize::try_from(scaled).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As many as six lines take.
    const MARKS: usize = 19;

    // All of them belong into the last line, so that most are in those that follow, from the front again.
    #[test]
    fn marks_that_crowd_are_found_beyond_the_end() {
        let room = Room::new(1 << 20, 0);
        let mut marks = Marks::with_room_for(MARKS, &room).unwrap();
        let lines = marks.places() / PER_LINE;
        let mark = |number| Mark::from_bits(u128::MAX - (u128::try_from(number).unwrap() << 40));
        for number in 0_usize..MARKS {
            let Place::Free(line) = marks.seek(mark(number)) else { panic!("{number} is new") };
            assert_eq!(line, (lines - 1 + marks.len() / PER_LINE) % lines, "{number}");
            assert!(!marks.reserve(&room).unwrap(), "there is room for {number}");
            assert!(marks.put(mark(number), line), "{number}");
            assert!((0..=number).all(|earlier| marks.seek(mark(earlier)) == Place::Taken), "{number}");
        }
        assert!(marks.reserve(&room).unwrap());
        assert!((0..MARKS).all(|number| marks.seek(mark(number)) == Place::Taken));
        assert_eq!((marks.len(), marks.iter().count()), (MARKS, MARKS));
        marks.release(&room);
        assert_eq!(room.used(), 0);
    }
}
