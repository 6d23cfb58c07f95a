//! In which of two states a node is, and since when.

use core::time::Duration;

use keybound::time::UnixTime;

/// How long the state lasts at least, in seconds: each beginning and each end costs every client a retry.
const SHORTEST: u64 = 2;

/// Who has to go back soon stays longer, up to this.
const LONGEST: u64 = 60;

/// What is soon.
const SOON: Duration = Duration::from_secs(60);

/// How often the store is tried once that time is over.
const TRY_EVERY: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(super) enum State {
    /// The store decides.
    Usual {
        /// How often this began: what was found out in an earlier time says nothing of this one.
        number: u64,
        /// When it began, unless it was so from the start.
        barrier: UnixTime,
        /// How long the stay before was.
        stayed: u64,
    },
    /// The reserve decides.
    NonceOnly { number: u64, stay: Stay },
}

/// One stay in the state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    since: UnixTime,
    next_try: UnixTime,
    seconds: u64,
}

impl Stay {
    /// Whether the store is to be tried. A clock that was set back ends a stay rather than make it long.
    pub(super) fn is_over(self, now: UnixTime) -> bool {
        now >= self.next_try || now < self.since
    }
}

impl State {
    pub(super) const fn new() -> Self {
        Self::Usual { number: 0, barrier: UnixTime::from_secs(0), stayed: 0 }
    }

    pub(super) const fn stay(&self) -> Option<Stay> {
        match self {
            Self::Usual { .. } => None,
            Self::NonceOnly { stay, .. } => Some(*stay),
        }
    }

    /// Which of the usual times this is; none while the reserve decides.
    pub(super) const fn number(&self) -> Option<u64> {
        match self {
            Self::Usual { number, .. } => Some(*number),
            Self::NonceOnly { .. } => None,
        }
    }

    /// Goes over to the reserve, if the usual time with this number lasts; whether it does.
    pub(super) fn enter(&mut self, asked: u64, now: UnixTime) -> bool {
        let Self::Usual { number, barrier, stayed } = *self else { return false };
        if number != asked {
            return false;
        }
        let soon = stayed > 0 && now.since(barrier) < SOON;
        let seconds = if soon { (stayed * 2).min(LONGEST) } else { SHORTEST };
        let next_try = now.plus(Duration::from_secs(seconds));
        *self = Self::NonceOnly { number, stay: Stay { since: now, next_try, seconds } };
        true
    }

    /// The store is not there yet.
    pub(super) fn stay_on(&mut self, now: UnixTime) {
        if let Self::NonceOnly { stay, .. } = self {
            stay.since = stay.since.min(now);
            stay.next_try = now.plus(TRY_EVERY);
        }
    }

    /// Goes back to the store. Whatever was accepted up to now was accepted in this second or the next.
    pub(super) fn leave(&mut self, now: UnixTime) {
        if let Self::NonceOnly { number, stay } = *self {
            let barrier = now.plus(Duration::from_secs(1));
            *self = Self::Usual { number: number.saturating_add(1), barrier, stayed: stay.seconds };
        }
    }
}
