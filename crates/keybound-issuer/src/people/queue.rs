//! Who waits for a password to be hashed. Each takes a processor and 19 MiB for a while, whoever sent it, so there is no place for
//! everybody; and of what there is, nobody has more than a part, so that others still get in.

use core::net::IpAddr;
use std::collections::HashMap;

use parking_lot::Mutex;

use super::throttle::From;
use crate::room::network;

/// At two at once, and some 20 ms each, the last one waits for about a second.
const MOST: usize = 96;

/// Of one network.
const PART: usize = 12;

/// Of one browser with its user: whoever has both may press the button twice.
const PART_OF_PAIR: usize = 4;

/// Places that browsers have for themselves in which their user has signed in before.
const KEPT: usize = 32;

/// Counts who waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    of: HashMap<Whose, usize>,
}

/// Who has a part of the places.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Whose {
    Network(IpAddr),
    /// A user with a browser.
    Pair(Box<str>),
}

impl Queue {
    /// A place, until it is dropped; `None` if there is none for whoever tries. A browser that its user has signed in with answers for
    /// nobody else in its network. Where nobody knows whose somebody is, the whole is what there is.
    pub(super) fn enter(&self, from: From<'_>) -> Option<Place<'_>> {
        let (most, part, whose) = match from {
            From::Known(pair) => (MOST, PART_OF_PAIR, Some(Whose::Pair(pair.into()))),
            From::Peer(peer) => (MOST - KEPT, PART, peer.and_then(network).map(Whose::Network)),
        };
        let mut waiting = self.0.lock();
        if waiting.all >= most {
            return None;
        }
        if let Some(whose) = &whose {
            let of_it = waiting.of.get(whose).copied().unwrap_or_default();
            if of_it >= part {
                return None;
            }
            waiting.of.insert(whose.clone(), of_it + 1);
        }
        waiting.all += 1;
        Some(Place { queue: self, whose })
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place<'q> {
    queue: &'q Queue,
    whose: Option<Whose>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.0.lock();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(whose) = &self.whose
            && let Some(of_it) = waiting.of.get_mut(whose)
        {
            *of_it -= 1;
            if *of_it == 0 {
                waiting.of.remove(whose);
            }
        }
    }
}

#[cfg(test)]
mod tests;
