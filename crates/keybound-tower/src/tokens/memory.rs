//! Tokens that were vouched for lately. Only "signed by this key of this issuer", or "said by this issuer", and the claims are
//! remembered; what changes with time and place is judged on every request.

use core::time::Duration;
use std::sync::Arc;

use keybound::request::AccessToken;
use keybound::token::TokenFacts;
use keybound::token::jwt::KeyMark;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// How long a token is remembered, however long it is good for.
const LIFETIME: Duration = Duration::from_secs(5 * 60);

/// About how many tokens the table expects; it grows by itself.
const EXPECTED: usize = 1024;

/// What the claims of a token take once they are read, for each octet of its text, and besides.
const WEIGHT_PER_OCTET: u64 = 4;
const WEIGHT_BESIDES: u64 = 512;

/// Under SHA-256 of the token, bounded by bytes; which one is forgotten first matters for speed alone.
#[derive(Debug)]
pub(crate) struct TokenMemory(Option<Cache<[u8; 32], Known, ByOctets>>);

/// What somebody vouched for.
#[derive(Clone, Debug)]
pub(super) struct Vouched {
    pub(super) facts: Arc<TokenFacts>,
    pub(super) basis: Basis,
}

/// On what grounds.
#[derive(Clone, Debug)]
pub(super) enum Basis {
    /// It is signed by this key, of the set that was in force then.
    Key { mark: KeyMark, generation: u64 },
    /// Its issuer said so, which is believed until then by [`Clock::uptime`](crate::Clock::uptime).
    Word { until: Duration },
}

/// One remembered token.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) vouched: Vouched,
    /// Its place in the list of issuers.
    pub(super) issuer: usize,
    since: Duration,
    weight: u64,
}

impl Known {
    pub(super) fn new(vouched: Vouched, issuer: usize, token: AccessToken<'_>, uptime: Duration) -> Self {
        let octets = u64::try_from(token.secret().len()).unwrap_or(u64::MAX);
        Self {
            vouched,
            issuer,
            since: uptime,
            weight: octets.saturating_mul(WEIGHT_PER_OCTET).saturating_add(WEIGHT_BESIDES),
        }
    }
}

impl TokenMemory {
    /// Room for about this many bytes; 0 for none.
    pub(crate) fn new(bytes: u64) -> Self {
        Self((bytes > 0).then(|| Cache::with_weighter(EXPECTED, bytes, ByOctets)))
    }

    pub(super) fn find(&self, hash: &[u8; 32], uptime: Duration) -> Option<Known> {
        let known = self.0.as_ref()?.get(hash)?;
        (uptime.saturating_sub(known.since) < LIFETIME).then_some(known)
    }

    pub(super) fn insert(&self, hash: [u8; 32], known: Known) {
        if let Some(cache) = &self.0 {
            cache.insert(hash, known);
        }
    }

    #[cfg(test)]
    pub(super) fn weight(&self) -> u64 {
        self.0.as_ref().map_or(0, Cache::weight)
    }
}

#[derive(Clone, Debug)]
struct ByOctets;

impl Weighter<[u8; 32], Known> for ByOctets {
    fn weight(&self, _: &[u8; 32], known: &Known) -> u64 {
        known.weight
    }
}
