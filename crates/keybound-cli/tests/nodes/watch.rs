//! Who looks, by a way of its own, whether the servers answer and the gateways do: what clients had to bear is compared with that.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::exchange::exchange_within;
use crate::gateways::Gateway;

/// From one look to the next.
const PAUSE: Duration = Duration::from_millis(25);

/// For how long an answer is waited for.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// Looks once: who answers as the one where used proofs are to be recorded, if anybody does.
pub(crate) type Look = Box<dyn FnMut() -> Option<String> + Send>;

/// A stretch of time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

impl Span {
    pub(crate) fn length(self) -> Duration {
        self.to.saturating_duration_since(self.from)
    }

    /// How much of it lies outside of all of these.
    pub(crate) fn outside(self, others: &[Self]) -> Duration {
        let mut others = others.to_vec();
        others.sort_unstable_by_key(|other| other.from);
        let (mut outside, mut at) = (Duration::ZERO, self.from);
        for other in others {
            outside += other.from.min(self.to).saturating_duration_since(at);
            at = at.max(other.to);
        }
        outside + self.to.saturating_duration_since(at)
    }
}

/// What was seen of one of those who have to answer.
#[derive(Debug, Default)]
pub(crate) struct Watch(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    away: Vec<Span>,
    who: Option<String>,
    changes: usize,
}

impl Watch {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks until it is over. It is away from the last look that found it until one does again.
    pub(crate) fn keep(&self, mut look: Look, over: &AtomicBool) {
        let (mut last, mut is_away) = (Instant::now(), false);
        while !over.load(Ordering::Acquire) {
            let asked = Instant::now();
            let who = look();
            let mut seen = self.seen();
            let now = Instant::now();
            match seen.away.last_mut() {
                Some(span) if is_away => span.to = now,
                _ if who.is_none() => seen.away.push(Span { from: last, to: now }),
                _ => {}
            }
            is_away = who.is_none();
            if let Some(who) = who {
                last = asked;
                seen.changes += usize::from(seen.who.as_ref().is_some_and(|before| *before != who));
                seen.who = Some(who);
            }
            drop(seen);
            thread::sleep(PAUSE);
        }
    }

    /// When it was away.
    pub(crate) fn away(&self) -> Vec<Span> {
        self.seen().away.clone()
    }

    /// How often somebody else has answered than before.
    pub(crate) fn changes(&self) -> usize {
        self.seen().changes
    }
}

/// A gateway answers a request without a token at once, whatever its servers do.
pub(crate) fn of_gateway(gateway: &Gateway) -> Look {
    let address = gateway.address;
    Box::new(move || {
        let answer =
            exchange_within(address, "GET /a HTTP/1.1\r\nHost: api.example.com\r\nConnection: close\r\n\r\n", PATIENCE);
        answer.filter(|answer| answer.status == 401).map(|_| String::new())
    })
}
