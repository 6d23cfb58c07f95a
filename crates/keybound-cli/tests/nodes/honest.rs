//! Clients that do nothing but what they should, each at one gateway: for how long they are refused.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::callers::Callers;
use crate::watch::{Span, Watch};

/// From one request to the next.
const PAUSE: Duration = Duration::from_millis(20);

/// For how long a client may be refused beyond the time for which the servers or its gateway are away: until a gateway looks at them again, has pinned
/// them and opened an epoch, and one retry, on a machine that may stand still for seconds.
pub(crate) const ALLOWANCE: Duration = Duration::from_secs(6);

/// What one of them was refused, and when.
#[derive(Debug)]
struct Refused {
    gateway: usize,
    span: Span,
}

/// All of that.
#[derive(Debug, Default)]
pub(crate) struct Honest(Mutex<Vec<Refused>>);

/// The worst of it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Worst {
    /// The longest for which a client was refused by one gateway.
    pub(crate) refused: Duration,
    /// The longest of that for which nothing was away.
    pub(crate) beyond: Duration,
}

impl Honest {
    /// Asks one gateway until it is over. A client that is given a nonce comes again once, and is refused if that does not help.
    pub(crate) fn ask(&self, callers: &Callers<'_>, gateway: usize, over: &AtomicBool) {
        let (mut nonce, mut refused) = (None, None);
        while !over.load(Ordering::Acquire) {
            let from = Instant::now();
            let is_served = callers.is_served(gateway, &mut nonce);
            let to = Instant::now();
            if is_served {
                self.note(gateway, refused.take());
            } else {
                refused.get_or_insert(Span { from, to }).to = to;
            }
            thread::sleep(PAUSE);
        }
        self.note(gateway, refused);
    }

    fn note(&self, gateway: usize, span: Option<Span>) {
        let refused = span.map(|span| Refused { gateway, span });
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend(refused);
    }

    /// Beside what was seen of the servers, where that excuses anything, and of each gateway.
    pub(crate) fn worst(&self, servers: Option<&Watch>, gateways: &[Watch]) -> Worst {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut worst = Worst::default();
        for Refused { gateway, span } in &*all {
            let mut away = gateways[*gateway].away();
            away.extend(servers.into_iter().flat_map(Watch::away));
            worst.refused = worst.refused.max(span.length());
            worst.beyond = worst.beyond.max(span.outside(&away));
        }
        worst
    }
}
