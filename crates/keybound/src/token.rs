//! What an access token is bound to, and the way from a verified proof to an [`Admission`]: `bind` to the token's key,
//! look at scopes, and `admit` once the proof is recorded.

mod confirmation;
pub mod id_token;
pub mod introspection;
pub mod jwt;

use core::fmt;
use std::sync::Arc;

pub use self::confirmation::Confirmation;
use crate::jwk::Thumbprint;
use crate::jws::json::{Object, Value};
use crate::proof::Seconds;
use crate::refusal::{Reason, Refusal};
use crate::replay::{ReplayEntry, Seen};
use crate::time::UnixTime;
use crate::verify::VerifiedProof;

/// What an access token says, whoever vouches for it: a JWT's signature or the issuer's introspection endpoint.
#[derive(Clone, PartialEq)]
pub struct TokenFacts {
    issuer: Box<str>,
    subject: Box<str>,
    client_id: Box<str>,
    scope: Box<str>,
    audience: Vec<Box<str>>,
    expires: UnixTime,
    not_before: Option<UnixTime>,
    confirmation: Confirmation,
    claims: serde_json::Map<String, serde_json::Value>,
}

impl TokenFacts {
    /// Reads the claims of a JWT access token, all of which must be there with the right type (RFC 9068 section 2.2).
    pub(crate) fn of_jwt(claims: &Object<'_>) -> Result<Self, Reason> {
        let text = |name| claims.get(name).and_then(Value::as_str).map(Box::from).ok_or(Reason::TokenClaims);
        let time = |name| claims.get(name).map(|value| Seconds::read(value).ok_or(Reason::TokenClaims)).transpose();
        time("iat")?.ok_or(Reason::TokenClaims)?;
        text("jti")?;
        Ok(Self {
            issuer: text("iss")?,
            subject: text("sub")?,
            client_id: text("client_id")?,
            scope: if claims.contains("scope") { text("scope")? } else { Box::default() },
            audience: audience(claims.get("aud").ok_or(Reason::TokenClaims)?)?,
            expires: time("exp")?.ok_or(Reason::TokenClaims)?.floor(),
            not_before: time("nbf")?.map(Seconds::ceil),
            confirmation: Confirmation::read(claims.get("cnf")),
            claims: claims.to_json(),
        })
    }

    /// `iss`
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// `sub`: who the token speaks for.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// `client_id`: who the token was issued to.
    pub fn client_id(&self) -> &str {
        &self.client_id
    }

    /// The scopes, in the order of the token.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// When the token expires.
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// What `cnf` says.
    pub const fn confirmation(&self) -> &Confirmation {
        &self.confirmation
    }

    /// Every claim.
    pub const fn claims(&self) -> &serde_json::Map<String, serde_json::Value> {
        &self.claims
    }

    /// Judges what changes with the place and the time: issuer, audience, `nbf`, `exp`. It does not look at scopes or at the
    /// binding; those come with [`VerifiedProof::bind`] and [`BoundToken::require_scope`].
    ///
    /// # Errors
    ///
    /// [`Reason::TokenIssuer`], [`Reason::TokenAudience`], [`Reason::TokenExpired`], [`Reason::TokenEarly`].
    pub fn judge(self: &Arc<Self>, policy: &TokenPolicy, now: UnixTime) -> Result<ValidToken, Refusal> {
        if *self.issuer != *policy.issuer {
            return Err(Reason::TokenIssuer.into());
        }
        if !self.audience.iter().any(|audience| policy.audience.contains(audience)) {
            return Err(Reason::TokenAudience.into());
        }
        if now >= self.expires.plus(TokenPolicy::LEEWAY) {
            return Err(Reason::TokenExpired.into());
        }
        if self.not_before.is_some_and(|start| start > now.plus(TokenPolicy::LEEWAY)) {
            return Err(Reason::TokenEarly.into());
        }
        Ok(ValidToken { facts: Arc::clone(self) })
    }
}

/// `aud`: one string or an array of them, not empty.
fn audience(value: &Value<'_>) -> Result<Vec<Box<str>>, Reason> {
    let text = |value: &Value<'_>| value.as_str().map(Box::from).ok_or(Reason::TokenClaims);
    match value {
        Value::Array(values) if !values.is_empty() => values.iter().map(text).collect(),
        value => Ok(vec![text(value)?]),
    }
}

impl fmt::Debug for TokenFacts {
    /// Claims are somebody's data: only what a log needs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenFacts")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .field("confirmation", &self.confirmation)
            .finish_non_exhaustive()
    }
}

/// Whose tokens are good here: one issuer, compared octet for octet, and the names this resource goes by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenPolicy {
    issuer: Box<str>,
    audience: Vec<Box<str>>,
}

impl TokenPolicy {
    /// What clocks of issuer and resource server may differ by.
    pub const LEEWAY: core::time::Duration = core::time::Duration::from_secs(5);

    /// Tokens of `issuer` for any one of `audience`.
    pub fn new<A: Into<Box<str>>>(issuer: impl Into<Box<str>>, audience: impl IntoIterator<Item = A>) -> Self {
        Self { issuer: issuer.into(), audience: audience.into_iter().map(Into::into).collect() }
    }

    /// The issuer.
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The names this resource goes by.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.audience.iter().map(|name| &**name)
    }
}

/// An access token that its issuer vouches for, that is for this resource and alive. Nothing is said about the one who sent
/// it: go on with [`VerifiedProof::bind`], or with [`ValidToken::as_bearer`] where unbound tokens are served.
#[derive(Clone, Debug)]
#[must_use = "a valid token is not yet an admission"]
pub struct ValidToken {
    facts: Arc<TokenFacts>,
}

impl ValidToken {
    /// What the token says.
    pub fn facts(&self) -> &Arc<TokenFacts> {
        &self.facts
    }

    /// The token as one that needs no proof: it has no confirmation at all.
    ///
    /// # Errors
    ///
    /// [`Reason::TokenDowngrade`] if it is bound to a key (R-RS-06), [`Reason::TokenConfirmation`] if its `cnf` is anything
    /// else (R-RS-08).
    pub fn as_bearer(self) -> Result<UnboundToken, Refusal> {
        match self.facts.confirmation {
            Confirmation::Absent => Ok(UnboundToken { facts: self.facts }),
            Confirmation::Jkt(_) => Err(Reason::TokenDowngrade.into()),
            Confirmation::Unusable => Err(Reason::TokenConfirmation.into()),
        }
    }
}

/// A valid token without confirmation: whoever holds it may use it. Only a resource that serves bearer tokens takes it.
#[derive(Clone, Debug)]
#[must_use = "whether unbound tokens are served is the resource's decision"]
pub struct UnboundToken {
    facts: Arc<TokenFacts>,
}

impl UnboundToken {
    /// What the token says.
    pub fn facts(&self) -> &Arc<TokenFacts> {
        &self.facts
    }

    /// The same token, if it has each of these scopes.
    ///
    /// # Errors
    ///
    /// [`Reason::ScopeInsufficient`].
    pub fn require_scope<S: AsRef<str>>(self, required: &[S]) -> Result<Self, Refusal> {
        has_scopes(&self.facts, required).map(|()| self)
    }
}

fn has_scopes<S: AsRef<str>>(facts: &TokenFacts, required: &[S]) -> Result<(), Refusal> {
    let missing = required.iter().any(|scope| !facts.scopes().any(|granted| granted == scope.as_ref()));
    if missing { Err(Reason::ScopeInsufficient.into()) } else { Ok(()) }
}

impl<'r> VerifiedProof<'r> {
    /// The token's `cnf.jkt` is the thumbprint of this proof's key (R-PRF-39). It does not look at scopes.
    ///
    /// # Errors
    ///
    /// [`Reason::TokenUnbound`], [`Reason::TokenConfirmation`], [`Reason::KeyMismatch`].
    pub fn bind(self, token: ValidToken) -> Result<BoundToken<'r>, Refusal> {
        match token.facts.confirmation {
            Confirmation::Jkt(jkt) if jkt == *self.jkt() => Ok(BoundToken { proof: self, facts: token.facts }),
            Confirmation::Jkt(jkt) => Err(Refusal::with_detail(
                Reason::KeyMismatch,
                format!("the token is bound to {jkt}, the proof is signed by {}", self.jkt()),
            )),
            Confirmation::Absent => Err(Reason::TokenUnbound.into()),
            Confirmation::Unusable => Err(Reason::TokenConfirmation.into()),
        }
    }
}

/// A token and a proof by the key it is bound to (RFC 9449 section 4.3 (12)). Whether the proof was used before is not known
/// yet.
///
/// It has no other origin than [`VerifiedProof::bind`]:
///
/// ```compile_fail
/// let bound = keybound::token::BoundToken { proof: todo!(), facts: todo!() };
/// ```
#[derive(Debug)]
#[must_use = "a bound token is not yet an admission"]
pub struct BoundToken<'r> {
    proof: VerifiedProof<'r>,
    facts: Arc<TokenFacts>,
}

impl BoundToken<'_> {
    /// The same token, if it has each of these scopes.
    ///
    /// # Errors
    ///
    /// [`Reason::ScopeInsufficient`].
    pub fn require_scope<S: AsRef<str>>(self, required: &[S]) -> Result<Self, Refusal> {
        has_scopes(&self.facts, required).map(|()| self)
    }

    /// What a [`ReplayStore`](crate::replay::ReplayStore) is to record.
    pub fn replay_entry(&self) -> ReplayEntry<'_> {
        self.proof.replay_entry()
    }

    /// The proof.
    pub const fn proof(&self) -> &VerifiedProof<'_> {
        &self.proof
    }

    /// Admits the request if the store has never seen the proof. It takes the bound token, so that it admits once:
    ///
    /// ```compile_fail
    /// fn twice(bound: keybound::token::BoundToken<'_>, seen: keybound::replay::Seen) {
    ///     let first = bound.admit(seen);
    ///     let second = bound.admit(seen);
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// [`Reason::ReplaySeen`], [`Reason::ReplayForgotten`], [`Reason::ReplayQuota`]; [`Reason::ReplayForgotten`] too for a
    /// proof of [`Verifier::verify_for_upstream`](crate::verify::Verifier::verify_for_upstream), of which a record says
    /// nothing.
    pub fn admit(self, seen: Seen) -> Result<Admission, Refusal> {
        recorded(seen)?;
        if !self.proof.is_recorded_here() {
            return Err(Reason::ReplayForgotten.into());
        }
        Ok(self.admission(ProofUse::Recorded))
    }

    /// Admits the request and leaves it to a DPoP-aware service behind to record the proof. Where none does, a captured
    /// request can be sent again until its proof has aged out.
    pub fn danger_admit_unrecorded(self) -> Admission {
        self.admission(ProofUse::LeftToUpstream)
    }

    fn admission(self, proof: ProofUse) -> Admission {
        Admission { jkt: *self.proof.jkt(), proof, facts: self.facts }
    }
}

/// What a store's answer means for the request.
pub(crate) fn recorded(seen: Seen) -> Result<(), Refusal> {
    match seen {
        Seen::Never => Ok(()),
        Seen::Before => Err(Reason::ReplaySeen.into()),
        Seen::Forgotten => Err(Reason::ReplayForgotten.into()),
        Seen::OverQuota { .. } => Err(Reason::ReplayQuota.into()),
    }
}

/// What became of the proof of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofUse {
    /// A replay store has it: it will not be admitted again.
    Recorded,
    /// Nobody has recorded it: the service behind must.
    LeftToUpstream,
}

/// The request comes from the holder of the key that its token is bound to. Made by [`BoundToken::admit`] alone.
#[derive(Clone, Debug)]
pub struct Admission {
    jkt: Thumbprint,
    proof: ProofUse,
    facts: Arc<TokenFacts>,
}

impl Admission {
    /// Whom the token speaks for.
    pub fn subject(&self) -> &str {
        self.facts.subject()
    }

    /// Whom the token was issued to.
    pub fn client_id(&self) -> &str {
        self.facts.client_id()
    }

    /// What the token is good for.
    pub fn scopes(&self) -> impl Iterator<Item = &str> {
        self.facts.scopes()
    }

    /// The key that proved possession.
    pub const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// Every claim of the token.
    pub fn claims(&self) -> &serde_json::Map<String, serde_json::Value> {
        self.facts.claims()
    }

    /// What the token says.
    pub fn facts(&self) -> &Arc<TokenFacts> {
        &self.facts
    }

    /// Whether the proof is recorded.
    pub const fn proof(&self) -> ProofUse {
        self.proof
    }
}
