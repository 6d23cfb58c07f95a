//! The authorization server's part of RFC 9449, without I/O: the proof of a token or pushed authorization request, what a
//! grant is bound to, and what goes into the token and its answer. An existing token endpoint needs nothing else of us.
//!
//! The order of a token request is: [`AuthorizationServer::verify`], authenticate the client, look at the grant with
//! [`GrantBinding::check`], record the proof, redeem the grant in one atomic step, issue. A refused proof consumes nothing.

mod assertion;
mod request_object;

use core::fmt;

use std::sync::Arc;

use http::Method;
use http::header::HeaderMap;

pub use self::assertion::{ALLOWANCE, ASSERTION_TYPE, ClientAssertion, MAX_LIFETIME, VerifiedAssertion};
pub use self::request_object::RequestObject;
use crate::jwk::Thumbprint;
use crate::nonce::{Nonce, Purpose, Role};
use crate::refusal::{Reason, Refusal};
use crate::replay::{Epoch, ReplayEntry, Seen};
use crate::request::{ProofField, TargetUri};
use crate::time::UnixTime;
use crate::token::recorded;
use crate::verify::{Expected, NoncePolicy, Recorder, VerifiedProof, Verifier};

/// Verifies proofs at the endpoints of one authorization server.
#[derive(Debug)]
pub struct AuthorizationServer {
    verifier: Arc<Verifier>,
}

impl AuthorizationServer {
    /// With the settings of `verifier`.
    pub fn new(verifier: impl Into<Arc<Verifier>>) -> Self {
        Self { verifier: verifier.into() }
    }

    /// Verifies the proof that came with a POST to `endpoint`, the URI clients aim at; `None` if there is none (R-AS-01,
    /// R-AS-17). A proof that is there and wrong refuses the request: it is never passed over (R-AS-02).
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keybound::{authorization_server::AuthorizationServer, crypto::aws_lc::AwsLc, nonce::*, replay::Epoch, verify::Verifier};
    /// # use keybound::{refusal::Reason, request::TargetUri, time::UnixTime};
    /// let now = UnixTime::from_secs(1_700_000_000);
    /// let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
    /// let server = AuthorizationServer::new(Verifier::builder(Arc::new(AwsLc), nonces).build()?);
    /// let endpoint = TargetUri::parse("https://server.example.com/token")?;
    ///
    /// let mut headers = http::HeaderMap::new();
    /// assert!(server.verify(&headers, &endpoint, Epoch::new(1, now), now).unwrap().is_none());
    ///
    /// headers.insert("dpop", "not a proof".parse()?);
    /// let refusal = server.verify(&headers, &endpoint, Epoch::new(1, now), now).unwrap_err();
    /// assert_eq!(refusal.reason(), Reason::ProofMalformed);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// The first reason in the precedence of R-ERR-20; write it with
    /// [`TokenErrorAnswer`](crate::challenge::TokenErrorAnswer).
    pub fn verify<'r>(
        &self,
        headers: &'r HeaderMap,
        endpoint: &TargetUri,
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<Option<ProvenKey<'r>>, Refusal> {
        let Some(field) = ProofField::read(headers)? else {
            return Ok(None);
        };
        let purpose = Purpose::new(Role::AuthorizationServer, endpoint.origin(), epoch.id());
        let recorder = Recorder::Here;
        let expected = Expected { method: &Method::POST, target: endpoint, ath: None, purpose, recorder };
        let proof = self.verifier.verify_field(field, &expected, epoch, now)?;
        Ok(Some(ProvenKey { proof }))
    }

    /// A new nonce for clients of this endpoint.
    pub fn issue_nonce(&self, endpoint: &TargetUri, epoch: Epoch, now: UnixTime) -> Nonce {
        self.verifier.issue_nonce(Role::AuthorizationServer, endpoint.origin(), epoch, now)
    }

    /// Remembers the header of a proof whose request was granted; see [`Verifier::remember`].
    pub fn remember(&self, key: &ProvenKey<'_>) {
        self.verifier.remember(&key.proof);
    }

    /// The settings: algorithms for `dpop_signing_alg_values_supported` (R-AS-12) and the nonce policy.
    pub fn verifier(&self) -> &Verifier {
        &self.verifier
    }

    /// The same with another nonce policy, for some of the endpoints: see [`Verifier::with_nonce_policy`].
    #[must_use]
    pub fn with_nonce_policy(&self, policy: NoncePolicy) -> Self {
        Self::new(self.verifier.with_nonce_policy(policy))
    }

    /// The same, to be shared with a protected resource of this server.
    pub fn shared_verifier(&self) -> Arc<Verifier> {
        Arc::clone(&self.verifier)
    }
}

/// The client holds this key; whether the proof was used before is not known yet. It cannot be bound to an access token at a
/// resource, for its proof speaks of none.
#[must_use = "a proven key is not yet a binding"]
pub struct ProvenKey<'r> {
    proof: VerifiedProof<'r>,
}

impl ProvenKey<'_> {
    /// The thumbprint of the key.
    pub fn jkt(&self) -> &Thumbprint {
        self.proof.jkt()
    }

    /// The proof: whether a new nonce is due, and by how much its `iat` is off.
    pub const fn proof(&self) -> &VerifiedProof<'_> {
        &self.proof
    }

    /// What a [`ReplayStore`](crate::replay::ReplayStore) is to record, once the client is authenticated and the grant looked
    /// at: before that, strangers could fill the store.
    pub fn replay_entry(&self) -> ReplayEntry<'_> {
        self.proof.replay_entry()
    }

    /// The binding for the token, if the store has never seen the proof.
    ///
    /// # Errors
    ///
    /// [`Reason::ReplaySeen`], [`Reason::ReplayForgotten`], [`Reason::ReplayQuota`].
    pub fn bind(self, seen: Seen) -> Result<TokenBinding, Refusal> {
        recorded(seen)?;
        Ok(TokenBinding { jkt: *self.jkt() })
    }
}

impl fmt::Debug for ProvenKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ProvenKey({})", self.jkt())
    }
}

/// What a new token is bound to: the key of a recorded proof. Made by [`ProvenKey::bind`] alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "the token must carry it"]
pub struct TokenBinding {
    jkt: Thumbprint,
}

impl TokenBinding {
    /// The thumbprint of the key.
    pub const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// The `cnf` claim of the token and of its introspection (RFC 9449 sections 6.1 and 6.2).
    pub fn cnf(&self) -> serde_json::Value {
        serde_json::json!({ "jkt": self.jkt.to_string() })
    }
}

/// `token_type` of a token: the same decision as whether it has a `cnf` (R-AS-03, R-AS-04).
pub const fn token_type(binding: Option<&TokenBinding>) -> &'static str {
    match binding {
        Some(_) => "DPoP",
        None => "Bearer",
    }
}

/// What the key of a token request must be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantBinding {
    /// Any key, or none.
    Free,
    /// Any key, but a proof: the client has `dpop_bound_access_tokens`, or the grant began bound (R-AS-09, R-AS-10).
    AnyKey,
    /// This key: `dpop_jkt` of the code, or a public client's bound refresh token (R-AS-06, R-AS-13, R-AS-14).
    Key(Thumbprint),
}

impl GrantBinding {
    /// Whether the grant may be redeemed with what was proven.
    ///
    /// # Errors
    ///
    /// [`Reason::ProofRequired`] without a proof, [`Reason::GrantKey`] with another key.
    pub fn check(&self, proven: Option<&ProvenKey<'_>>) -> Result<(), Refusal> {
        match (self, proven) {
            (Self::Free, _) | (Self::AnyKey, Some(_)) => Ok(()),
            (Self::AnyKey | Self::Key(_), None) => Err(Reason::ProofRequired.into()),
            (Self::Key(jkt), Some(proven)) if jkt == proven.jkt() => Ok(()),
            (Self::Key(_), Some(_)) => Err(Reason::GrantKey.into()),
        }
    }
}

/// Reads `dpop_jkt` of an authorization request, which may come once (R-AS-15).
///
/// # Errors
///
/// [`Reason::JktMalformed`] if it is repeated or no thumbprint.
pub fn dpop_jkt<'v>(values: impl IntoIterator<Item = &'v str>) -> Result<Option<Thumbprint>, Refusal> {
    let mut values = values.into_iter();
    let first = values.next().map(|jkt| jkt.parse().map_err(|_| Reason::JktMalformed)).transpose()?;
    if values.next().is_some() {
        return Err(Reason::JktMalformed.into());
    }
    Ok(first)
}

/// The key a pushed authorization request binds its code to: of its proof, of its `dpop_jkt`, or of both if they agree
/// (R-AS-16, R-AS-18, R-AS-19).
///
/// # Errors
///
/// [`Reason::JktConflict`] if they name different keys.
pub fn pushed_binding(
    dpop_jkt: Option<Thumbprint>,
    proven: Option<&ProvenKey<'_>>,
) -> Result<Option<Thumbprint>, Refusal> {
    match (dpop_jkt, proven) {
        (Some(jkt), Some(proven)) if jkt != *proven.jkt() => Err(Reason::JktConflict.into()),
        (jkt, proven) => Ok(jkt.or_else(|| proven.map(|proven| *proven.jkt()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R-AS-15
    #[test]
    fn dpop_jkt_is_one_thumbprint() {
        let jkt = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
        assert_eq!(dpop_jkt([]).unwrap(), None);
        assert_eq!(dpop_jkt([jkt]).unwrap(), Some(jkt.parse().unwrap()));
        for values in [&[""][..], &["abc"], &[&jkt[1..]], &[jkt, jkt], &["0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4J"]]
        {
            assert_eq!(dpop_jkt(values.iter().copied()).unwrap_err().reason(), Reason::JktMalformed, "{values:?}");
        }
    }

    // R-AS-10, R-AS-14
    #[test]
    fn a_bound_grant_needs_a_proof() {
        let jkt = Thumbprint::from_bytes([1; 32]);
        assert!(GrantBinding::Free.check(None).is_ok());
        for binding in [GrantBinding::AnyKey, GrantBinding::Key(jkt)] {
            assert_eq!(binding.check(None).unwrap_err().reason(), Reason::ProofRequired);
        }
        assert_eq!(pushed_binding(Some(jkt), None).unwrap(), Some(jkt));
    }
}
