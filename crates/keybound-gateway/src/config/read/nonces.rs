//! `[authorization_server.nonce]`: when single endpoints of the embedded issuer ask for nonces.

use keybound_issuer::ProofEndpoint;

use crate::config::section::Section;
use crate::config::{NoncePolicy, ProofPolicy, Replay, WhenUnavailable};

/// What of the rest of the file rules a policy out.
#[derive(Clone, Copy, Debug)]
pub(super) struct NonceRules {
    fapi: bool,
    nonce_only: bool,
    fails_over: bool,
}

impl NonceRules {
    /// As far as the two could be read.
    pub(super) fn of(proof: Option<&ProofPolicy>, replay: Option<&Replay>) -> Self {
        Self {
            fapi: proof.is_some_and(|proof| proof.fapi),
            nonce_only: replay.is_some_and(|replay| replay.when_unavailable == WhenUnavailable::NonceOnly),
            fails_over: replay.is_some_and(|replay| replay.store.needs_nonces()),
        }
    }

    fn mistake(self, policy: NoncePolicy) -> Option<&'static str> {
        let off = policy == NoncePolicy::Off;
        match policy {
            NoncePolicy::Require => None,
            _ if self.fails_over => Some(
                "does not go with a replay.store that may fail over from one server to another, where every proof needs a nonce; \
                      leave it out, or write require",
            ),
            _ if off && self.fapi => Some("\"off\" does not go with proof.preset = \"fapi\"; use offer or require"),
            _ if off && self.nonce_only => Some(
                "\"off\", by which nonces are not looked at, does not go with replay.when_unavailable = \"nonce-only\"; use \
                      offer or require",
            ),
            _ => None,
        }
    }
}

pub(super) fn nonces(section: Section<'_>, rules: NonceRules) -> Vec<(ProofEndpoint, NoncePolicy)> {
    let mut policies = Vec::new();
    for endpoint in ProofEndpoint::ALL {
        let Some(policy) = section.choice(endpoint.as_str(), "a nonce policy", NoncePolicy::named) else { continue };
        if let Some(mistake) = rules.mistake(policy.value) {
            section.mistake(endpoint.as_str(), &policy.place, mistake);
        }
        policies.push((endpoint, policy.value));
    }
    section.finish();
    policies
}
