//! Which slots of a ring are over, by what this node has seen itself and how long ago that is by a clock that nobody sets: a clock of the
//! database that jumps empties no slot.

use core::time::Duration;
use std::collections::VecDeque;

use tokio::time::Instant;

/// How many slots there are for all proofs, and for those that live longer.
pub(crate) const NEAR: u64 = 4;
pub(crate) const FAR: u64 = 3;

/// A ring as this node has seen it.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: u64,
    /// How long after its time a slot is kept.
    kept: Duration,
    /// How often it has turned, and since when this is known.
    turn: u64,
    since: Instant,
    /// Turns that are over, the oldest first, and since when this is known.
    over: VecDeque<(u64, Instant)>,
}

impl Ring {
    /// One that has turned so often, all of which is news.
    pub(crate) fn new(slots: u64, kept: Duration, turn: u64, now: Instant) -> Self {
        let over = (turn.saturating_sub(slots - 1)..turn).map(|over| (over, now)).collect();
        Self { slots, kept, turn, since: now, over }
    }

    /// For how long a slot is written to at least.
    pub(crate) fn width(&self) -> Duration {
        width(self.slots, self.kept)
    }

    /// It has turned so often now.
    pub(crate) fn saw(&mut self, turn: u64, now: Instant) {
        if turn <= self.turn {
            return;
        }
        self.over.extend((self.turn.max(turn.saturating_sub(self.slots - 1))..turn).map(|over| (over, now)));
        while self.over.len() as u64 >= self.slots {
            self.over.pop_front();
        }
        (self.turn, self.since) = (turn, now);
    }

    /// From which turn it is to be turned on, if it is time and what is in the slot that comes next has gone by.
    pub(crate) fn is_due(&self, now: Instant) -> Option<u64> {
        let next = self.turn + 1;
        let before = next.checked_sub(self.slots);
        let is_over = before.is_none_or(|before| {
            let seen = self.over.iter().find(|(over, _)| *over == before);
            seen.is_some_and(|(_, since)| now.duration_since(*since) > self.kept)
        });
        (is_over && now.duration_since(self.since) >= self.width()).then_some(self.turn)
    }
}

/// So wide that the ring has come round when a slot may be emptied.
pub(crate) fn width(slots: u64, kept: Duration) -> Duration {
    Duration::from_secs(kept.as_secs() / (slots - 1) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEPT: Duration = Duration::from_secs(300);

    fn later(now: Instant, seconds: u64) -> Instant {
        now + Duration::from_secs(seconds)
    }

    #[test]
    fn a_slot_comes_again_once_its_proofs_are_gone() {
        let begin = Instant::now();
        let mut ring = Ring::new(NEAR, KEPT, 0, begin);
        let (mut now, mut ended) = (begin, Vec::new());
        for turn in 0..20 {
            assert_eq!(ring.is_due(later(now, 100)), None);
            now = later(now, 101);
            assert_eq!(ring.is_due(now), Some(turn));
            ended.push(now);
            if let Some(before) = (turn + 1).checked_sub(NEAR) {
                assert!(now - ended[usize::try_from(before).unwrap()] > KEPT);
            }
            ring.saw(turn + 1, now);
        }
    }

    #[test]
    fn who_has_seen_nothing_waits() {
        let begin = Instant::now();
        let ring = Ring::new(NEAR, KEPT, 17, begin);
        assert_eq!(ring.is_due(later(begin, 300)), None);
        assert_eq!(ring.is_due(later(begin, 301)), Some(17));
    }

    // Another node has turned it more than once since.
    #[test]
    fn what_others_have_turned_is_news() {
        let begin = Instant::now();
        let mut ring = Ring::new(NEAR, KEPT, 17, begin);
        ring.saw(19, later(begin, 200));
        ring.saw(18, later(begin, 201));
        // Of turn 16 it was known from the beginning that it was over.
        assert_eq!(ring.is_due(later(begin, 300)), None);
        assert_eq!(ring.is_due(later(begin, 302)), Some(19));
        ring.saw(40, later(begin, 400));
        assert_eq!(ring.is_due(later(begin, 700)), None);
        assert_eq!(ring.is_due(later(begin, 701)), Some(40));
    }
}
