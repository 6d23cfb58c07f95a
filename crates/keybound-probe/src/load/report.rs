//! What came of a run.

use core::fmt;
use std::time::Duration;

use super::tally::Tally;

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Failure {
    /// A connection could not be opened.
    Connect,
    /// The connection ended before the answer had.
    Broken,
    /// It took too long.
    Timeout,
}

impl Failure {
    /// As it is printed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Broken => "broken",
            Self::Timeout => "timeout",
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What came of a run. The warm-up is not in it, except where said.
#[derive(Clone, Debug)]
pub struct Report {
    tally: Tally,
    elapsed: Duration,
}

impl Report {
    pub(crate) const fn new(tally: Tally, elapsed: Duration) -> Self {
        Self { tally, elapsed }
    }

    /// From the end of the warm-up to the end of the run; with a number of requests, to the last answer.
    pub const fn elapsed(&self) -> Duration {
        self.elapsed
    }

    /// Requests that were answered. A request that was repeated with a nonce counts once.
    pub fn answers(&self) -> u64 {
        self.tally.statuses.values().sum()
    }

    /// Answers a second, of those that came before the end.
    pub fn rate(&self) -> f64 {
        self.tally.in_time as f64 / self.elapsed.as_secs_f64().max(f64::MIN_POSITIVE)
    }

    /// Within which time this part of the answers came: 0.5 is the median, 1 the slowest. In a closed loop the time runs
    /// from sending, in an open loop from when the request was due; a repetition with a nonce is part of it.
    pub fn quantile(&self, part: f64) -> Duration {
        Duration::from_nanos(self.tally.latency.value_at_quantile(part))
    }

    /// The mean of the times of all answers.
    pub fn mean(&self) -> Duration {
        Duration::from_nanos(self.tally.latency.mean() as u64)
    }

    /// How many answers had which status.
    pub fn statuses(&self) -> impl Iterator<Item = (u16, u64)> {
        self.tally.statuses.iter().map(|(status, count)| (*status, *count))
    }

    /// Why requests were refused, by what the server says: reason codes where it has them.
    pub fn reasons(&self) -> impl Iterator<Item = (&str, u64)> {
        self.tally.reasons.iter().map(|(reason, count)| (&**reason, *count))
    }

    /// Requests without an answer.
    pub fn failures(&self) -> impl Iterator<Item = (Failure, u64)> {
        self.tally.failures.iter().map(|(failure, count)| (*failure, *count))
    }

    /// Requests of the warm-up, answered or not; repetitions with a nonce are not among them.
    pub const fn warm_up(&self) -> u64 {
        self.tally.warm_up
    }

    /// How often a request was repeated because the server wanted a nonce, the warm-up included.
    pub const fn nonce_retries(&self) -> u64 {
        self.tally.nonce_retries
    }

    /// Connections that were opened anew, because the server had closed one; the warm-up included.
    pub const fn reconnects(&self) -> u64 {
        self.tally.reconnects
    }

    /// Open loop: requests that were due before the end and were not sent, since all connections waited for answers.
    pub const fn overdue(&self) -> u64 {
        self.tally.overdue
    }

    /// For how long workers had no proof to send, all together. If it is much, it is the signers that were measured.
    pub const fn waited_for_proofs(&self) -> Duration {
        self.tally.waited_for_proofs
    }

    /// Octets of the bodies of all answers.
    pub const fn body_octets(&self) -> u64 {
        self.tally.body_octets
    }

    /// Whether there were answers, every request has one, and each is a success (2xx).
    pub fn is_good(&self) -> bool {
        self.tally.failures.is_empty()
            && !self.tally.statuses.is_empty()
            && self.tally.statuses.keys().all(|status| (200..300).contains(status))
    }
}
