//! A DPoP proof taken apart and believed by nobody (RFC 9449 section 4.2): well formed, `typ` right, an asymmetric `alg`
//! that fits a public `jwk`. The claims are read, and judged only once the signature has verified.

use core::fmt;
use core::time::Duration;
use std::borrow::Cow;

use http::Method;

use crate::crypto::Alg;
use crate::jwk::PublicJwk;
use crate::jws::json::{Number, Object, Value};
use crate::jws::{Compact, JwsError, SignatureOctets, decode_base64url, decode_exact};
use crate::refusal::{Reason, Refusal};
use crate::request::{ProofField, TargetUri};
use crate::time::UnixTime;

/// The value of `typ`, in its one spelling (R-PRF-11).
pub const TYP: &str = "dpop+jwt";

/// The longest `jti` that is read, in octets. Stores keep a digest of it in any case.
pub const MAX_JTI: usize = 256;

/// A proof that is well formed: RFC 9449 section 4.3, (2) to (5) and (7). It has no other origin than
/// [`ParsedProof::parse`], and nothing in it is true yet.
pub struct ParsedProof<'p> {
    pub(crate) compact: Compact<'p>,
    pub(crate) header: Header,
    pub(crate) claims: Claims,
    pub(crate) signature: SignatureOctets,
}

/// What the header of a proof says.
#[derive(Clone, Debug)]
pub(crate) struct Header {
    pub(crate) alg: Alg,
    pub(crate) jwk: PublicJwk,
}

/// A proof cut into its parts: the syntax is right and the header segment has not been looked into.
pub(crate) struct SplitProof<'p> {
    compact: Compact<'p>,
    payload: Vec<u8>,
    signature: SignatureOctets,
}

impl<'p> SplitProof<'p> {
    pub(crate) fn split(field: ProofField<'p>) -> Result<Self, Reason> {
        let compact = Compact::split(field.as_str()).map_err(reason_of)?; // (2)
        let payload = decode_base64url(compact.payload).map_err(reason_of)?;
        let signature = compact.signature().map_err(reason_of)?;
        Ok(Self { compact, payload, signature })
    }

    pub(crate) const fn header_segment(&self) -> &'p str {
        self.compact.header
    }

    /// With a header that was read earlier, from a segment of the same octets.
    pub(crate) fn with_header(self, header: impl FnOnce() -> Header) -> Result<ParsedProof<'p>, Reason> {
        let claims = Claims::read(&Object::parse(&self.payload).map_err(|_| Reason::ProofJson)?);
        Ok(ParsedProof { compact: self.compact, header: header(), claims, signature: self.signature })
    }

    fn parse(self) -> Result<ParsedProof<'p>, Reason> {
        let octets = decode_base64url(self.compact.header).map_err(reason_of)?;
        let header = Object::parse(&octets).map_err(|_| Reason::ProofJson)?;
        let payload = Object::parse(&self.payload).map_err(|_| Reason::ProofJson)?;
        let (header, claims) = (Header::read(&header)?, Claims::read(&payload));
        Ok(ParsedProof { compact: self.compact, header, claims, signature: self.signature })
    }
}

impl<'p> ParsedProof<'p> {
    /// Takes a proof apart.
    ///
    /// ```
    /// use keybound::proof::ParsedProof;
    /// use keybound::refusal::Reason;
    /// use keybound::request::ProofField;
    ///
    /// let refusal = ParsedProof::parse(ProofField::from_octets(b"a.b.c").unwrap()).unwrap_err();
    /// assert_eq!(refusal.reason(), Reason::ProofEncoding);
    /// ```
    ///
    /// # Errors
    ///
    /// The reasons of RFC 9449 section 4.3, (2), (4), (5) and (7). Claims are judged later, by
    /// [`Verifier`](crate::verify::Verifier): nobody is told about claims they did not sign.
    pub fn parse(field: ProofField<'p>) -> Result<Self, Refusal> {
        Ok(SplitProof::split(field)?.parse()?)
    }

    /// The algorithm in the header.
    pub const fn alg(&self) -> Alg {
        self.header.alg
    }

    /// The key in the header.
    pub const fn jwk(&self) -> &PublicJwk {
        &self.header.jwk
    }

    pub(crate) fn parse_split(split: SplitProof<'p>) -> Result<Self, Reason> {
        split.parse()
    }
}

impl fmt::Debug for ParsedProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ParsedProof").field("header", &self.header).finish_non_exhaustive()
    }
}

const fn reason_of(error: JwsError) -> Reason {
    match error {
        JwsError::Segments => Reason::ProofMalformed,
        JwsError::Encoding => Reason::ProofEncoding,
    }
}

impl Header {
    fn read(header: &Object<'_>) -> Result<Self, Reason> {
        // (4)
        if header.get("typ").and_then(Value::as_str) != Some(TYP) {
            return Err(Reason::TypInvalid);
        }
        let alg = alg(header.get("alg"))?; // (5), except for the list of this server
        if header.contains("crit") {
            return Err(Reason::CritUnsupported);
        }
        if header.get("b64").is_some_and(|b64| b64.as_bool() != Some(true)) {
            return Err(Reason::B64Unsupported);
        }
        let member = header.get("jwk").and_then(Value::as_object).ok_or(Reason::KeyMissing)?;
        let jwk = PublicJwk::parse(member)?; // (7)
        usage(member, alg)?;
        if !jwk.fits(alg) {
            return Err(Reason::AlgMismatch);
        }
        Ok(Self { alg, jwk })
    }
}

/// Reads `alg` of any JOSE header: never `none`, never a MAC (R-PRF-12, R-PRF-13).
pub(crate) fn alg(value: Option<&Value<'_>>) -> Result<Alg, Reason> {
    let name = value.and_then(Value::as_str).ok_or(Reason::AlgInvalid)?;
    if name.eq_ignore_ascii_case("none") || name.get(..2).is_some_and(|family| family.eq_ignore_ascii_case("HS")) {
        return Err(Reason::AlgForbidden);
    }
    Alg::from_name(name).ok_or(Reason::AlgInvalid)
}

/// What `use`, `key_ops` and `alg` of a key say of its use (R-PRF-22).
pub(crate) fn usage(jwk: &Object<'_>, alg: Alg) -> Result<(), Reason> {
    let says = |member, expected| jwk.get(member).is_none_or(|value| value.as_str() == Some(expected));
    let verifies = jwk.get("key_ops").is_none_or(|operations| {
        operations.as_array().is_some_and(|operations| operations.iter().any(|one| one.as_str() == Some("verify")))
    });
    if says("use", "sig") && says("alg", alg.name()) && verifies { Ok(()) } else { Err(Reason::KeyUsage) }
}

/// The claims as they were found. What is wrong with one is kept until it may be told.
pub(crate) struct Claims {
    pub(crate) jti: Result<Box<str>, Reason>,
    pub(crate) htm: Result<Htm, Reason>,
    pub(crate) htu: Result<TargetUri, Reason>,
    pub(crate) iat: Result<Seconds, Reason>,
    pub(crate) exp: Result<Option<Seconds>, Reason>,
    pub(crate) nbf: Result<Option<Seconds>, Reason>,
    pub(crate) ath: Result<Option<Ath>, Reason>,
    pub(crate) nonce: Result<Option<Box<str>>, Reason>,
}

/// The `htm` claim: a method, or text that is none and so equals none.
#[derive(Debug)]
pub(crate) enum Htm {
    Method(Method),
    NoMethod,
}

/// The `ath` claim: a digest, or text that is none and so equals none.
pub(crate) enum Ath {
    Digest([u8; 32]),
    NoDigest,
}

impl Claims {
    /// Unknown claims are ignored (R-PRF-28), `cnf` among them: binding comes from the token alone.
    fn read(payload: &Object<'_>) -> Self {
        let text = |name, reason| payload.get(name).and_then(Value::as_str).ok_or(reason);
        Self {
            jti: match text("jti", Reason::JtiInvalid) {
                Ok("") => Err(Reason::JtiInvalid),
                Ok(jti) if jti.len() > MAX_JTI => Err(Reason::JtiOversized),
                jti => jti.map(Into::into),
            },
            htm: text("htm", Reason::HtmInvalid)
                .map(|htm| Method::from_bytes(htm.as_bytes()).map_or(Htm::NoMethod, Htm::Method)),
            htu: text("htu", Reason::HtuInvalid).and_then(|htu| TargetUri::parse(htu).map_err(|_| Reason::HtuInvalid)),
            iat: payload.get("iat").and_then(Seconds::read).ok_or(Reason::IatInvalid),
            exp: optional(payload.get("exp"), Seconds::read),
            nbf: optional(payload.get("nbf"), Seconds::read),
            ath: optional(payload.get("ath"), |ath| {
                ath.as_str().map(|ath| decode_exact(ath).map_or(Ath::NoDigest, Ath::Digest))
            }),
            nonce: optional(payload.get("nonce"), |nonce| nonce.as_str().map(Into::into)),
        }
    }
}

/// Absent, or of the right type; anything else is [`Reason::ClaimInvalid`].
fn optional<'t, T>(value: Option<&Value<'t>>, read: impl FnOnce(&Value<'t>) -> Option<T>) -> Result<Option<T>, Reason> {
    value.map(|value| read(value).ok_or(Reason::ClaimInvalid)).transpose()
}

/// A NumericDate: seconds, possibly with a fraction (RFC 7519 section 2, R-PRF-34).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seconds {
    whole: UnixTime,
    fraction: bool,
}

impl Seconds {
    pub(crate) fn read(value: &Value<'_>) -> Option<Self> {
        let Value::Number(number) = value else { return None };
        let (whole, fraction) = match *number {
            Number::Whole(whole) => (whole, false),
            Number::Negative(_) => return None,
            Number::Float(number) => {
                let since = Duration::try_from_secs_f64(number).ok()?;
                (since.as_secs(), since.subsec_nanos() > 0)
            }
        };
        (whole <= UnixTime::MAX.as_secs()).then_some(Self { whole: UnixTime::from_secs(whole), fraction })
    }

    /// The second it falls into.
    pub(crate) const fn floor(self) -> UnixTime {
        self.whole
    }

    /// The first whole second that is not before it.
    pub(crate) const fn ceil(self) -> UnixTime {
        if self.fraction { self.whole.plus(Duration::from_secs(1)) } else { self.whole }
    }
}

/// A proof as JSON for a person to read: header and payload decoded as far as they can be, the signature left out.
///
/// It says nothing about whether the proof is any good.
pub fn decode_for_display(field: &str) -> [Option<serde_json::Value>; 2] {
    let mut segments = field.split('.');
    core::array::from_fn(|_| {
        let octets = decode_base64url(segments.next()?).ok()?;
        let text: Cow<'_, str> = String::from_utf8_lossy(&octets);
        serde_json::from_str(&text).ok()
    })
}
