//! What was found about one request.

use std::sync::Arc;

use http::HeaderMap;
use keybound::challenge::Scheme;
use keybound::jwk::Thumbprint;
use keybound::nonce::Nonce;
use keybound::refusal::{Denial, Reason};
use keybound::request::Presented;
use keybound::token::{Admission, TokenFacts, UnboundToken};

use crate::answer::Form;

/// How a request got through.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Access {
    /// With a token and a proof by the key it is bound to.
    Bound(Admission),
    /// With a token that nobody has to prove, where the policy serves such.
    Bearer(UnboundToken),
}

impl Access {
    /// What the token says.
    pub fn facts(&self) -> &Arc<TokenFacts> {
        match self {
            Self::Bound(admission) => admission.facts(),
            Self::Bearer(token) => token.facts(),
        }
    }

    /// The admission, unless this is a bearer token.
    pub const fn admission(&self) -> Option<&Admission> {
        match self {
            Self::Bound(admission) => Some(admission),
            Self::Bearer(_) => None,
        }
    }

    /// Puts the [`Admission`] or the [`UnboundToken`] into the extensions of a request, in place of any that is there.
    pub fn attach(self, extensions: &mut http::Extensions) {
        extensions.remove::<Admission>();
        extensions.remove::<UnboundToken>();
        match self {
            Self::Bound(admission) => drop(extensions.insert(admission)),
            Self::Bearer(token) => drop(extensions.insert(token)),
        }
    }
}

/// Whether a request gets through, what goes along with its answer, and facts for the log.
///
/// It holds neither token nor proof.
#[derive(Clone, Debug)]
#[must_use = "a judgement that is dropped lets the request through"]
pub struct Judgement {
    pub(crate) result: Result<Access, Denial>,
    pub(crate) scheme: Scheme,
    pub(crate) form: Form,
    pub(crate) nonce: Option<Nonce>,
    pub(crate) retry_after: Option<u32>,
    pub(crate) findings: Findings,
}

/// What became known on the way, whatever the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Findings {
    pub(crate) jkt: Option<Thumbprint>,
    pub(crate) facts: Option<Arc<TokenFacts>>,
    pub(crate) iat_offset: Option<i64>,
}

impl Judgement {
    /// A request that did not get as far as its credentials: its host or path is refused, or its body holds a token.
    pub fn denied(headers: &HeaderMap, denial: impl Into<Denial>) -> Self {
        Self {
            result: Err(denial.into()),
            scheme: Presented::scheme(headers),
            form: Form::wanted(headers),
            nonce: None,
            retry_after: None,
            findings: Findings::default(),
        }
    }

    /// A request whose body is a form with an access token: one too many beside that of the header, and none that counts where it
    /// is alone (R-RS-10, R-RS-11).
    pub fn token_in_form(headers: &HeaderMap) -> Self {
        let reason = match Presented::scheme(headers) {
            Scheme::None => Reason::CredentialsForm,
            _ => Reason::CredentialsRepeated,
        };
        Self::denied(headers, reason)
    }

    /// Whether the request gets through.
    ///
    /// # Errors
    ///
    /// Why it does not.
    pub const fn result(&self) -> Result<&Access, &Denial> {
        self.result.as_ref()
    }

    /// As [`Judgement::result`], to keep.
    ///
    /// # Errors
    ///
    /// Why the request does not get through.
    pub fn into_result(self) -> Result<Access, Denial> {
        self.result
    }

    /// The scheme of the credentials, whatever is wrong with them.
    pub const fn scheme(&self) -> Scheme {
        self.scheme
    }

    /// The new nonce that goes with the answer, whatever the answer is; `None` if none is due.
    pub const fn nonce(&self) -> Option<&Nonce> {
        self.nonce.as_ref()
    }

    /// The key that signed the proof, once its signature is verified.
    pub const fn jkt(&self) -> Option<&Thumbprint> {
        self.findings.jkt.as_ref()
    }

    /// The client of the token, once the token is verified.
    pub fn client_id(&self) -> Option<&str> {
        self.findings.facts.as_ref().map(|facts| facts.client_id())
    }

    /// By how many seconds the proof's `iat` is ahead of now, once the proof is verified; negative for the past.
    pub const fn iat_offset(&self) -> Option<i64> {
        self.findings.iat_offset
    }
}
