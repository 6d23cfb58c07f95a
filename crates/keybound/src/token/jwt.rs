//! JWT access tokens (RFC 9068): the signature by a key of the issuer. The key a proof carries in its header is never used
//! here, nor is any key in the token's own header (R-RS-16, R-RS-19).

use core::fmt;
use std::sync::Arc;

use super::TokenFacts;
use crate::crypto::{Alg, AlgSet, Crypto, PreparedKey};
use crate::jwk::PublicJwk;
use crate::jws::json::{Object, Value};
use crate::jws::{Compact, decode_base64url};
use crate::proof;
use crate::refusal::{Reason, Refusal};
use crate::request::AccessToken;

/// The most keys that are taken from one set.
const MAX_KEYS: usize = 64;

/// How many keys are tried for a token that does not name its key.
const MAX_TRIES: usize = 8;

/// A JWT access token whose header was read and whose signature was not checked.
pub struct SignedJwt<'t> {
    compact: Compact<'t>,
    alg: Alg,
    kid: Option<Box<str>>,
}

impl<'t> SignedJwt<'t> {
    /// Reads the header: `typ` is `at+jwt` or `application/at+jwt`, `alg` is asymmetric, nothing critical.
    ///
    /// # Errors
    ///
    /// [`Reason::TokenMalformed`], [`Reason::TokenType`], [`Reason::TokenAlgorithm`].
    pub fn parse(token: AccessToken<'t>) -> Result<Self, Refusal> {
        let compact = Compact::split(token.secret()).map_err(|_| Reason::TokenMalformed)?;
        let (alg, kid) = header(&compact, ["at+jwt", "application/at+jwt"])?;
        Ok(Self { compact, alg, kid })
    }

    /// The key it names.
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The issuer it says it comes from, by which to find the keys and for nothing else: anybody can write one.
    /// [`TokenFacts::judge`] looks at the issuer of the verified claims.
    ///
    /// # Errors
    ///
    /// [`Reason::TokenMalformed`] if the claims are not one JSON object, [`Reason::TokenClaims`] if they name no issuer.
    pub fn claimed_issuer(&self) -> Result<Box<str>, Refusal> {
        issuer_in(&self.compact)
    }

    /// Whether `keys` has a key this token may be signed with. If not, the issuer may have turned its keys.
    pub fn finds_key(&self, keys: &KeySet) -> bool {
        keys.finds(self.alg, self.kid.as_deref())
    }

    /// Checks the signature with the issuer's keys and reads the claims.
    ///
    /// It does not look at the issuer's name, audience or times: see [`TokenFacts::judge`].
    ///
    /// # Errors
    ///
    /// [`Reason::TokenAlgorithm`], [`Reason::TokenKey`], [`Reason::TokenMalformed`], [`Reason::TokenSignature`],
    /// [`Reason::TokenClaims`].
    pub fn verify(&self, keys: &KeySet) -> Result<(Arc<TokenFacts>, KeyMark), Refusal> {
        let mark = keys.check(&self.compact, self.alg, self.kid.as_deref())?;
        let octets = decode_base64url(self.compact.payload).map_err(|_| Reason::TokenMalformed)?;
        let claims = Object::parse(&octets).map_err(|_| Reason::TokenMalformed)?;
        Ok((Arc::new(TokenFacts::of_jwt(&claims)?), mark))
    }
}

/// The issuer that a token names if it looks like a JWT of any type, for tokens whose meaning only their issuer knows: which
/// one to ask. Nothing about it is verified.
pub fn claimed_issuer(token: AccessToken<'_>) -> Option<Box<str>> {
    issuer_in(&Compact::split(token.secret()).ok()?).ok()
}

/// The client that an ID token of `issuer` was made for (OpenID Connect Core section 2): a hint at who wants to end a session. One
/// whose time is over gives it as well; nothing is to be granted for it. `None` for any other text.
///
/// ```
/// use keybound::crypto::{AlgSet, aws_lc::{AwsLc, SoftwareKey}};
/// use keybound::crypto::{Alg, Signer as _};
/// use keybound::jws::encode_base64url;
/// use keybound::token::jwt::{KeySet, client_of_id_token, subject_of_id_token};
///
/// let key = SoftwareKey::generate(Alg::Es256)?;
/// let jwks = format!(r#"{{"keys":[{}]}}"#, key.public_jwk().to_json());
/// let keys = KeySet::read_strictly(jwks.as_bytes(), &AwsLc, AlgSet::ALL)?;
/// let [header, claims] = [r#"{"typ":"JWT","alg":"ES256"}"#, r#"{"iss":"https://id.example.com","aud":"app","sub":"alice"}"#];
/// let signed = format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(claims.as_bytes()));
/// let token = format!("{signed}.{}", encode_base64url(&key.sign(signed.as_bytes())?));
/// assert_eq!(client_of_id_token(&token, &keys, "https://id.example.com").as_deref(), Some("app"));
/// assert_eq!(client_of_id_token(&token, &keys, "https://other.example.com"), None);
/// assert_eq!(subject_of_id_token(&token, &keys, "https://id.example.com").as_deref(), Some("alice"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn client_of_id_token(text: &str, keys: &KeySet, issuer: &str) -> Option<Box<str>> {
    of_id_token("aud", text, keys, issuer)
}

/// The user (`sub`) whom an ID token of `issuer` is about: a hint at whom a client expects to be there, as
/// [`client_of_id_token`].
pub fn subject_of_id_token(text: &str, keys: &KeySet, issuer: &str) -> Option<Box<str>> {
    of_id_token("sub", text, keys, issuer)
}

/// A claim that is text.
fn of_id_token(claim: &str, text: &str, keys: &KeySet, issuer: &str) -> Option<Box<str>> {
    let compact = Compact::split(AccessToken::parse(text)?.secret()).ok()?;
    let (alg, kid) = header(&compact, ["JWT", "application/jwt"]).ok()?;
    keys.check(&compact, alg, kid.as_deref()).ok()?;
    let octets = decode_base64url(compact.payload).ok()?;
    let claims = Object::parse(&octets).ok()?;
    let text = |name| claims.get(name).and_then(Value::as_str);
    text(claim).filter(|_| text("iss") == Some(issuer)).map(Box::from)
}

fn issuer_in(compact: &Compact<'_>) -> Result<Box<str>, Refusal> {
    let octets = decode_base64url(compact.payload).map_err(|_| Reason::TokenMalformed)?;
    let claims = Object::parse(&octets).map_err(|_| Reason::TokenMalformed)?;
    let issuer = claims.get("iss").and_then(Value::as_str).ok_or(Reason::TokenClaims)?;
    Ok(issuer.into())
}

/// `alg` and `kid` of a JWT that must be of one of these types; anything critical is refused.
pub(super) fn header(compact: &Compact<'_>, types: [&str; 2]) -> Result<(Alg, Option<Box<str>>), Reason> {
    let octets = decode_base64url(compact.header).map_err(|_| Reason::TokenMalformed)?;
    let header = Object::parse(&octets).map_err(|_| Reason::TokenMalformed)?;
    let typ = header.get("typ").and_then(Value::as_str).unwrap_or_default();
    if !types.iter().any(|known| typ.eq_ignore_ascii_case(known)) {
        return Err(Reason::TokenType);
    }
    if header.contains("crit") || header.contains("b64") {
        return Err(Reason::TokenMalformed);
    }
    let alg = proof::alg(header.get("alg")).map_err(|_| Reason::TokenAlgorithm)?;
    let kid = match header.get("kid") {
        None => None,
        Some(kid) => Some(kid.as_str().ok_or(Reason::TokenMalformed)?.into()),
    };
    Ok((alg, kid))
}

impl fmt::Debug for SignedJwt<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedJwt({}, kid {:?})", self.alg, self.kid)
    }
}

/// Which key vouched for a token. What was remembered under it dies when the key leaves its set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyMark(PublicJwk);

/// The signing keys of one issuer, ready for use.
#[derive(Clone, Debug)]
pub struct KeySet {
    keys: Vec<IssuerKey>,
    algs: AlgSet,
}

#[derive(Clone, Debug)]
struct IssuerKey {
    kid: Option<Box<str>>,
    jwk: PublicJwk,
    prepared: Vec<(Alg, Arc<dyn PreparedKey>)>,
}

/// What is wrong with a key set.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySetError {
    /// Not a JSON object with an array `keys`.
    Malformed,
    /// There is no key in it that signatures could be checked with.
    Empty,
    /// More keys than anybody needs.
    TooMany,
    /// The key at this position, counted from 0, must not be used.
    Key(usize, Reason),
}

impl fmt::Display for KeySetError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a JWK set: a JSON object with an array named keys, no name twice"),
            Self::Empty => f.write_str("the set holds no public key for signatures"),
            Self::TooMany => write!(f, "the set holds more than {MAX_KEYS} keys"),
            Self::Key(position, reason) => write!(f, "keys[{position}]: {}", reason.entry().meaning),
        }
    }
}

impl core::error::Error for KeySetError {}

impl KeySet {
    /// Reads a set somebody wrote by hand, as a file or value: a key that must not be used is an error, for its author can
    /// mend it. `algs` are the algorithms this issuer's tokens may have.
    ///
    /// # Errors
    ///
    /// [`KeySetError`].
    pub fn read_strictly(text: &[u8], crypto: &dyn Crypto, algs: AlgSet) -> Result<Self, KeySetError> {
        Self::read(text, crypto, algs, |position, reason| match reason {
            // Of a kind that others may know (RFC 7517 section 5): it is nobody's mistake.
            Reason::KeyUnsupported => Ok(()),
            reason => Err(KeySetError::Key(position, reason)),
        })
    }

    /// Reads a set that an issuer serves: keys of kinds we do not know, for other uses or unfit are left out, as RFC 7517
    /// section 5 wants.
    ///
    /// # Errors
    ///
    /// [`KeySetError`] if nothing is left.
    pub fn read_served(text: &[u8], crypto: &dyn Crypto, algs: AlgSet) -> Result<Self, KeySetError> {
        Self::read(text, crypto, algs, |_, _| Ok(()))
    }

    fn read(
        text: &[u8],
        crypto: &dyn Crypto,
        algs: AlgSet,
        mut unfit: impl FnMut(usize, Reason) -> Result<(), KeySetError>,
    ) -> Result<Self, KeySetError> {
        let set = Object::parse(text).map_err(|_| KeySetError::Malformed)?;
        let members = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
        if members.len() > MAX_KEYS {
            return Err(KeySetError::TooMany);
        }
        let mut keys = Vec::with_capacity(members.len());
        for (position, member) in members.iter().enumerate() {
            let jwk = member.as_object().ok_or(KeySetError::Malformed)?;
            match IssuerKey::read(jwk, crypto, algs) {
                Ok(Some(key)) => keys.push(key),
                Ok(None) => {}
                Err(reason) => unfit(position, reason)?,
            }
        }
        if keys.is_empty() { Err(KeySetError::Empty) } else { Ok(Self { keys, algs }) }
    }

    /// Whether the key that vouched for a token is still in the set.
    pub fn holds(&self, mark: &KeyMark) -> bool {
        self.keys.iter().any(|key| key.jwk == mark.0)
    }

    /// Checks the signature of a JWS with the keys that fit its `alg` and `kid`.
    pub(crate) fn check(&self, compact: &Compact<'_>, alg: Alg, kid: Option<&str>) -> Result<KeyMark, Reason> {
        if !self.algs.contains(alg) {
            return Err(Reason::TokenAlgorithm);
        }
        let signature = compact.signature().map_err(|_| Reason::TokenMalformed)?;
        let signed = compact.signing_input.as_bytes();
        let mut reason = Reason::TokenKey;
        for (key, prepared) in self.candidates(alg, kid).take(MAX_TRIES) {
            if prepared.verify(signed, signature.as_slice()).is_ok() {
                return Ok(KeyMark(key.jwk.clone()));
            }
            reason = Reason::TokenSignature;
        }
        Err(reason)
    }

    /// Whether there is a key for a signature of this `alg` that names this `kid`.
    pub(super) fn finds(&self, alg: Alg, kid: Option<&str>) -> bool {
        self.candidates(alg, kid).next().is_some()
    }

    fn candidates<'k>(
        &'k self,
        alg: Alg,
        kid: Option<&'k str>,
    ) -> impl Iterator<Item = (&'k IssuerKey, &'k dyn PreparedKey)> {
        self.keys.iter().filter_map(move |key| {
            let named = match (kid, &key.kid) {
                (Some(wanted), Some(kid)) => *wanted == **kid,
                _ => true,
            };
            let prepared = key.prepared.iter().find(|(known, _)| *known == alg).map(|(_, prepared)| &**prepared);
            prepared.filter(|_| named).map(|prepared| (key, prepared))
        })
    }

    /// The algorithms tokens may have.
    pub const fn algs(&self) -> AlgSet {
        self.algs
    }
}

impl IssuerKey {
    /// The key, or nothing if it is for encryption or for algorithms that are not allowed.
    fn read(jwk: &Object<'_>, crypto: &dyn Crypto, algs: AlgSet) -> Result<Option<Self>, Reason> {
        let parsed = PublicJwk::parse(jwk)?;
        if jwk.get("use").is_some_and(|usage| usage.as_str() == Some("enc")) {
            return Ok(None);
        }
        let mut prepared = Vec::new();
        for alg in Alg::ALL.into_iter().filter(|alg| parsed.fits(*alg)) {
            // A key is checked even for an algorithm that is not allowed: an unfit key is never passed over.
            let ready = crypto.prepare(&parsed, alg)?;
            if algs.contains(alg) && proof::usage(jwk, alg).is_ok() {
                prepared.push((alg, ready));
            }
        }
        let kid = jwk.get("kid").and_then(Value::as_str).map(Box::from);
        Ok((!prepared.is_empty()).then_some(Self { kid, jwk: parsed, prepared }))
    }
}
