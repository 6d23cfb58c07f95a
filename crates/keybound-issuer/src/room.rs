//! How much strangers may leave here. Who does not authenticate may still have something stored: a pushed request, a device's
//! code, a registration; and so may who authenticates as a client that they registered a moment ago. So many octets in a while,
//! however many strangers there are; above it they wait, and nobody else does. What clients leave that authenticate by a key is
//! counted in `quota.rs`.

use core::fmt;
use core::net::IpAddr;
use core::time::Duration;
use std::hash::{BuildHasher as _, RandomState};

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use parking_lot::Mutex;

/// What strangers may leave in an issuer unless it says otherwise, in octets of each kind: a hundred thousand of the usual size.
pub const DEFAULT_ROOM_FOR_STRANGERS: usize = 128 << 20;

/// What a record takes besides its body: names, and places in three tables.
const AROUND: usize = 512;

/// Counts by steps of `span`. What is kept for one step reaches into the next, so each may have half of the room.
#[derive(Debug)]
pub(crate) struct Room {
    span: Duration,
    most: usize,
    /// What each thing takes besides its body.
    around: usize,
    counted: Mutex<Counted>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    step: u64,
    octets: usize,
}

impl Room {
    /// Of so many octets, for things that are kept for `span`.
    pub(crate) fn of(most: usize, span: Duration) -> Self {
        Self::within(most, span, AROUND)
    }

    fn within(most: usize, span: Duration, around: usize) -> Self {
        Self { span, most: most / 2, around, counted: Mutex::default() }
    }

    /// A place for a body of so many octets.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreFull`] if there is none.
    pub(crate) fn take(&self, octets: usize, now: UnixTime) -> Result<(), Fault> {
        let step = now.as_secs() / self.span.as_secs().max(1);
        let mut counted = self.counted.lock();
        if step != counted.step {
            *counted = Counted { step, octets: 0 };
        }
        let after = counted.octets + octets + self.around;
        if after > self.most {
            return Err(Fault::StoreFull);
        }
        counted.octets = after;
        Ok(())
    }
}

/// Counters of [`Shares`]; who shares one with another has a part of the same.
const COUNTERS: usize = 4096;

/// Parts of a [`Room`], of which one network may have one.
const PARTS: usize = 32;

/// Parts that a /48 of IPv6 may have: whoever rents a server gets one, with 65,536 networks in it.
const WIDE: usize = 4;

/// A room of which no network takes more than a part, where it is known who comes.
pub(crate) struct Shares {
    room: Room,
    part: usize,
    seed: RandomState,
    counted: Mutex<Vec<Counted>>,
}

impl Shares {
    /// Of so many octets, for things that are kept for `span`.
    pub(crate) fn of(most: usize, span: Duration) -> Self {
        Self::sharing(Room::of(most, span))
    }

    /// For things of strangers that are kept for `span` and counted by their number: as many as four clients have of which each has
    /// `quota`.
    pub(crate) fn of_things(span: Duration, quota: u32) -> Self {
        let most = usize::try_from(quota).unwrap_or(usize::MAX).saturating_mul(4);
        Self::sharing(Room::within(most, span, 1))
    }

    fn sharing(room: Room) -> Self {
        let counted = Mutex::new(vec![Counted::default(); 2 * COUNTERS]);
        Self { part: room.most / PARTS, room, seed: RandomState::new(), counted }
    }

    /// A place for a body of so many octets, of somebody in this network.
    ///
    /// # Errors
    ///
    /// [`Fault::StoreFull`] if there is none, or none for that network.
    pub(crate) fn take(&self, octets: usize, network: Option<IpAddr>, now: UnixTime) -> Result<(), Fault> {
        let octets_in_all = octets + self.room.around;
        if let Some(network) = network {
            let step = now.as_secs() / self.room.span.as_secs().max(1);
            let places = [Some((self.place(network), self.part)), self.wide(network)];
            let mut counted = self.counted.lock();
            for (place, part) in places.into_iter().flatten() {
                let counted = &mut counted[place];
                if step != counted.step {
                    *counted = Counted { step, octets: 0 };
                }
                if counted.octets + octets_in_all > part {
                    return Err(Fault::StoreFull);
                }
            }
            for (place, _) in places.into_iter().flatten() {
                counted[place].octets += octets_in_all;
            }
        }
        self.room.take(octets, now)
    }

    fn place(&self, network: IpAddr) -> usize {
        usize::try_from(self.seed.hash_one(network) % (COUNTERS as u64)).unwrap_or_default()
    }

    /// Where the /48 is counted, behind all of the others, with what it may have.
    fn wide(&self, network: IpAddr) -> Option<(usize, usize)> {
        let IpAddr::V6(network) = network else { return None };
        let wide = IpAddr::V6((network.to_bits() >> 80 << 80).into());
        Some((COUNTERS + self.place(wide), WIDE * self.part))
    }
}

impl fmt::Debug for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Shares({:?})", self.room)
    }
}

/// What a used proof takes in memory.
const PROOF: usize = 32;

/// How much of the memory of used proofs strangers may take: a half, so that all others are admitted whatever they do. A new key costs
/// nothing, so what bounds the proofs of one key does not bound them.
#[derive(Debug)]
pub(crate) struct Proofs {
    near: Shares,
    /// For those whose `iat` is hours ahead, as one with a nonce may be: they are kept for as long.
    far: Shares,
}

impl Proofs {
    /// Of a memory of so many octets, where a proof is kept for `near` at most if its `iat` is in the window, and for `far` at most
    /// otherwise.
    pub(crate) fn of(memory: usize, near: Duration, far: Duration) -> Self {
        let shares = |span| Shares::sharing(Room::within(memory / 4, span, PROOF));
        Self { near: shares(near), far: shares(far) }
    }

    /// A place for a proof that is kept until then, of somebody in this network.
    ///
    /// # Errors
    ///
    /// In how many seconds there will be one.
    pub(crate) fn take(&self, expires: UnixTime, network: Option<IpAddr>, now: UnixTime) -> Result<(), u32> {
        let is_near = expires <= now.plus(self.near.room.span);
        let shares = if is_near { &self.near } else { &self.far };
        shares.take(0, network, now).map_err(|_| {
            let span = shares.room.span.as_secs().max(1);
            u32::try_from(span - now.as_secs() % span).unwrap_or(u32::MAX)
        })
    }
}

/// Whose a peer is: a household has a /64 of IPv6. `None` where nobody knows: behind a proxy of this machine everybody comes
/// from loopback.
pub(crate) fn network(peer: IpAddr) -> Option<IpAddr> {
    let network = match peer.to_canonical() {
        IpAddr::V6(peer) => IpAddr::V6((peer.to_bits() & !u128::from(u64::MAX)).into()),
        peer => peer,
    };
    (!peer.to_canonical().is_loopback()).then_some(network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_network_takes_everything() {
        let shares = Shares::of(DEFAULT_ROOM_FOR_STRANGERS, Duration::from_secs(900));
        let now = UnixTime::from_secs(1_700_000_100);
        let peer = |text: &str| network(text.parse().unwrap());
        let mut taken = 0;
        while shares.take(64 * 1024, peer("2001:db8::1"), now).is_ok() {
            taken += 1;
        }
        assert!((30..=32).contains(&taken), "{taken} of some thousand");
        assert!(shares.take(64 * 1024, peer("2001:db8::2"), now).is_err(), "the same network");
        assert!(shares.take(64 * 1024, peer("2001:db8:0:1::1"), now).is_ok(), "another one");
        assert_eq!((peer("127.0.0.1"), peer("::1"), peer("::ffff:127.0.0.1")), (None, None, None));
        assert!(shares.take(64 * 1024, None, now).is_ok());
        assert!(shares.take(64 * 1024, peer("2001:db8::1"), now.plus(Duration::from_secs(900))).is_ok());
    }

    #[test]
    fn nor_do_the_networks_of_one_server() {
        let shares = Shares::of(DEFAULT_ROOM_FOR_STRANGERS, Duration::from_secs(900));
        let now = UnixTime::from_secs(1_700_000_100);
        let take = |peer: String| shares.take(64 * 1024, network(peer.parse().unwrap()), now).is_ok();
        let taken = (0..1000).filter(|subnet| take(format!("2001:db8:1:{subnet:x}::1"))).count();
        assert!((120..=128).contains(&taken), "{taken} of some thousand");
        // One of them may share its counter.
        assert!((2..6).any(|other| take(format!("2001:db8:{other}::1"))), "others are let in");
        assert!(take("192.0.2.1".to_owned()));
    }

    #[test]
    fn strangers_leave_half_of_the_memory_of_proofs() {
        const MEMORY: usize = 1 << 20;
        // Of half of it, those that are far ahead have a half, and what comes in one step a half of that.
        const MOST: usize = MEMORY / 8 / PROOF;
        let proofs = Proofs::of(MEMORY, Duration::from_secs(300), Duration::from_secs(86_400));
        let at = |seconds: u64| UnixTime::from_secs(86_400 * 20_000 + seconds);
        let somebody = network("192.0.2.1".parse().unwrap());
        let fill = |network, kept, now| {
            let take = |_: &usize| proofs.take(at(now + kept), network, at(now)).is_ok();
            (0..MEMORY).take_while(take).count()
        };
        assert_eq!(fill(somebody, 300, 0), MOST / 32, "a network has its part");
        assert_eq!(fill(None, 300, 0), MOST - MOST / 32);
        assert_eq!(fill(None, 300, 299), 0);
        assert_eq!(fill(None, 300, 300), MOST);
        assert_eq!(proofs.take(at(600), None, at(306)), Err(294));
        assert_eq!(proofs.take(at(900), somebody, at(600)), Ok(()));
        assert_eq!(fill(None, 301, 600), MOST);
        assert_eq!(fill(None, 86_400, 86_399), 0);
        assert_eq!(proofs.take(at(90_000), None, at(86_399)), Err(1));
        assert_eq!(fill(None, 86_400, 86_400), MOST);
    }

    #[test]
    fn it_is_full_until_time_has_gone_by() {
        let room = Room::within(4096, Duration::from_secs(90), AROUND);
        let take = |seconds| room.take(512, UnixTime::from_secs(seconds)).is_ok();
        assert_eq!([take(900), take(900), take(900), take(989)], [true, true, false, false]);
        assert_eq!([take(990), take(990), take(990)], [true, true, false]);
        assert_eq!([take(1800), take(1800), take(1800)], [true, true, false]);
        assert!(room.take(2048, UnixTime::from_secs(1890)).is_err());
    }
}
