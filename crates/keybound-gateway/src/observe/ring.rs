//! The latest decisions, so many and no more. A ring belongs to one worker, which finds its lock free; what it holds is
//! reused, so that noting a decision allocates nothing once the ring has gone round.

use std::time::{SystemTime, UNIX_EPOCH};

use keybound::jwk::Thumbprint;

/// How many decisions are kept for each worker, and shown.
pub(crate) const MOST_DECISIONS: usize = 200;

/// So much of a client's name is kept.
const CLIENT: usize = 128;

/// One decision. There is no token, proof, path or query in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Decision {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// Number of the meter.
    pub(crate) meter: usize,
    /// Empty where there was no request.
    pub(crate) method: &'static str,
    /// None: the client was gone before there was an answer.
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<&'static str>,
    /// Empty where no token was verified.
    pub(crate) client: String,
    pub(crate) jkt: Option<Thumbprint>,
    pub(crate) iat_offset: Option<i64>,
}

/// The latest decisions of one worker.
#[derive(Debug, Default)]
pub(super) struct Ring {
    held: Vec<Decision>,
    next: usize,
}

impl Ring {
    /// Notes one; its client is given apart, for the room of the oldest is used again.
    pub(super) fn note(&mut self, decision: Decision, client: &str) {
        if self.held.len() < MOST_DECISIONS {
            self.held.push(Decision { client: shortened(client).to_owned(), ..decision });
            return;
        }
        if let Some(oldest) = self.held.get_mut(self.next) {
            let mut name = core::mem::take(&mut oldest.client);
            name.clear();
            name.push_str(shortened(client));
            *oldest = Decision { client: name, ..decision };
        }
        self.next = (self.next + 1) % MOST_DECISIONS;
    }

    pub(super) fn decisions(&self) -> Vec<Decision> {
        self.held.clone()
    }
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

fn shortened(client: &str) -> &str {
    let end = (0..=CLIENT.min(client.len())).rev().find(|end| client.is_char_boundary(*end)).unwrap_or_default();
    &client[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_makes_room() {
        let mut ring = Ring::default();
        for at in 0..1000 {
            ring.note(Decision { at, ..Decision::default() }, &"\u{e9}".repeat(100));
        }
        let mut held: Vec<_> = ring.decisions().iter().map(|decision| decision.at).collect();
        held.sort_unstable();
        assert_eq!(held, (800..1000).collect::<Vec<_>>());
        assert!(ring.decisions().iter().all(|decision| decision.client.len() <= CLIENT && !decision.client.is_empty()));
    }
}
