//! Which marks may stand in a shard, in whatever bucket: bits that are looked at before every bucket is gone through. A mark
//! that was put in is always said to be there; at most one in a hundred that was not is said so too.

use super::marks::proportion;
use super::room::Room;
use super::shard::{Mark, TAG_BITS};
use crate::refusal::Fault;

/// How many marks come on a word: sixteen bits each, of which three are set.
const PER_WORD: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Filter {
    words: Vec<u128>,
    /// How many marks were put in, those included that are no longer in a bucket.
    told: usize,
}

impl Filter {
    pub(super) fn may_hold(&self, mark: Mark) -> bool {
        let bits = bits(mark);
        self.words.get(self.word(mark)).is_some_and(|word| word & bits == bits)
    }

    /// Reads what [`Filter::may_hold`] and [`Filter::put`] will.
    pub(super) fn fetch(&self, mark: Mark) -> Option<u128> {
        self.words.get(self.word(mark)).copied()
    }

    /// Makes room for one mark more. Where there is none, the filter is made anew from the `entries` marks that live, which
    /// forgets the others.
    pub(super) fn reserve(
        &mut self,
        entries: usize,
        marks: impl Iterator<Item = Mark>,
        room: &Room,
    ) -> Result<(), Fault> {
        if self.told < self.words.len().saturating_mul(PER_WORD) {
            return Ok(());
        }
        // So that two marks are walked over for each that is put in.
        let words = entries.saturating_add(entries / 2).div_euclid(PER_WORD).saturating_add(1);
        let mut renewed = Self { words: room.zeros(words)?, told: 0 };
        marks.for_each(|mark| renewed.put(mark));
        room.replace(&mut self.words, renewed.words);
        self.told = renewed.told;
        Ok(())
    }

    pub(super) fn put(&mut self, mark: Mark) {
        let word = self.word(mark);
        if let Some(word) = self.words.get_mut(word) {
            *word |= bits(mark);
            self.told = self.told.saturating_add(1);
        }
    }

    /// Forgets everything: no mark lives.
    pub(super) fn clear(&mut self, room: &Room) {
        room.replace(&mut self.words, Vec::new());
        self.told = 0;
    }

    fn word(&self, mark: Mark) -> usize {
        proportion(mark.high(), self.words.len())
    }
}

/// Three bits of a word, by octets of the digest that say nothing about the word.
fn bits(mark: Mark) -> u128 {
    let digest = mark.bits() >> TAG_BITS;
    let bit = |shift: u32| 1_u128 << ((digest >> shift) & 127);
    bit(0) | bit(7) | bit(14)
}
