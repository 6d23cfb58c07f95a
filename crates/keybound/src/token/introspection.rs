//! What an issuer says of a token when it is asked (RFC 7662), plain or signed (RFC 9701). The binding in the answer is
//! checked like that of a JWT, by the resource server itself (R-RS-21). Asking is the caller's.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use super::jwt::{self, KeySet};
use super::{Confirmation, TokenFacts, TokenPolicy, audience};
use crate::crypto::Alg;
use crate::jws::json::{Object, Value};
use crate::jws::{Compact, decode_base64url};
use crate::proof::Seconds;
use crate::refusal::{Denial, Fault, Reason};
use crate::time::UnixTime;

/// The media type of a signed answer, for `Accept` (RFC 9701 section 4).
pub const SIGNED_ANSWER: &str = "application/token-introspection+jwt";

/// How long after it was made a signed answer may come. One that somebody kept tells of a token as it was.
const MAX_AGE: Duration = Duration::from_secs(5 * 60);

/// By how much the issuer's clock may be ahead of ours.
const LEEWAY: Duration = Duration::from_secs(60);

/// What an answer that names no audience is worth. `aud` is optional there (RFC 7662 section 2.2), and an issuer with several
/// resources that leaves it out does not say for which of them the token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MissingAudience {
    /// The token is refused (R-RS-15).
    Refuse,
    /// The issuer answers each resource only about its own tokens: the token is for us.
    Accept,
}

/// Reads the JSON of an introspection answer that came over an authenticated connection. What it says of issuer, audience
/// and times is judged by [`TokenFacts::judge`], as for a JWT.
///
/// ```
/// use keybound::refusal::Reason;
/// use keybound::token::TokenPolicy;
/// use keybound::token::introspection::{MissingAudience, read_answer};
///
/// let policy = TokenPolicy::new("https://id.example.com", ["https://api.example.com"]);
/// let denied = read_answer(br#"{"active":false}"#, &policy, MissingAudience::Refuse).unwrap_err();
/// assert_eq!(denied.code(), Reason::TokenInactive.code());
/// ```
///
/// # Errors
///
/// [`Reason::TokenInactive`] unless `active` is `true`; [`Reason::TokenClaims`] for a member of the wrong type, or if nobody is
/// named that the token speaks for; [`Fault::IntrospectionUnavailable`] if this is no answer at all.
pub fn read_answer(text: &[u8], policy: &TokenPolicy, missing: MissingAudience) -> Result<Arc<TokenFacts>, Denial> {
    let answer = Object::parse(text).map_err(|_| Fault::IntrospectionUnavailable)?;
    TokenFacts::of_introspection(&answer, policy, missing).map(Arc::new)
}

/// A signed answer (RFC 9701 section 5) whose header was read and whose signature was not checked. It is of a type of its own,
/// so that it is never taken for an access token, nor the other way round.
pub struct SignedAnswer<'t> {
    compact: Compact<'t>,
    alg: Alg,
    kid: Option<Box<str>>,
}

impl<'t> SignedAnswer<'t> {
    /// Reads the header: `typ` is `token-introspection+jwt`, `alg` is asymmetric, nothing critical.
    ///
    /// # Errors
    ///
    /// [`Fault::IntrospectionUnavailable`] (R-RS-25).
    pub fn parse(text: &'t str) -> Result<Self, Fault> {
        let compact = Compact::split(text).map_err(|_| Fault::IntrospectionUnavailable)?;
        let types = ["token-introspection+jwt", SIGNED_ANSWER];
        let (alg, kid) = jwt::header(&compact, types).map_err(|_| Fault::IntrospectionUnavailable)?;
        Ok(Self { compact, alg, kid })
    }

    /// Whether `keys` has a key this answer may be signed with. If not, the issuer may have turned its keys.
    pub fn finds_key(&self, keys: &KeySet) -> bool {
        keys.finds(self.alg, self.kid.as_deref())
    }

    /// Checks signature, issuer, audience and that it was made just now, and reads the answer inside as [`read_answer`] does.
    /// `client_id` is the name we asked under, which the answer is for. It does not say which token it is about: whoever
    /// could exchange answers on their way would still do so within the five minutes that one is good.
    ///
    /// # Errors
    ///
    /// [`Fault::IntrospectionUnavailable`] if the answer is not that issuer's, not for us or not of now, else those of
    /// [`read_answer`].
    pub fn read(
        &self,
        keys: &KeySet,
        client_id: &str,
        policy: &TokenPolicy,
        missing: MissingAudience,
        now: UnixTime,
    ) -> Result<Arc<TokenFacts>, Denial> {
        let none = Fault::IntrospectionUnavailable;
        keys.check(&self.compact, self.alg, self.kid.as_deref()).map_err(|_| none)?;
        let octets = decode_base64url(self.compact.payload).map_err(|_| none)?;
        let claims = Object::parse(&octets).map_err(|_| none)?;
        let ours = claims.get("aud").and_then(|value| audience(value).ok());
        let for_us = ours.is_some_and(|audience| audience.iter().any(|name| **name == *client_id));
        if claims.get("iss").and_then(Value::as_str) != Some(policy.issuer()) || !for_us || !is_of_now(&claims, now) {
            return Err(none.into());
        }
        let answer = claims.get("token_introspection").and_then(Value::as_object).ok_or(none)?;
        TokenFacts::of_introspection(answer, policy, missing).map(Arc::new)
    }
}

/// Whether an answer was made just now, as `iat` says (RFC 9701 section 5), and is good by the times that any JWT may have
/// (RFC 7519 section 4.1).
fn is_of_now(claims: &Object<'_>, now: UnixTime) -> bool {
    let time = |name| claims.get(name).map(Seconds::read);
    let made = match time("iat") {
        Some(Some(made)) => made.ceil() <= now.plus(LEEWAY) && now <= made.floor().plus(MAX_AGE),
        _ => false,
    };
    let lasts = time("exp").is_none_or(|end| end.is_some_and(|end| now < end.floor().plus(LEEWAY)));
    let began = time("nbf").is_none_or(|start| start.is_some_and(|start| start.ceil() <= now.plus(LEEWAY)));
    made && lasts && began
}

impl fmt::Debug for SignedAnswer<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedAnswer({}, kid {:?})", self.alg, self.kid)
    }
}

impl TokenFacts {
    fn of_introspection(answer: &Object<'_>, policy: &TokenPolicy, missing: MissingAudience) -> Result<Self, Denial> {
        if answer.get("active").and_then(Value::as_bool) != Some(true) {
            return Err(Reason::TokenInactive.into());
        }
        let text = |name| match answer.get(name) {
            None => Ok(None),
            Some(value) => value.as_str().map(Some).ok_or(Reason::TokenClaims),
        };
        let time = |name| answer.get(name).map(|value| Seconds::read(value).ok_or(Reason::TokenClaims)).transpose();
        let client_id = text("client_id")?;
        Ok(Self {
            issuer: text("iss")?.unwrap_or(policy.issuer()).into(),
            subject: text("sub")?.or(client_id).ok_or(Reason::TokenClaims)?.into(),
            client_id: client_id.unwrap_or_default().into(),
            scope: text("scope")?.unwrap_or_default().into(),
            audience: match (answer.get("aud"), missing) {
                (Some(value), _) => audience(value)?,
                (None, MissingAudience::Accept) => policy.audience().map(Box::from).collect(),
                (None, MissingAudience::Refuse) => Vec::new(),
            },
            expires: time("exp")?.map_or(UnixTime::MAX, Seconds::floor),
            not_before: time("nbf")?.map(Seconds::ceil),
            confirmation: confirmation(answer, text("token_type")?),
            claims: answer.to_json(),
        })
    }
}

/// What `cnf` says, unless `token_type` says something else: of a token that is said to be of both kinds nobody knows which it
/// is (R-RS-05, R-RS-22).
fn confirmation(answer: &Object<'_>, token_type: Option<&str>) -> Confirmation {
    let confirmation = Confirmation::read(answer.get("cnf"));
    let bound = token_type.map(|kind| kind.eq_ignore_ascii_case("dpop"));
    match (confirmation, bound) {
        (Confirmation::Jkt(_), Some(false)) | (Confirmation::Absent, Some(true)) => Confirmation::Unusable,
        _ => confirmation,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JKT: &str = "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I";
    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    fn policy() -> TokenPolicy {
        TokenPolicy::new("https://id.example.com", ["https://api.example.com"])
    }

    fn judged(members: &str, missing: MissingAudience) -> Result<Confirmation, String> {
        let text = format!("{{{members}}}");
        let code = |denial: Denial| denial.code().to_owned();
        let facts = read_answer(text.as_bytes(), &policy(), missing).map_err(code)?;
        let _valid = facts.judge(&policy(), NOW).map_err(|refusal| code(refusal.into()))?;
        Ok(*facts.confirmation())
    }

    // R-RS-05, R-RS-09, R-RS-14, R-RS-15, R-RS-17, R-RS-21, R-RS-22
    #[test]
    fn answers() {
        let full = format!(
            r#""active":true,"iss":"https://id.example.com","aud":"https://api.example.com","sub":"s","client_id":"c","exp":1700000060,"token_type":"DPoP","cnf":{{"jkt":"{JKT}"}}"#
        );
        let jkt = Confirmation::Jkt(JKT.parse().unwrap());
        assert_eq!(judged(&full, MissingAudience::Refuse), Ok(jkt));
        let refused = |code: &str| Err(code.to_owned());
        let exchange = |from: &str, to: &str| {
            assert!(full.contains(from), "{from}");
            judged(&full.replacen(from, to, 1), MissingAudience::Refuse)
        };
        for (from, to, expected) in [
            (r#""active":true"#, r#""active":false"#, refused("token.inactive")),
            (r#""active":true"#, r#""active":"true""#, refused("token.inactive")),
            (r#""active":true"#, r#""active":1"#, refused("token.inactive")),
            (r#""active":true,"#, "", refused("token.inactive")),
            (r#""active":true"#, r#""active":true,"active":true"#, refused("introspection.unavailable")),
            ("id.example.com", "evil.example.com", refused("token.issuer")),
            (r#""iss":"https://id.example.com","#, "", Ok(jkt)),
            ("api.example.com", "other.example.com", refused("token.audience")),
            (r#""https://api.example.com""#, r#"["a","https://api.example.com"]"#, Ok(jkt)),
            (r#""https://api.example.com""#, "[]", refused("token.claims")),
            (r#""aud":"https://api.example.com","#, "", refused("token.audience")),
            ("1700000060", "1699999990", refused("token.expired")),
            ("1700000060", r#""1700000060""#, refused("token.claims")),
            (r#""exp":1700000060,"#, "", Ok(jkt)),
            (r#""exp":1700000060"#, r#""exp":1700000060,"nbf":1700000050"#, refused("token.early")),
            (r#""sub":"s","#, "", Ok(jkt)),
            (r#""sub":"s","client_id":"c","#, "", refused("token.claims")),
            (r#""DPoP""#, r#""dpop""#, Ok(jkt)),
            (r#""token_type":"DPoP","#, "", Ok(jkt)),
            (r#""DPoP""#, r#""Bearer""#, Ok(Confirmation::Unusable)),
            (r#""DPoP""#, "7", refused("token.claims")),
            (JKT, "short", Ok(Confirmation::Unusable)),
        ] {
            assert_eq!(exchange(from, to), expected, "{from} -> {to}");
        }
        let lone = r#""active":true,"sub":"s""#;
        assert_eq!(judged(lone, MissingAudience::Accept), Ok(Confirmation::Absent));
        let unbound = format!(r#"{lone},"token_type":"DPoP""#);
        assert_eq!(judged(&unbound, MissingAudience::Accept), Ok(Confirmation::Unusable));
        for text in ["", "[]", "null", "<html>", r#"{"active":true}x"#] {
            let denial = read_answer(text.as_bytes(), &policy(), MissingAudience::Accept).unwrap_err();
            assert_eq!(denial, Denial::Failed(Fault::IntrospectionUnavailable), "{text:?}");
        }
    }
}
