//! How often passwords may be tried. A wait, never a lock: it is a minute at most, and a browser that its owner has signed in with
//! before has a count of its own, which no stranger touches.

use core::fmt;
use core::hash::{BuildHasher as _, Hash};
use core::net::IpAddr;
use std::hash::RandomState;

use keybound::time::UnixTime;
use parking_lot::Mutex;

use crate::room::network;

/// Counters; who shares one with another waits for the other's failures, a minute at most.
const COUNTERS: usize = 16_384;

/// Counters of their own for browsers that are known, so that no number of strangers fills them.
const KNOWN: usize = 4096;

/// Tries of a name from one peer, or one known browser, without a wait.
const FREE: u32 = 5;

/// Tries from one peer, whatever the name.
const FREE_OF_PEER: u32 = 30;

/// Tries of a name from everywhere.
const FREE_OF_NAME: u32 = 100;

/// The longest wait in seconds.
const LONGEST: u64 = 60;

/// Failures are forgotten after so many seconds without one.
const MEMORY: u64 = 3600;

/// Who tries.
#[derive(Clone, Copy, Debug)]
pub(super) enum From<'t> {
    /// A browser in which this very user signed in before.
    Known(&'t str),
    /// Anybody else; `None` where nobody said who is at the other end.
    Peer(Option<IpAddr>),
}

/// Counts failures, in a table that never grows.
pub(super) struct Throttle {
    seed: RandomState,
    counters: Mutex<Vec<Counter>>,
}

#[derive(Clone, Copy, Default)]
struct Counter {
    failures: u32,
    last: u64,
}

impl Throttle {
    pub(super) fn new() -> Self {
        Self { seed: RandomState::new(), counters: Mutex::new(vec![Counter::default(); COUNTERS + KNOWN]) }
    }

    /// Counts a try beforehand, so that many at once are many. `Err` is how many seconds to wait, and nothing is counted.
    pub(super) fn begin(&self, name: &str, from: From<'_>, now: UnixTime) -> Result<(), u64> {
        let now = now.as_secs();
        let places = self.places(name, from);
        let mut counters = self.counters.lock();
        let wait = places.iter().flatten().map(|(place, free)| counters[*place].wait(*free, now)).max();
        match wait {
            Some(wait) if wait > 0 => Err(wait),
            _ => {
                for (place, _) in places.into_iter().flatten() {
                    counters[place].count(now);
                }
                Ok(())
            }
        }
    }

    /// The password was right: the failures of this name from there are forgotten, and the try is not one of the others.
    pub(super) fn succeeded(&self, name: &str, from: From<'_>) {
        let mut counters = self.counters.lock();
        for (position, (place, _)) in self.places(name, from).into_iter().flatten().enumerate() {
            let failures = &mut counters[place].failures;
            *failures = if position == 0 { 0 } else { failures.saturating_sub(1) };
        }
    }

    /// The try was right, and is none of those that count; others before it do, for whoever tries has something right at all times.
    pub(super) fn take_back(&self, name: &str, from: From<'_>) {
        let mut counters = self.counters.lock();
        for (place, _) in self.places(name, from).into_iter().flatten() {
            counters[place].failures = counters[place].failures.saturating_sub(1);
        }
    }

    /// Where it is counted, with what is free there; the narrowest first.
    fn places(&self, name: &str, from: From<'_>) -> [Option<(usize, u32)>; 3] {
        match from {
            From::Known(browser) => [Some((COUNTERS + self.place((name, browser), KNOWN), FREE)), None, None],
            From::Peer(peer) => {
                let network = peer.and_then(network);
                [
                    Some((self.place(("both", name, network), COUNTERS), FREE)),
                    network.map(|network| (self.place(("peer", network), COUNTERS), FREE_OF_PEER)),
                    Some((self.place(("name", name), COUNTERS), FREE_OF_NAME)),
                ]
            }
        }
    }

    fn place(&self, what: impl Hash, of: usize) -> usize {
        usize::try_from(self.seed.hash_one(what) % (of as u64)).unwrap_or_default()
    }
}

impl Counter {
    /// Doubles from a second on with each failure beyond those that are free.
    fn wait(self, free: u32, now: u64) -> u64 {
        if self.failures < free {
            return 0;
        }
        let due = 1u64.checked_shl(self.failures - free).unwrap_or(LONGEST).min(LONGEST);
        (self.last + due).saturating_sub(now)
    }

    const fn count(&mut self, now: u64) {
        if now.saturating_sub(self.last) > MEMORY {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.last = now;
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Throttle(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: From<'_> = From::Peer(Some(IpAddr::V4(core::net::Ipv4Addr::LOCALHOST)));

    fn at(seconds: u64) -> UnixTime {
        UnixTime::from_secs(1_700_000_000 + seconds)
    }

    #[test]
    fn waits_grow_to_a_minute() {
        let throttle = Throttle::new();
        let mut now = 0;
        for expected in [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60] {
            let wait = throttle.begin("alice", HOME, at(now)).err().unwrap_or_default();
            assert_eq!(wait, expected);
            now += wait;
            if wait > 0 {
                assert!(throttle.begin("alice", HOME, at(now - 1)).is_err());
                assert_eq!(throttle.begin("alice", HOME, at(now)), Ok(()));
            }
        }
        throttle.succeeded("alice", HOME);
        assert_eq!(throttle.begin("alice", HOME, at(now)), Ok(()));
    }

    #[test]
    fn strangers_everywhere_do_not_stop_a_known_browser() {
        let throttle = Throttle::new();
        for peer in 0..2000u32 {
            let _ = throttle.begin("alice", From::Peer(Some(IpAddr::V4((0x0a00_0000 + peer).into()))), at(0));
        }
        assert!(throttle.begin("alice", HOME, at(0)).is_err());
        assert_eq!(throttle.begin("alice", From::Known("hers"), at(0)), Ok(()));
    }

    /// Not by their number either: what is counted of a known browser, no stranger shares.
    #[test]
    fn strangers_of_all_names_do_not_stop_a_known_browser() {
        let throttle = Throttle::new();
        for stranger in 0..200_000u32 {
            let peer = From::Peer(Some(IpAddr::V4((0x0a00_0000 + stranger).into())));
            let _ = throttle.begin(&format!("user {stranger}"), peer, at(0));
        }
        let stopped = |from: From<'_>| {
            (0..50).filter(|user| throttle.begin(&format!("user {user}"), from, at(0)).is_err()).count()
        };
        assert!(stopped(HOME) > 40, "the table is full");
        assert_eq!(stopped(From::Known("theirs")), 0);
    }
}
