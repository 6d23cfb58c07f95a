//! What a proof speaks about: the method, the target URI, the one DPoP field and the access token of a request. Nothing is
//! verified here; a [`ResourceRequest`] has exactly one of each.

mod credentials;
mod form;
mod host;
mod uri;

use http::Method;
use http::header::HeaderMap;
use http::request::Parts;

pub use self::credentials::{AccessToken, MAX_TOKEN, Presented};
pub use self::form::{FormScan, announces_form, form_holds_token};
pub use self::host::{Origins, OriginsError, authority};
pub use self::uri::{Origin, OriginError, RequestPath, TargetUri, UriError};
use crate::refusal::{Reason, Refusal};

/// The longest proof that is read, in octets: one with an RSA key of 4096 bits is about 2 KiB.
pub const MAX_PROOF: usize = 8192;

/// The name of the field that carries a proof.
pub const DPOP: http::HeaderName = http::HeaderName::from_static("dpop");

/// A request to a protected resource: one token under the DPoP scheme and one proof field, both unverified.
#[derive(Debug)]
pub struct ResourceRequest<'r> {
    pub(crate) method: &'r Method,
    pub(crate) target: TargetUri,
    pub(crate) origin: &'r Origin,
    pub(crate) token: AccessToken<'r>,
    pub(crate) proof: ProofField<'r>,
}

impl<'r> ResourceRequest<'r> {
    /// Reads a request at `origin`, the URI that clients aim at, whatever `Host` says (R-URI-08).
    ///
    /// ```
    /// use keybound::refusal::Reason;
    /// use keybound::request::{Origin, Presented};
    ///
    /// let origin: Origin = "https://api.example.com".parse()?;
    /// let (parts, ()) = http::Request::get("/orders").header("authorization", "DPoP Kz~8mXK1").body(()).unwrap().into_parts();
    /// assert_eq!(Presented::read(&parts, &origin).unwrap_err().reason(), Reason::ProofMissing);
    /// # Ok::<(), keybound::request::OriginError>(())
    /// ```
    pub(crate) fn read(parts: &'r Parts, origin: &'r Origin, token: AccessToken<'r>) -> Result<Self, Refusal> {
        let proof = ProofField::read(&parts.headers)?.ok_or(Reason::ProofMissing)?;
        let path = RequestPath::parse(parts.uri.path())?;
        Ok(Self { method: &parts.method, target: origin.target(&path), origin, token, proof })
    }

    /// The URI the client aimed at, in normal form.
    pub const fn target(&self) -> &TargetUri {
        &self.target
    }

    /// The access token.
    pub const fn access_token(&self) -> AccessToken<'r> {
        self.token
    }
}

/// The value of the one `DPoP` field: one token68 of bounded length, and nothing known about it yet.
#[derive(Clone, Copy)]
pub struct ProofField<'r>(&'r str);

impl<'r> ProofField<'r> {
    /// The one `DPoP` field of a request; `None` if there is none.
    ///
    /// # Errors
    ///
    /// [`Reason::ProofRepeated`] for two fields or a folded one, [`Reason::ProofOversized`], [`Reason::ProofMalformed`]
    /// for anything that is not a token68, the empty value too (R-PRF-01 to R-PRF-04).
    pub fn read(headers: &'r HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut fields = headers.get_all(DPOP).iter();
        let Some(field) = fields.next() else { return Ok(None) };
        if fields.next().is_some() {
            return Err(Reason::ProofRepeated.into());
        }
        Self::from_octets(field.as_bytes()).map(Some)
    }

    /// A proof that came by another way than a field.
    ///
    /// # Errors
    ///
    /// As [`ProofField::read`].
    pub fn from_octets(octets: &'r [u8]) -> Result<Self, Refusal> {
        let octets = credentials::trim(octets);
        if octets.len() > MAX_PROOF {
            return Err(Reason::ProofOversized.into());
        }
        match credentials::token68(octets) {
            Some(text) => Ok(Self(text)),
            // A comma is what an intermediary puts between two fields that it folds into one.
            None if octets.contains(&b',') => Err(Reason::ProofRepeated.into()),
            None => Err(Reason::ProofMalformed.into()),
        }
    }

    /// The text.
    pub const fn as_str(self) -> &'r str {
        self.0
    }
}

impl core::fmt::Debug for ProofField<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "ProofField({} octets)", self.0.len())
    }
}
