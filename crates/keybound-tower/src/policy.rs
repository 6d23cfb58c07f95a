//! What one route asks of a request.

use keybound::challenge::{ChallengeError, Challenges};

type Claims = serde_json::Map<String, serde_json::Value>;

/// Which tokens a route serves. Whether a token must be proved is said by the token, never by this: one that is bound to a
/// key is worth nothing as a bearer token under either.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Tokens bound to a key, with a proof.
    Required,
    /// Bearer tokens as well, for clients that cannot prove yet. A valid token is still demanded.
    Optional,
}

/// What becomes of the proof of an admitted request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofHandling {
    /// It is recorded, and good for this one request.
    Consume,
    /// It is verified and left to a service behind that records it. Where none does, a captured request can be sent again
    /// until its proof has aged out. Nonces are that service's as well: none is judged, demanded or given here.
    Check,
}

/// What one route asks of a request.
///
/// ```
/// use keybound_tower::Policy;
///
/// let policy = Policy::required().scope("orders:read")?;
/// # let _ = policy;
/// # Ok::<(), keybound::challenge::ChallengeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "a policy protects nothing until a layer has it"]
pub struct Policy {
    mode: Mode,
    proof: ProofHandling,
    scope: Option<Box<str>>,
    scopes: Vec<Box<str>>,
    audience: Vec<Box<str>>,
    issuers: Vec<Box<str>>,
    resource_metadata: Option<Box<str>>,
}

impl Policy {
    /// Serves tokens bound to a key and no others.
    pub const fn required() -> Self {
        Self::new(Mode::Required)
    }

    /// Serves bearer tokens as well.
    pub const fn optional() -> Self {
        Self::new(Mode::Optional)
    }

    /// A policy of this mode: proofs are consumed, no scope is asked for.
    pub const fn new(mode: Mode) -> Self {
        Self {
            mode,
            proof: ProofHandling::Consume,
            scope: None,
            scopes: Vec::new(),
            audience: Vec::new(),
            issuers: Vec::new(),
            resource_metadata: None,
        }
    }

    /// Asks for every one of these scopes: scope tokens with one space between.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Scope`].
    pub fn scope(mut self, scope: &str) -> Result<Self, ChallengeError> {
        let _fine = Challenges::dpop(keybound::crypto::AlgSet::ALL)?.scope(scope)?;
        self.scope = Some(scope.into());
        self.scopes = scope.split(' ').map(Box::from).collect();
        Ok(self)
    }

    /// Narrows the audience of the issuer: one of these names must be in the token too.
    pub fn audience<A: Into<Box<str>>>(mut self, names: impl IntoIterator<Item = A>) -> Self {
        self.audience = names.into_iter().map(Into::into).collect();
        self
    }

    /// Narrows whose tokens are served: those of these issuers, each one of the server's. No other is asked about a token.
    pub fn issuers<I: Into<Box<str>>>(mut self, identifiers: impl IntoIterator<Item = I>) -> Self {
        self.issuers = identifiers.into_iter().map(Into::into).collect();
        self
    }

    /// Where the metadata of this very resource is, for challenges (RFC 9728 section 5.1), in place of what the server says.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::ResourceMetadata`].
    pub fn resource_metadata(mut self, address: &str) -> Result<Self, ChallengeError> {
        let _fine = Challenges::dpop(keybound::crypto::AlgSet::ALL)?.resource_metadata(address)?;
        self.resource_metadata = Some(address.into());
        Ok(self)
    }

    /// What becomes of the proof; [`ProofHandling::Consume`] unless set.
    pub const fn proof(mut self, handling: ProofHandling) -> Self {
        self.proof = handling;
        self
    }

    /// Which tokens are served.
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// What becomes of the proof.
    pub const fn proof_handling(&self) -> ProofHandling {
        self.proof
    }

    /// The scopes a token must have.
    pub fn scopes(&self) -> &[Box<str>] {
        &self.scopes
    }

    /// What challenges say of this route.
    pub(crate) fn challenges(&self, server: &Challenges) -> Challenges {
        let mut challenges = server.clone();
        if self.mode == Mode::Optional {
            challenges = challenges.and_bearer();
        }
        if let Some(address) = &self.resource_metadata {
            challenges = challenges.resource_metadata(address).expect("the address was read when it was set");
        }
        match &self.scope {
            Some(scope) => challenges.scope(scope).expect("the scope was read when it was set"),
            None => challenges,
        }
    }

    /// Whether tokens of this issuer are served.
    pub(crate) fn takes(&self, issuer: &str) -> bool {
        self.issuers.is_empty() || self.issuers.iter().any(|taken| **taken == *issuer)
    }

    /// Whether a token with these claims is for this route.
    pub(crate) fn serves(&self, claims: &Claims) -> bool {
        use serde_json::Value::{Array, String};

        let wanted = |name: &str| self.audience.iter().any(|audience| **audience == *name);
        self.audience.is_empty()
            || match claims.get("aud") {
                Some(String(name)) => wanted(name),
                Some(Array(names)) => names.iter().filter_map(|name| name.as_str()).any(wanted),
                _ => false,
            }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R-RS-15: a route may narrow the audience, in both shapes of the claim.
    #[test]
    fn the_audience_of_a_route() {
        let open = Policy::required();
        let narrow = Policy::required().audience(["https://a.example", "https://b.example"]);
        for (aud, expected) in [
            (serde_json::json!("https://a.example"), true),
            (serde_json::json!(["https://c.example", "https://b.example"]), true),
            (serde_json::json!(["https://c.example"]), false),
            (serde_json::json!([]), false),
            (serde_json::json!(7), false),
            (serde_json::json!("https://a.example/"), false),
        ] {
            let claims = Claims::from_iter([("aud".to_owned(), aud.clone())]);
            assert!(open.serves(&claims), "{aud}");
            assert_eq!(narrow.serves(&claims), expected, "{aud}");
        }
        assert!(!narrow.serves(&Claims::new()));
    }

    #[test]
    fn a_scope_that_cannot_stand_in_a_challenge() {
        for scope in ["", " ", "a  b", "a\"b", "a\\b", "ü"] {
            assert_eq!(Policy::required().scope(scope), Err(ChallengeError::Scope), "{scope:?}");
        }
    }
}
