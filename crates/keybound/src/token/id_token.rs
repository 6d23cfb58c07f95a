//! ID tokens (OpenID Connect Core section 2) for a client that has its users sign in elsewhere: signature, who it is from and for,
//! times, nonce. What else it says stays in its claims.

use core::fmt;
use core::time::Duration;

use subtle::ConstantTimeEq as _;

use super::audience;
use super::jwt::KeySet;
use crate::crypto::Alg;
use crate::jws::json::{Object, Value};
use crate::jws::{Compact, decode_base64url};
use crate::proof::{self, Seconds};
use crate::refusal::Reason;
use crate::time::UnixTime;

/// The longest ID token that is read.
const MAX_TOKEN: usize = 32 * 1024;

/// The longest `sub` (OpenID Connect Core section 2).
const MAX_SUBJECT: usize = 255;

/// What clocks may differ by.
const LEEWAY: Duration = Duration::from_secs(60);

/// How old a token may be that has just been asked for.
const MAX_AGE: Duration = Duration::from_secs(600);

/// An ID token whose header was read and whose signature was not checked.
pub struct IdToken<'t> {
    compact: Compact<'t>,
    alg: Alg,
    kid: Option<Box<str>>,
}

/// What an ID token has to be.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::exhaustive_structs, reason = "whoever expects one says all of this")]
pub struct Expected<'e> {
    /// Who has made it, octet for octet.
    pub issuer: &'e str,
    /// The client it is for.
    pub client_id: &'e str,
    /// What was sent with the authorization request.
    pub nonce: &'e str,
}

impl<'t> IdToken<'t> {
    /// Reads the header: of no other type than JWT, `alg` is asymmetric, nothing critical.
    ///
    /// # Errors
    ///
    /// [`IdTokenError::Malformed`], [`IdTokenError::Type`], [`IdTokenError::Algorithm`].
    pub fn parse(text: &'t str) -> Result<Self, IdTokenError> {
        if text.len() > MAX_TOKEN {
            return Err(IdTokenError::Malformed);
        }
        let compact = Compact::split(text).map_err(|_| IdTokenError::Malformed)?;
        let octets = decode_base64url(compact.header).map_err(|_| IdTokenError::Malformed)?;
        let header = Object::parse(&octets).map_err(|_| IdTokenError::Malformed)?;
        let is_jwt = |typ: &str| ["JWT", "application/jwt"].iter().any(|known| typ.eq_ignore_ascii_case(known));
        // Access tokens, proofs and logout tokens of the same keys say what they are.
        if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(is_jwt)) {
            return Err(IdTokenError::Type);
        }
        if header.contains("crit") || header.contains("b64") {
            return Err(IdTokenError::Malformed);
        }
        let alg = proof::alg(header.get("alg")).map_err(|_| IdTokenError::Algorithm)?;
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or(IdTokenError::Malformed)?.into()),
        };
        Ok(Self { compact, alg, kid })
    }

    /// Whether `keys` has a key it may be signed with. If not, the issuer may have turned its keys.
    pub fn finds_key(&self, keys: &KeySet) -> bool {
        keys.finds(self.alg, self.kid.as_deref())
    }

    /// Checks everything: see [`IdTokenError`] for what that is.
    ///
    /// # Errors
    ///
    /// [`IdTokenError`].
    pub fn verify(&self, keys: &KeySet, expected: Expected<'_>, now: UnixTime) -> Result<IdClaims, IdTokenError> {
        keys.check(&self.compact, self.alg, self.kid.as_deref()).map_err(|reason| match reason {
            Reason::TokenAlgorithm => IdTokenError::Algorithm,
            Reason::TokenKey => IdTokenError::Key,
            _ => IdTokenError::Signature,
        })?;
        let octets = decode_base64url(self.compact.payload).map_err(|_| IdTokenError::Malformed)?;
        let claims = Object::parse(&octets).map_err(|_| IdTokenError::Malformed)?;
        let text = |name| claims.get(name).and_then(Value::as_str);
        if text("iss") != Some(expected.issuer) {
            return Err(IdTokenError::Issuer);
        }
        is_for(&claims, expected.client_id)?;
        times(&claims, now)?;
        let nonce = text("nonce").unwrap_or_default();
        if expected.nonce.is_empty() || !bool::from(nonce.as_bytes().ct_eq(expected.nonce.as_bytes())) {
            return Err(IdTokenError::Nonce);
        }
        let subject = text("sub").filter(|sub| !sub.is_empty() && sub.len() <= MAX_SUBJECT && sub.is_ascii());
        let subject = subject.ok_or(IdTokenError::Subject)?.into();
        let auth_time = match claims.get("auth_time") {
            None => None,
            Some(time) => Some(Seconds::read(time).ok_or(IdTokenError::Malformed)?.floor()),
        };
        if auth_time.is_some_and(|time| time > now.plus(LEEWAY)) {
            return Err(IdTokenError::Early);
        }
        Ok(IdClaims { subject, auth_time, claims: claims.to_json() })
    }
}

/// `aud` names the client, and where it names others as well, `azp` says that the client is meant.
fn is_for(claims: &Object<'_>, client_id: &str) -> Result<(), IdTokenError> {
    let audience = claims.get("aud").and_then(|aud| audience(aud).ok()).ok_or(IdTokenError::Audience)?;
    let is_meant = match claims.get("azp") {
        Some(azp) => azp.as_str() == Some(client_id),
        None => audience.len() == 1,
    };
    if is_meant && audience.iter().any(|one| **one == *client_id) { Ok(()) } else { Err(IdTokenError::Audience) }
}

fn times(claims: &Object<'_>, now: UnixTime) -> Result<(), IdTokenError> {
    let time = |name| claims.get(name).and_then(Seconds::read).ok_or(IdTokenError::Malformed);
    let (issued, expires) = (time("iat")?, time("exp")?.floor());
    if now >= expires.plus(LEEWAY) || issued.floor().plus(MAX_AGE) < now {
        return Err(IdTokenError::Expired);
    }
    let starts = if claims.contains("nbf") { time("nbf")?.ceil() } else { issued.ceil() };
    if issued.ceil() > now.plus(LEEWAY) || starts > now.plus(LEEWAY) { Err(IdTokenError::Early) } else { Ok(()) }
}

impl fmt::Debug for IdToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "IdToken({}, kid {:?})", self.alg, self.kid)
    }
}

/// What a verified ID token says.
#[derive(Clone, PartialEq)]
pub struct IdClaims {
    subject: Box<str>,
    auth_time: Option<UnixTime>,
    claims: serde_json::Map<String, serde_json::Value>,
}

impl IdClaims {
    /// `sub`: who signed in, by a name of the issuer's, and of no other's.
    pub fn subject(&self) -> &str {
        &self.subject
    }

    /// When the user has signed in there, if it says so.
    pub const fn auth_time(&self) -> Option<UnixTime> {
        self.auth_time
    }

    /// A claim that is text.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.claims.get(name).and_then(serde_json::Value::as_str)
    }

    /// Whether a claim is there and `true`.
    pub fn is_true(&self, name: &str) -> bool {
        self.claims.get(name).and_then(serde_json::Value::as_bool) == Some(true)
    }
}

impl fmt::Debug for IdClaims {
    /// Claims are somebody's data.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IdClaims").finish_non_exhaustive()
    }
}

/// Why an ID token was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IdTokenError {
    /// Not one compact JWS of strict JSON objects with times that are numbers.
    Malformed,
    /// A JWT of another type.
    Type,
    /// `alg` is none that is allowed.
    Algorithm,
    /// No key of the issuer fits.
    Key,
    /// The signature is not the key's.
    Signature,
    /// `iss` is another one.
    Issuer,
    /// `aud` or `azp` is another client, or others beside it.
    Audience,
    /// `exp` is over, or `iat` is too long ago for what has just been asked for.
    Expired,
    /// `iat`, `nbf` or `auth_time` is in the future.
    Early,
    /// `nonce` is not the one of the request.
    Nonce,
    /// `sub` is no text of 1 to 255 characters of ASCII.
    Subject,
}

impl fmt::Display for IdTokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the ID token is no compact JWS of JSON objects",
            Self::Type => "the JWT is of another type than an ID token",
            Self::Algorithm => "the algorithm of the ID token is not allowed",
            Self::Key => "no key of the issuer fits the ID token",
            Self::Signature => "the signature of the ID token is wrong",
            Self::Issuer => "the ID token is of another issuer",
            Self::Audience => "the ID token is for another client",
            Self::Expired => "the ID token has expired",
            Self::Early => "the ID token comes from the future",
            Self::Nonce => "the nonce of the ID token is not the one that was sent",
            Self::Subject => "the ID token names no user",
        })
    }
}

impl core::error::Error for IdTokenError {}

#[cfg(all(test, feature = "aws-lc-rs"))]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::crypto::aws_lc::{AwsLc, SoftwareKey};
    use crate::crypto::{AlgSet, Signer as _};
    use crate::jws::encode_base64url;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const EXPECTED: Expected<'static> = Expected { issuer: "https://up.example.com", client_id: "us", nonce: "n-0S6" };

    fn claims() -> Value {
        json!({
            "iss": "https://up.example.com", "aud": "us", "sub": "248289761001", "nonce": "n-0S6",
            "iat": NOW.as_secs(), "exp": NOW.as_secs() + 300, "auth_time": NOW.as_secs() - 10, "email_verified": true,
        })
    }

    struct Issuer {
        key: SoftwareKey,
        keys: KeySet,
    }

    impl Issuer {
        fn new() -> Self {
            let key = SoftwareKey::generate(Alg::Es256).unwrap();
            let jwks = format!(r#"{{"keys":[{}]}}"#, key.public_jwk().to_json());
            let keys = KeySet::read_served(jwks.as_bytes(), &AwsLc, AlgSet::ALL).unwrap();
            Self { key, keys }
        }

        fn sign(&self, header: &Value, claims: &Value) -> String {
            let [header, claims] = [header, claims].map(|part| encode_base64url(part.to_string().as_bytes()));
            let signed = format!("{header}.{claims}");
            format!("{signed}.{}", encode_base64url(&self.key.sign(signed.as_bytes()).unwrap()))
        }

        fn verify(&self, text: &str) -> Result<IdClaims, IdTokenError> {
            IdToken::parse(text)?.verify(&self.keys, EXPECTED, NOW)
        }
    }

    #[test]
    fn what_it_says() {
        let issuer = Issuer::new();
        for header in
            [json!({"alg": "ES256"}), json!({"alg": "ES256", "typ": "JWT"}), json!({"alg": "ES256", "kid": "a"})]
        {
            let claims = issuer.verify(&issuer.sign(&header, &claims())).unwrap();
            assert_eq!(claims.subject(), "248289761001");
            assert_eq!(claims.auth_time(), Some(UnixTime::from_secs(NOW.as_secs() - 10)));
            assert!(claims.is_true("email_verified") && !claims.is_true("sub"));
            assert_eq!((claims.text("iss"), claims.text("iat")), (Some(EXPECTED.issuer), None));
        }
    }

    #[test]
    fn one_fault_of_the_header() {
        let issuer = Issuer::new();
        let good = json!({"alg": "ES256", "typ": "JWT"});
        for (name, value, error) in [
            ("alg", json!("none"), IdTokenError::Algorithm),
            ("alg", json!("HS256"), IdTokenError::Algorithm),
            ("alg", json!("RS256"), IdTokenError::Key),
            ("alg", Value::Null, IdTokenError::Algorithm),
            ("typ", json!("at+jwt"), IdTokenError::Type),
            ("typ", json!("logout+jwt"), IdTokenError::Type),
            ("typ", json!(1), IdTokenError::Type),
            ("crit", json!(["exp"]), IdTokenError::Malformed),
            ("b64", json!(true), IdTokenError::Malformed),
            ("kid", json!(1), IdTokenError::Malformed),
        ] {
            let mut header = good.clone();
            header[name] = value.clone();
            assert_eq!(issuer.verify(&issuer.sign(&header, &claims())).err(), Some(error), "{name}: {value}");
        }
        let text = issuer.sign(&good, &claims());
        let unsigned = text.rsplit_once('.').unwrap().0.to_owned() + ".";
        for (what, text, error) in [
            ("another signature", Issuer::new().sign(&good, &claims()), IdTokenError::Signature),
            ("no signature", unsigned, IdTokenError::Signature),
            ("nothing", String::new(), IdTokenError::Malformed),
            ("no JSON", "a.b.c".to_owned(), IdTokenError::Malformed),
            ("too long", "a".repeat(MAX_TOKEN + 1), IdTokenError::Malformed),
        ] {
            assert_eq!(issuer.verify(&text).err(), Some(error), "{what}");
        }
    }

    #[test]
    fn one_fault_of_the_claims() {
        let issuer = Issuer::new();
        let now = NOW.as_secs();
        for (name, value, error) in [
            ("iss", json!("https://up.example.com/"), Some(IdTokenError::Issuer)),
            ("iss", json!("https://UP.example.com"), Some(IdTokenError::Issuer)),
            ("iss", Value::Null, Some(IdTokenError::Issuer)),
            ("aud", json!("them"), Some(IdTokenError::Audience)),
            ("aud", json!(["us"]), None),
            ("aud", json!(["us", "them"]), Some(IdTokenError::Audience)),
            ("aud", json!([]), Some(IdTokenError::Audience)),
            ("aud", json!({"us": 1}), Some(IdTokenError::Audience)),
            ("azp", json!("us"), None),
            ("azp", json!("them"), Some(IdTokenError::Audience)),
            ("azp", json!(null), Some(IdTokenError::Audience)),
            ("exp", json!(now - 60), Some(IdTokenError::Expired)),
            ("exp", json!(now - 59), None),
            ("exp", json!("soon"), Some(IdTokenError::Malformed)),
            ("iat", json!(now - 601), Some(IdTokenError::Expired)),
            ("iat", json!(now + 60), None),
            ("iat", json!(now + 61), Some(IdTokenError::Early)),
            ("nbf", json!(now + 61), Some(IdTokenError::Early)),
            ("nonce", json!("n-0S7"), Some(IdTokenError::Nonce)),
            ("nonce", json!(""), Some(IdTokenError::Nonce)),
            ("nonce", Value::Null, Some(IdTokenError::Nonce)),
            ("sub", json!(""), Some(IdTokenError::Subject)),
            ("sub", json!("a".repeat(256)), Some(IdTokenError::Subject)),
            ("sub", json!("ä"), Some(IdTokenError::Subject)),
            ("sub", json!(7), Some(IdTokenError::Subject)),
            ("auth_time", json!("never"), Some(IdTokenError::Malformed)),
            ("auth_time", json!(now + 60), None),
            ("auth_time", json!(now + 61), Some(IdTokenError::Early)),
        ] {
            let mut claims = claims();
            claims[name] = value.clone();
            assert_eq!(issuer.verify(&issuer.sign(&json!({"alg": "ES256"}), &claims)).err(), error, "{name}: {value}");
        }
        let mut without = claims();
        without.as_object_mut().unwrap().remove("exp");
        assert_eq!(
            issuer.verify(&issuer.sign(&json!({"alg": "ES256"}), &without)).err(),
            Some(IdTokenError::Malformed)
        );
        let text = issuer.sign(&json!({"alg": "ES256"}), &claims());
        let expected = Expected { nonce: "", ..EXPECTED };
        let found = IdToken::parse(&text).unwrap().verify(&issuer.keys, expected, NOW);
        assert_eq!(found.err(), Some(IdTokenError::Nonce), "who has sent none takes none");
    }
}
