//! When an issuer is left alone, and when only a token is.
//!
//! What an endpoint says may be due to the token it was asked about, and strangers choose their tokens: one that it answers with an
//! error, or not in time, must cost nobody else anything. So the issuer as a whole is left alone only while there is no connection
//! to it, and a token about which there was no answer by itself.

use core::time::Duration;
use std::collections::HashMap;

/// After so many failures in a row there is a rest, doubled with each further one.
const PATIENCE: u32 = 3;
const LEAST: Duration = Duration::from_secs(1);
const MOST: Duration = Duration::from_secs(30);

/// Tokens that are known to have got no answer; some 300 KiB. Beyond it further ones are asked about each time they come.
const MOST_TOKENS: usize = 4096;

/// Who rests.
#[derive(Default)]
pub(super) struct Rests {
    way: Rest,
    tokens: HashMap<[u8; 32], Rest>,
    failures: u32,
}

#[derive(Clone, Copy, Default)]
struct Rest {
    failures: u32,
    until: Duration,
}

impl Rests {
    /// Questions that failed in a row, for whatever reason.
    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    /// Whether connections are tried.
    pub(super) fn may_reach(&self, now: Duration) -> bool {
        now >= self.way.until
    }

    /// Whether the issuer is asked about this token.
    pub(super) fn may_ask(&self, token: &[u8; 32], now: Duration) -> bool {
        self.may_reach(now) && self.tokens.get(token).is_none_or(|rest| now >= rest.until)
    }

    /// There was no connection.
    pub(super) fn unreached(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.way.failed(now);
    }

    /// There was one, and no answer that is one.
    pub(super) fn unanswered(&mut self, token: [u8; 32], now: Duration) {
        self.failures = self.failures.saturating_add(1);
        self.way = Rest::default();
        if self.tokens.len() >= MOST_TOKENS && !self.tokens.contains_key(&token) {
            self.tokens.retain(|_, rest| now < rest.until);
        }
        if self.tokens.len() < MOST_TOKENS || self.tokens.contains_key(&token) {
            self.tokens.entry(token).or_default().failed(now);
        }
    }

    /// There was an answer.
    pub(super) fn answered(&mut self, token: &[u8; 32]) {
        self.failures = 0;
        self.way = Rest::default();
        self.tokens.remove(token);
    }
}

impl Rest {
    fn failed(&mut self, now: Duration) {
        self.failures = self.failures.saturating_add(1);
        if let Some(further) = self.failures.checked_sub(PATIENCE) {
            self.until = now.saturating_add(LEAST.saturating_mul(1 << further.min(5)).min(MOST));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(number: usize) -> [u8; 32] {
        let mut token = [0; 32];
        token[..8].copy_from_slice(&number.to_le_bytes());
        token
    }

    #[test]
    fn rests_grow_to_half_a_minute() {
        let (mut rests, mut now) = (Rests::default(), Duration::ZERO);
        let mut waited = Vec::new();
        for _ in 0..9 {
            rests.unreached(now);
            let mut seconds = 0;
            while !rests.may_ask(&token(0), now) {
                now += Duration::from_secs(1);
                seconds += 1;
            }
            waited.push(seconds);
        }
        assert_eq!(waited, [0, 0, 1, 2, 4, 8, 16, 30, 30]);
    }

    /// However many tokens there are without an answer.
    #[test]
    fn tokens_take_a_bounded_place() {
        let mut rests = Rests::default();
        for number in 0..MOST_TOKENS + 50 {
            for _ in 0..PATIENCE {
                rests.unanswered(token(number), Duration::ZERO);
            }
            assert!(rests.tokens.len() <= MOST_TOKENS);
        }
        assert!(!rests.may_ask(&token(0), Duration::ZERO) && rests.may_ask(&token(MOST_TOKENS + 1), Duration::ZERO));
        // Those whose rest is over make room.
        let later = Duration::from_secs(1);
        rests.unanswered(token(7 * MOST_TOKENS), later);
        assert_eq!(rests.tokens.len(), 1);
    }
}
