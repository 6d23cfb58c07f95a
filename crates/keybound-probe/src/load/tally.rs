//! What one worker has seen.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use http::{HeaderMap, StatusCode};
use keybound::challenge::DpopChallenge;
use keybound::refusal::{Fault, Reason};
use serde_json::Value;

use super::report::Failure;

/// Three digits: a percentile is off by less than a thousandth.
const DIGITS: u8 = 3;

/// Other reasons than those known to this crate that are told apart: they are the server's words.
const MOST_REASONS: usize = 64;

/// The longest reason that is kept.
const MAX_REASON: usize = 64;

#[derive(Clone, Debug)]
pub(crate) struct Tally {
    /// Nanoseconds.
    pub(crate) latency: Histogram<u64>,
    pub(crate) statuses: BTreeMap<u16, u64>,
    pub(crate) reasons: BTreeMap<Box<str>, u64>,
    pub(crate) failures: BTreeMap<Failure, u64>,
    /// Answers that came before the end.
    pub(crate) in_time: u64,
    pub(crate) warm_up: u64,
    pub(crate) nonce_retries: u64,
    pub(crate) reconnects: u64,
    pub(crate) overdue: u64,
    pub(crate) waited_for_proofs: Duration,
    pub(crate) body_octets: u64,
}

impl Tally {
    pub(crate) fn new() -> Self {
        Self {
            latency: Histogram::new(DIGITS).expect("3 digits are within its limits"),
            statuses: BTreeMap::new(),
            reasons: BTreeMap::new(),
            failures: BTreeMap::new(),
            in_time: 0,
            warm_up: 0,
            nonce_retries: 0,
            reconnects: 0,
            overdue: 0,
            waited_for_proofs: Duration::ZERO,
            body_octets: 0,
        }
    }

    pub(crate) fn answered(&mut self, status: StatusCode, took: Duration) {
        *self.statuses.entry(status.as_u16()).or_default() += 1;
        // It grows by itself, up to what it is given.
        let _ = self.latency.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn refused(&mut self, reason: &str) {
        let room = self.reasons.len() < MOST_REASONS || self.reasons.contains_key(reason);
        let reason = if room { reason } else { "other" };
        *self.reasons.entry(reason.into()).or_default() += 1;
    }

    pub(crate) fn failed(&mut self, failure: Failure) {
        *self.failures.entry(failure).or_default() += 1;
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.latency.add(&other.latency).expect("a histogram that grows takes another of as many digits");
        sum(&mut self.statuses, &other.statuses);
        sum(&mut self.reasons, &other.reasons);
        sum(&mut self.failures, &other.failures);
        self.in_time += other.in_time;
        self.warm_up += other.warm_up;
        self.nonce_retries += other.nonce_retries;
        self.reconnects += other.reconnects;
        self.overdue += other.overdue;
        self.waited_for_proofs += other.waited_for_proofs;
        self.body_octets += other.body_octets;
    }
}

fn sum<K: Ord + Clone>(into: &mut BTreeMap<K, u64>, from: &BTreeMap<K, u64>) {
    for (key, count) in from {
        *into.entry(key.clone()).or_default() += count;
    }
}

/// Why a server refused, as it says itself: the reason code in its challenge or its JSON, else the error of the challenge.
pub(crate) fn reason(fields: &HeaderMap, body: &[u8]) -> Option<String> {
    let challenge = DpopChallenge::find(fields);
    let known = |code: &&str| Reason::from_code(code).is_some() || Fault::from_code(code).is_some();
    let described = challenge.as_ref().and_then(DpopChallenge::error_description).filter(known);
    let json: Option<Value> = serde_json::from_slice(body).ok();
    let member = |name: &str| json.as_ref()?.get(name)?.as_str();
    // A gateway calls it the reason, an issuer describes its error by it.
    let told = || member("reason").or_else(|| member("error_description").filter(known));
    let error = || challenge.as_ref()?.error_text();
    let text = described.or_else(told).or_else(error)?;
    Some(text.chars().filter(|char| !char.is_control()).take(MAX_REASON).collect())
}

/// The `error` of JSON as authorization servers answer it (RFC 6749 section 5.2).
pub(crate) fn error_of(body: &[u8]) -> Option<String> {
    let json: Value = serde_json::from_slice(body).ok()?;
    Some(json.get("error")?.as_str()?.to_owned())
}
