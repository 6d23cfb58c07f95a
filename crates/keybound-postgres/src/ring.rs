//! Which slots of a ring are over, by what this node has seen itself and how long ago that is by a clock that nobody sets: a clock of the
//! database that jumps empties no slot.

use core::time::Duration;
use std::collections::VecDeque;

use tokio::time::Instant;

/// How many slots there are for all proofs, and for those that live longer.
pub(crate) const NEAR: u64 = 4;
const FAR: u64 = 3;

/// Both rings of an epoch as this node has seen them, over one connection after the other.
#[derive(Debug)]
pub(crate) struct Rings {
    near: Ring,
    far: Ring,
}

impl Rings {
    /// `kept` and how often they have turned are of the near one and of the far one.
    pub(crate) fn new(kept: (Duration, Duration), turns: (u64, u64), now: Instant) -> Self {
        Self { near: Ring::new(NEAR, kept.0, turns.0, now), far: Ring::new(FAR, kept.1, turns.1, now) }
    }

    /// Whether they may have turned on to there.
    pub(crate) const fn may_be_at(&self, turns: (u64, u64)) -> bool {
        self.near.turn <= turns.0 && self.far.turn <= turns.1
    }

    pub(crate) fn saw(&mut self, turns: (u64, u64), now: Instant) {
        self.near.saw(turns.0, now);
        self.far.saw(turns.1, now);
    }

    /// What is to be turned on: whether it is the far one, and from which turn.
    pub(crate) fn due(&self, now: Instant) -> impl Iterator<Item = (bool, u64)> + use<> {
        let due = [(false, self.near.is_due(now)), (true, self.far.is_due(now))];
        due.into_iter().filter_map(|(is_far, turn)| Some((is_far, turn?)))
    }

    /// One was turned on from there.
    pub(crate) fn turned(&mut self, is_far: bool, turn: u64, now: Instant) {
        let ring = if is_far { &mut self.far } else { &mut self.near };
        ring.saw(turn + 1, now);
    }
}

/// A ring as this node has seen it.
#[derive(Debug)]
struct Ring {
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
    fn new(slots: u64, kept: Duration, turn: u64, now: Instant) -> Self {
        let over = (turn.saturating_sub(slots - 1)..turn).map(|over| (over, now)).collect();
        Self { slots, kept, turn, since: now, over }
    }

    /// It has turned so often now.
    fn saw(&mut self, turn: u64, now: Instant) {
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
    fn is_due(&self, now: Instant) -> Option<u64> {
        let next = self.turn + 1;
        let before = next.checked_sub(self.slots);
        let is_over = before.is_none_or(|before| {
            let seen = self.over.iter().find(|(over, _)| *over == before);
            seen.is_some_and(|(_, since)| now.duration_since(*since) > self.kept)
        });
        (is_over && now.duration_since(self.since) >= width(self.slots, self.kept)).then_some(self.turn)
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

    // A server put back to where it was is begun with anew.
    #[test]
    fn rings_go_on_where_they_may_be() {
        let now = Instant::now();
        let rings = Rings::new((KEPT, 100 * KEPT), (17, 3), now);
        for (turns, may_be) in [((17, 3), true), ((30, 4), true), ((16, 3), false), ((18, 2), false)] {
            assert_eq!(rings.may_be_at(turns), may_be, "{turns:?}");
        }
        assert_eq!(rings.due(later(now, 301)).collect::<Vec<_>>(), [(false, 17)]);
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
