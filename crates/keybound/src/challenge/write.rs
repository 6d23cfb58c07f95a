//! What a protected resource answers to a request it does not let through: status, challenges, body.

use core::fmt;

use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER as RETRY_AFTER_FIELD, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};

use super::{DPOP_NONCE, ErrorCode, RETRY_AFTER};
use crate::crypto::AlgSet;
use crate::nonce::Nonce;
use crate::refusal::{Denial, Outcome, Refusal};

/// The scheme of the `Authorization` field a request came with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scheme {
    /// `DPoP`.
    Dpop,
    /// `Bearer`, or the token came in body or query, where only bearer tokens may be.
    Bearer,
    /// No credentials, or none of these.
    None,
}

/// A setting that cannot stand in a challenge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChallengeError {
    /// The list of algorithms is empty (R-ERR-02).
    AlgsEmpty,
    /// The realm holds a control character, or something outside ASCII.
    Realm,
    /// The scope is not scope tokens with one space between (RFC 6749 section 3.3).
    Scope,
    /// The address of the metadata is not an http or https URI.
    ResourceMetadata,
}

impl fmt::Display for ChallengeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlgsEmpty => "no algorithm is left to offer in algs",
            Self::Realm => "the realm may hold printable ASCII only",
            Self::Scope => "the scope must be scope tokens with one space between",
            Self::ResourceMetadata => "the address of the resource metadata must be an http or https URI",
        })
    }
}

impl core::error::Error for ChallengeError {}

/// A realm, quoted for a challenge (RFC 9110 section 11.5).
///
/// ```
/// use keybound::challenge::Realm;
///
/// assert!(Realm::new(r#"the "inner" circle"#).is_ok());
/// assert!(Realm::new("line\nbreak").is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Realm(Box<str>);

impl Realm {
    /// A realm of printable ASCII; quotes and backslashes are escaped when it is written.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Realm`].
    pub fn new(realm: &str) -> Result<Self, ChallengeError> {
        if !realm.bytes().all(|octet| matches!(octet, 0x20..=0x7e)) {
            return Err(ChallengeError::Realm);
        }
        let mut quoted = String::with_capacity(realm.len());
        for character in realm.chars() {
            if matches!(character, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(character);
        }
        Ok(Self(quoted.into()))
    }

    /// Between the quotes of a quoted-string.
    pub(super) fn quoted(&self) -> &str {
        &self.0
    }
}

/// What a protected resource says of itself in every challenge: the schemes it serves and what it asks for.
///
/// ```
/// use keybound::challenge::{Challenges, Realm};
/// use keybound::crypto::AlgSet;
///
/// let challenges = Challenges::dpop(AlgSet::FAPI)?
///     .and_bearer()
///     .realm(Realm::new("accounts")?)
///     .scope("read write")?
///     .resource_metadata("https://api.example.com/.well-known/oauth-protected-resource")?;
/// # let _ = challenges;
/// # Ok::<(), keybound::challenge::ChallengeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "challenges are part of an answer"]
pub struct Challenges {
    algs: AlgSet,
    bearer: bool,
    realm: Option<Realm>,
    scope: Option<Box<str>>,
    resource_metadata: Option<Box<str>>,
}

impl Challenges {
    /// Serves DPoP alone and accepts these algorithms.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::AlgsEmpty`].
    pub const fn dpop(algs: AlgSet) -> Result<Self, ChallengeError> {
        if algs.is_empty() {
            return Err(ChallengeError::AlgsEmpty);
        }
        Ok(Self {
            algs,
            bearer: false,
            realm: None,
            scope: None,
            resource_metadata: None,
        })
    }

    /// Serves bearer tokens as well.
    pub const fn and_bearer(mut self) -> Self {
        self.bearer = true;
        self
    }

    /// Names the realm.
    pub fn realm(mut self, realm: Realm) -> Self {
        self.realm = Some(realm);
        self
    }

    /// Names the scope that the resource asks for.
    ///
    /// # Errors
    ///
    /// [`ChallengeError::Scope`].
    pub fn scope(mut self, scope: &str) -> Result<Self, ChallengeError> {
        let fine = |token: &str| !token.is_empty() && token.bytes().all(is_nqchar);
        if !scope.split(' ').all(fine) {
            return Err(ChallengeError::Scope);
        }
        self.scope = Some(scope.into());
        Ok(self)
    }

    /// Says where the metadata of the resource is (RFC 9728 section 5.1).
    ///
    /// # Errors
    ///
    /// [`ChallengeError::ResourceMetadata`].
    pub fn resource_metadata(mut self, address: &str) -> Result<Self, ChallengeError> {
        let rest = address
            .strip_prefix("https://")
            .or_else(|| address.strip_prefix("http://"));
        if rest.is_none_or(str::is_empty) || !address.bytes().all(is_nqchar) {
            return Err(ChallengeError::ResourceMetadata);
        }
        self.resource_metadata = Some(address.into());
        Ok(self)
    }

    fn write(&self, scheme: &str, error: Option<(ErrorCode, &str)>) -> Option<HeaderValue> {
        let algs = (scheme == DPOP_SCHEME).then(|| self.algs.to_string());
        let mut params = Params::new(scheme);
        if let Some(realm) = &self.realm {
            params.push("realm", realm.quoted());
        }
        if let Some((code, reason)) = error {
            params.push("error", code.as_str());
            params.push("error_description", reason);
        }
        for (name, value) in [("algs", &algs.as_deref()), ("scope", &self.scope.as_deref())] {
            if let Some(value) = value {
                params.push(name, value);
            }
        }
        if let Some(address) = &self.resource_metadata {
            params.push("resource_metadata", address);
        }
        HeaderValue::try_from(params.text).ok()
    }
}

const DPOP_SCHEME: &str = "DPoP";
const BEARER_SCHEME: &str = "Bearer";

/// What may stand in a quoted string without an escape, less the space: %x21 / %x23-5B / %x5D-7E.
const fn is_nqchar(octet: u8) -> bool {
    matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e)
}

/// One challenge while it is written. Values are quoted always: RFC 9449 section 7.1 and RFC 6750 section 3 want that of
/// most, and every reader takes it.
struct Params {
    text: String,
    separator: &'static str,
}

impl Params {
    fn new(scheme: &str) -> Self {
        Self {
            text: scheme.to_owned(),
            separator: " ",
        }
    }

    /// `value` holds no quote and no backslash that is not part of an escape.
    fn push(&mut self, name: &str, value: &str) {
        for piece in [self.separator, name, "=\"", value, "\""] {
            self.text.push_str(piece);
        }
        self.separator = ", ";
    }
}

/// What a protected resource answers to a request that does not get through.
///
/// ```
/// use keybound::challenge::{Challenges, ResourceAnswer, Scheme};
/// use keybound::crypto::AlgSet;
/// use keybound::refusal::{Denial, Reason};
///
/// let challenges = Challenges::dpop(AlgSet::FAPI)?;
/// let answer = ResourceAnswer::new(&Denial::from(Reason::HtuMismatch), &challenges, Scheme::Dpop, None);
/// let mut headers = http::HeaderMap::new();
/// answer.apply(&mut headers);
/// assert_eq!(answer.status(), 401);
/// assert_eq!(
///     headers["www-authenticate"],
///     r#"DPoP error="invalid_dpop_proof", error_description="htu.mismatch", algs="ES256 Ed25519 PS256 EdDSA""#,
/// );
/// assert_eq!(answer.body(), r#"{"error":"invalid_dpop_proof","reason":"htu.mismatch"}"#);
/// # Ok::<(), keybound::challenge::ChallengeError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "an answer does nothing until it is sent"]
pub struct ResourceAnswer {
    status: StatusCode,
    error: Option<ErrorCode>,
    code: &'static str,
    challenges: Vec<HeaderValue>,
    retry_after: Option<u32>,
    nonce: Option<Nonce>,
}

impl ResourceAnswer {
    /// The answer to `denial` for a client that used the scheme `used`. Of the refusal nothing but its code is told
    /// (R-ERR-18).
    ///
    /// A refusal that [demands a nonce](Refusal::demands_nonce) needs one here, or the client cannot recover.
    pub fn new(denial: &Denial, challenges: &Challenges, used: Scheme, nonce: Option<&Nonce>) -> Self {
        let (status, error, challenges) = match denial {
            Denial::Refused(refusal) => refused(refusal, challenges, used),
            Denial::Failed(_) => (StatusCode::SERVICE_UNAVAILABLE, None, Vec::new()), // R-ERR-21
        };
        let waits = matches!(status, StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS);
        let retry_after = waits.then_some(RETRY_AFTER);
        Self {
            status,
            error,
            code: denial.code(),
            challenges,
            retry_after,
            nonce: nonce.cloned(),
        }
    }

    /// Asks the client to wait this many seconds.
    pub const fn retry_after(mut self, seconds: u32) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// The status.
    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// The OAuth error code in the challenges, if there is one.
    pub const fn error(&self) -> Option<ErrorCode> {
        self.error
    }

    /// One `WWW-Authenticate` field line for each scheme served, DPoP first; none where credentials are not the trouble.
    pub fn challenges(&self) -> &[HeaderValue] {
        &self.challenges
    }

    /// Sets the fields of the answer, those of its body included, in place of any of the same names. `DPoP-Nonce` is
    /// touched only if a nonce was given.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.remove(WWW_AUTHENTICATE);
        for challenge in &self.challenges {
            headers.append(WWW_AUTHENTICATE, challenge.clone());
        }
        apply_common(headers, self.retry_after, self.nonce.as_ref());
    }

    /// The body, JSON for people who look at it with curl.
    pub fn body(&self) -> String {
        match self.error {
            Some(error) => format!(r#"{{"error":"{error}","reason":"{}"}}"#, self.code),
            None => format!(r#"{{"reason":"{}"}}"#, self.code),
        }
    }
}

/// The fields that every answer of ours has.
pub(super) fn apply_common(headers: &mut HeaderMap, retry_after: Option<u32>, nonce: Option<&Nonce>) {
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(seconds) = retry_after {
        headers.insert(RETRY_AFTER_FIELD, HeaderValue::from(seconds));
    }
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce.as_str()).ok()) {
        headers.insert(&DPOP_NONCE, value);
    }
}

/// Where in the answer the error goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Dpop,
    Bearer,
    Everywhere,
}

fn refused(
    refusal: &Refusal,
    challenges: &Challenges,
    used: Scheme,
) -> (StatusCode, Option<ErrorCode>, Vec<HeaderValue>) {
    let (status, error, place) = match refusal.outcome() {
        Outcome::Status(status) => {
            return (
                StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST),
                None,
                Vec::new(),
            );
        }
        Outcome::Challenge => (StatusCode::UNAUTHORIZED, None, Place::Everywhere),
        Outcome::Error(error) => match error {
            // These speak of a proof, so they stand in a DPoP challenge whatever the scheme.
            ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce => {
                (StatusCode::UNAUTHORIZED, Some(error), Place::Dpop)
            }
            ErrorCode::InvalidToken => (StatusCode::UNAUTHORIZED, Some(error), place_of(used, challenges)),
            ErrorCode::InsufficientScope => (StatusCode::FORBIDDEN, Some(error), place_of(used, challenges)),
            // The rest are an authorization server's and come here by mistake alone.
            _ => (
                StatusCode::BAD_REQUEST,
                Some(ErrorCode::InvalidRequest),
                Place::Everywhere,
            ),
        },
    };
    let told = error.map(|error| (error, refusal.reason().code()));
    let told_at = |here| told.filter(|_| place == here || place == Place::Everywhere);
    let dpop = challenges.write(DPOP_SCHEME, told_at(Place::Dpop));
    let bearer = challenges
        .bearer
        .then(|| challenges.write(BEARER_SCHEME, told_at(Place::Bearer)))
        .flatten();
    (status, error, dpop.into_iter().chain(bearer).collect())
}

/// The challenge of the scheme that was used; of DPoP if that scheme is not served (R-ERR-04, -06, -07).
fn place_of(used: Scheme, challenges: &Challenges) -> Place {
    if used == Scheme::Bearer && challenges.bearer {
        Place::Bearer
    } else {
        Place::Dpop
    }
}

#[cfg(test)]
mod tests;
