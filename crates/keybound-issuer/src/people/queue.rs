//! Who waits for a password to be hashed. Each takes a processor and 19 MiB for a while, whoever sent it, so there is no place for
//! everybody; and of what there is, no network has more than a part, so that others still get in.

use core::net::IpAddr;
use std::collections::HashMap;

use parking_lot::Mutex;

/// At two at once, and some 20 ms each, the last one waits for about a second.
const MOST: usize = 96;

/// Of one network.
const PART: usize = 12;

/// Places that browsers have for themselves in which their user has signed in before.
const KEPT: usize = 32;

/// Counts who waits.
#[derive(Debug, Default)]
pub(crate) struct Queue(Mutex<Waiting>);

#[derive(Debug, Default)]
struct Waiting {
    all: usize,
    by_network: HashMap<IpAddr, usize>,
}

impl Queue {
    /// A place, until it is dropped; `None` if there is none for somebody of this network. Where nobody knows whose somebody is, the
    /// whole is what there is.
    pub(super) fn enter(&self, network: Option<IpAddr>, is_known: bool) -> Option<Place<'_>> {
        let mut waiting = self.0.lock();
        let most = if is_known { MOST } else { MOST - KEPT };
        if waiting.all >= most {
            return None;
        }
        // A browser that its user has signed in with answers for nobody else in its network.
        let network = network.filter(|_| !is_known);
        if let Some(network) = network {
            let of_it = waiting.by_network.entry(network).or_default();
            if *of_it >= PART {
                return None;
            }
            *of_it += 1;
        }
        waiting.all += 1;
        Some(Place { queue: self, network })
    }
}

/// A place in the queue.
#[derive(Debug)]
pub(super) struct Place<'q> {
    queue: &'q Queue,
    network: Option<IpAddr>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut waiting = self.queue.0.lock();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(network) = self.network
            && let Some(of_it) = waiting.by_network.get_mut(&network)
        {
            *of_it -= 1;
            if *of_it == 0 {
                waiting.by_network.remove(&network);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(last: u8) -> Option<IpAddr> {
        Some([192, 0, 2, last].into())
    }

    #[test]
    fn one_network_shuts_nobody_else_out() {
        let queue = Queue::default();
        let mut places: Vec<_> = core::iter::from_fn(|| queue.enter(network(1), false)).collect();
        assert_eq!(places.len(), PART);
        assert!(queue.enter(network(2), false).is_some() && queue.enter(network(1), true).is_some());
        places.pop();
        assert!(queue.enter(network(1), false).is_some(), "one has gone");
    }

    #[test]
    fn it_is_never_longer_than_it_may_be() {
        let queue = Queue::default();
        let everybody: Vec<_> = core::iter::from_fn(|| queue.enter(None, false)).collect();
        assert_eq!(everybody.len(), MOST - KEPT);
        assert!(queue.enter(network(1), false).is_none(), "nor is there a place for others");
        let known: Vec<_> = core::iter::from_fn(|| queue.enter(None, true)).collect();
        assert_eq!(known.len(), KEPT);
        drop((everybody, known));
        let left = queue.0.lock();
        assert_eq!((left.all, left.by_network.len()), (0, 0));
    }
}
