//! Authorization requests as a signed JWT (RFC 9101): read strictly, verified with the client's registered keys. Its claims are
//! the parameters; it may be sent more than once, and what comes of it is bound to whoever has the code.

use core::fmt;

use super::assertion::ALLOWANCE;
use crate::crypto::Alg;
use crate::jws::json::{Object, Value};
use crate::jws::{Compact, decode_base64url};
use crate::proof::{self, Seconds};
use crate::refusal::{Reason, Refusal};
use crate::time::UnixTime;
use crate::token::jwt::KeySet;

/// An object with a long scope and a certificate chain in its header is about 8 KiB.
const MAX_OBJECT: usize = 16 * 1024;

/// Members that speak of the JWT itself and are no parameters.
const OF_THE_JWT: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// A request object whose signature was not checked.
///
/// ```
/// use keybound::authorization_server::RequestObject;
/// use keybound::refusal::Reason;
///
/// assert_eq!(RequestObject::parse("a.b.c").unwrap_err().reason(), Reason::RequestObject);
/// ```
pub struct RequestObject<'a> {
    compact: Compact<'a>,
    alg: Alg,
    kid: Option<Box<str>>,
}

impl<'a> RequestObject<'a> {
    /// Reads the header: an asymmetric `alg`, no other type of JWT, nothing critical.
    ///
    /// # Errors
    ///
    /// [`Reason::RequestObject`]; the detail says what is wrong.
    pub fn parse(text: &'a str) -> Result<Self, Refusal> {
        if text.len() > MAX_OBJECT {
            return Err(refused("the request object is too long"));
        }
        let malformed = || refused("the request object is not one compact JWS of JSON objects");
        let compact = Compact::split(text).map_err(|_| malformed())?;
        let header = decode_base64url(compact.header).map_err(|_| malformed())?;
        let header = Object::parse(&header).map_err(|_| malformed())?;
        let known = |typ: &str| ["oauth-authz-req+jwt", "JWT"].iter().any(|known| typ.eq_ignore_ascii_case(known));
        if header.get("typ").is_some_and(|typ| !typ.as_str().is_some_and(known)) {
            return Err(refused("the JWT is of another type than a request object"));
        }
        if header.contains("crit") || header.contains("b64") {
            return Err(refused("the request object has header parameters that change its meaning"));
        }
        let alg = proof::alg(header.get("alg")).map_err(|_| refused("alg is no asymmetric algorithm"))?;
        let kid = match header.get("kid") {
            None => None,
            Some(kid) => Some(kid.as_str().ok_or_else(|| refused("kid is no string"))?.into()),
        };
        Ok(Self { compact, alg, kid })
    }

    /// Verifies the signature with the keys of the client, who it is from and for, and its times; `exp` has to be there. The
    /// parameters, which are texts or numbers.
    ///
    /// # Errors
    ///
    /// [`Reason::RequestObject`]; the detail says what is wrong.
    pub fn verify(
        &self,
        keys: &KeySet,
        client_id: &str,
        issuer: &str,
        now: UnixTime,
    ) -> Result<Vec<(String, String)>, Refusal> {
        keys.check(&self.compact, self.alg, self.kid.as_deref())
            .map_err(|_| refused("no key of the client verifies the request object"))?;
        let malformed = || refused("the payload of the request object is no JSON object");
        let payload = decode_base64url(self.compact.payload).map_err(|_| malformed())?;
        let claims = Object::parse(&payload).map_err(|_| malformed())?;
        let text = |name| claims.get(name).and_then(Value::as_str);
        // RFC 9101 section 5: with client_id the same as outside, and in no case another one's.
        if text("iss") != Some(client_id) || text("client_id") != Some(client_id) {
            return Err(refused("iss and client_id of the request object are not both the client"));
        }
        if !is_for(claims.get("aud"), issuer) {
            return Err(refused("the request object is for another server"));
        }
        times(&claims, now)?;
        if claims.contains("request") || claims.contains("request_uri") {
            return Err(refused("the request object holds another one"));
        }
        let parameters = claims.iter().filter(|(name, _)| !OF_THE_JWT.contains(name));
        parameters.map(|(name, value)| Ok((name.to_owned(), parameter(value)?))).collect()
    }
}

fn is_for(aud: Option<&Value<'_>>, issuer: &str) -> bool {
    let one = |value: &Value<'_>| value.as_str() == Some(issuer);
    aud.is_some_and(|aud| aud.as_array().map_or_else(|| one(aud), |all| all.iter().any(one)))
}

fn times(claims: &Object<'_>, now: UnixTime) -> Result<(), Refusal> {
    let time = |name| {
        let value = claims.get(name);
        value
            .map(|value| Seconds::read(value).ok_or_else(|| refused("a time of the request object is no number")))
            .transpose()
    };
    let expires = time("exp")?.ok_or_else(|| refused("the request object has no exp"))?.floor();
    if now >= expires.plus(ALLOWANCE) {
        return Err(refused("the request object has expired"));
    }
    let early = |time: Option<Seconds>| time.is_some_and(|time| time.ceil() > now.plus(ALLOWANCE));
    if early(time("nbf")?) || early(time("iat")?) {
        return Err(refused("the request object comes from the future"));
    }
    Ok(())
}

fn parameter(value: &Value<'_>) -> Result<String, Refusal> {
    match value.to_json() {
        serde_json::Value::String(text) => Ok(text),
        serde_json::Value::Number(number) => Ok(number.to_string()),
        _ => Err(refused("a parameter of the request object is neither text nor number")),
    }
}

impl fmt::Debug for RequestObject<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestObject").field("alg", &self.alg).finish_non_exhaustive()
    }
}

fn refused(why: &str) -> Refusal {
    Refusal::with_detail(Reason::RequestObject, why)
}
