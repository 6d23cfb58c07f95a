//! The `Authorization` field by its grammar, and tokens where they must not be.

use core::fmt;

use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use sha2::{Digest as _, Sha256};

use super::{Origin, ResourceRequest, form_holds_token};
use crate::challenge;
use crate::refusal::{Reason, Refusal};

/// The longest access token that is read, in octets.
pub const MAX_TOKEN: usize = 16 * 1024;

/// An access token as it came, unverified. It prints as `AccessToken(..)`.
#[derive(Clone, Copy)]
pub struct AccessToken<'r>(&'r str);

impl<'r> AccessToken<'r> {
    /// A token that is one token68; `None` otherwise.
    pub fn parse(text: &'r str) -> Option<Self> {
        token68(text.as_bytes()).map(Self)
    }

    /// The token itself.
    pub const fn secret(self) -> &'r str {
        self.0
    }

    /// SHA-256 of its octets as received: what `ath` holds (R-TOK-04), and a name to remember it by.
    pub fn hash(self) -> [u8; 32] {
        Sha256::digest(self.0.as_bytes()).into()
    }
}

impl fmt::Debug for AccessToken<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AccessToken(..)")
    }
}

/// The credentials that came with a request to a protected resource.
#[derive(Debug)]
#[non_exhaustive]
pub enum Presented<'r> {
    /// `Authorization: DPoP`, with one proof.
    Dpop(ResourceRequest<'r>),
    /// `Authorization: Bearer`. Whether that is allowed is said by the token's `cnf`.
    Bearer(AccessToken<'r>),
}

impl<'r> Presented<'r> {
    /// Reads credentials, then exactly one proof field, in the precedence of R-ERR-20.
    ///
    /// `origin` is what clients aim at. The body is not looked at: see [`form_holds_token`].
    ///
    /// # Errors
    ///
    /// [`Reason::HostInvalid`] for two `Host` fields; [`Reason::CredentialsRepeated`], [`Reason::CredentialsQuery`],
    /// [`Reason::CredentialsMissing`], [`Reason::CredentialsMalformed`]; and for the DPoP scheme those of the proof field and
    /// of the path.
    pub fn read(parts: &'r Parts, origin: &'r Origin) -> Result<Self, Refusal> {
        if parts.headers.get_all(HOST).iter().nth(1).is_some() {
            return Err(Reason::HostInvalid.into());
        }
        let mut fields = parts.headers.get_all(AUTHORIZATION).iter();
        let field = fields.next();
        if fields.next().is_some() {
            return Err(Reason::CredentialsRepeated.into());
        }
        let in_query = parts.uri.query().is_some_and(|query| form_holds_token(query.as_bytes()));
        let (scheme, rest) = match field.and_then(|field| scheme(field.as_bytes())) {
            Some(_) if in_query => return Err(Reason::CredentialsRepeated.into()),
            None if in_query => return Err(Reason::CredentialsQuery.into()),
            None => return Err(Reason::CredentialsMissing.into()),
            Some(credentials) => credentials,
        };
        let token = token(rest)?;
        match scheme {
            Scheme::Dpop => ResourceRequest::read(parts, origin, token).map(Self::Dpop),
            Scheme::Bearer => Ok(Self::Bearer(token)),
        }
    }

    /// The access token.
    pub const fn access_token(&self) -> AccessToken<'r> {
        match self {
            Self::Dpop(request) => request.token,
            Self::Bearer(token) => *token,
        }
    }

    /// The access token of the one `Authorization` field, whatever is wrong with the rest of the request: for a log, to say
    /// whose it was.
    pub fn token_of(headers: &http::HeaderMap) -> Option<AccessToken<'_>> {
        let mut fields = headers.get_all(AUTHORIZATION).iter();
        let field = fields.next().filter(|_| fields.next().is_none())?;
        token(scheme(field.as_bytes())?.1).ok()
    }

    /// The scheme of the credentials, whatever else is wrong with them: it says which challenge holds the error.
    pub fn scheme(headers: &http::HeaderMap) -> challenge::Scheme {
        match headers.get(AUTHORIZATION).and_then(|field| scheme(field.as_bytes())) {
            Some((Scheme::Dpop, _)) => challenge::Scheme::Dpop,
            Some((Scheme::Bearer, _)) => challenge::Scheme::Bearer,
            None => challenge::Scheme::None,
        }
    }
}

#[derive(Clone, Copy)]
enum Scheme {
    Dpop,
    Bearer,
}

/// The scheme, in any letter case, and what follows it; `None` for a scheme that is not ours.
fn scheme(value: &[u8]) -> Option<(Scheme, &[u8])> {
    let value = trim(value);
    let end = value.iter().position(|octet| !is_tchar(*octet)).unwrap_or(value.len());
    let (name, rest) = value.split_at_checked(end)?;
    if name.eq_ignore_ascii_case(b"dpop") {
        Some((Scheme::Dpop, rest))
    } else if name.eq_ignore_ascii_case(b"bearer") {
        Some((Scheme::Bearer, rest))
    } else {
        None
    }
}

/// One or more spaces and one token68 (R-RS-02).
fn token(rest: &[u8]) -> Result<AccessToken<'_>, Refusal> {
    let blanks = rest.iter().take_while(|octet| **octet == b' ').count();
    let (_, token) = rest.split_at_checked(blanks).filter(|_| blanks > 0).ok_or(Reason::CredentialsMalformed)?;
    if token.len() > MAX_TOKEN {
        return Err(Reason::TokenOversized.into());
    }
    token68(token).map(AccessToken).ok_or_else(|| Reason::CredentialsMalformed.into())
}

/// Without the optional white space around a field value.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let blank = |octet: &u8| matches!(octet, b' ' | b'\t');
    let start = value.iter().take_while(|octet| blank(octet)).count();
    let value = value.get(start..).unwrap_or_default();
    let end = value.iter().rev().take_while(|octet| blank(octet)).count();
    value.get(..value.len().saturating_sub(end)).unwrap_or_default()
}

/// `1*( ALPHA / DIGIT / "-" / "." / "_" / "~" / "+" / "/" ) *"="` (RFC 9110 section 11.2), or nothing.
pub(super) fn token68(octets: &[u8]) -> Option<&str> {
    let fine = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let padding = octets.iter().rev().take_while(|octet| **octet == b'=').count();
    let body = octets.get(..octets.len().saturating_sub(padding))?;
    // Not `all`: without a way out in the middle, many octets are looked at in one step.
    let all_fine = body.iter().fold(true, |so_far, octet| so_far & fine(*octet));
    if body.is_empty() || !all_fine {
        return None;
    }
    core::str::from_utf8(octets).ok()
}

const fn is_tchar(octet: u8) -> bool {
    octet.is_ascii_alphanumeric()
        || matches!(
            octet,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn read(fields: &[(&str, &str)], uri: &str) -> Result<String, Reason> {
        let origin: Origin = "https://api.example.com".parse().unwrap();
        let mut request = Request::get(uri);
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        match Presented::read(&parts, &origin) {
            Ok(Presented::Dpop(request)) => Ok(format!("DPoP {}", request.token.secret())),
            Ok(Presented::Bearer(token)) => Ok(format!("Bearer {}", token.secret())),
            Err(refusal) => Err(refusal.reason()),
        }
    }

    // R-RS-01, R-RS-02, R-RS-03, R-RS-10, R-RS-11, R-RS-12, R-ERR-09, R-ERR-20
    #[test]
    fn credentials_by_the_grammar() {
        use Reason::*;
        let dpop = |value| [("authorization", value), ("dpop", "a.b.c")];
        for (value, expected) in [
            ("DPoP abc", Ok("DPoP abc")),
            ("dpop abc", Ok("DPoP abc")),
            ("DPOP    abc==", Ok("DPoP abc==")),
            ("bEaReR abc", Ok("Bearer abc")),
            ("DPoP abc ", Ok("DPoP abc")),
            ("DPoP", Err(CredentialsMalformed)),
            ("DPoP ", Err(CredentialsMalformed)),
            ("DPoP\tabc", Err(CredentialsMalformed)),
            ("DPoP a b", Err(CredentialsMalformed)),
            ("DPoP a,b", Err(CredentialsMalformed)),
            ("DPoP \"a\"", Err(CredentialsMalformed)),
            ("DPoP a=b", Err(CredentialsMalformed)),
            ("DPoP =", Err(CredentialsMalformed)),
            ("DPoP,abc", Err(CredentialsMalformed)),
            ("Bearer", Err(CredentialsMalformed)),
            ("Basic YTpi", Err(CredentialsMissing)),
            ("DPoPx abc", Err(CredentialsMissing)),
            ("", Err(CredentialsMissing)),
        ] {
            assert_eq!(read(&dpop(value), "/"), expected.map(str::to_owned), "{value:?}");
        }
    }

    #[test]
    fn one_way_of_sending_a_token() {
        use Reason::*;
        let token = ("authorization", "DPoP abc");
        let proof = ("dpop", "a.b.c");
        for (fields, uri, expected) in [
            (&[token, token, proof][..], "/", CredentialsRepeated),
            (&[token, ("authorization", "Bearer abc"), proof], "/", CredentialsRepeated),
            (&[token, proof], "/?access_token=abc", CredentialsRepeated),
            (&[token, proof], "/?x=1&access%5ftoken=abc", CredentialsRepeated),
            (&[], "/?access_token=abc", CredentialsQuery),
            (&[("proxy-authorization", "DPoP abc"), proof], "/", CredentialsMissing),
            (&[proof], "/", CredentialsMissing),
            (&[token], "/", ProofMissing),
            (&[token, proof, proof], "/", ProofRepeated),
            (&[token, ("dpop", "a.b.c, a.b.c")], "/", ProofRepeated),
            (&[token, ("dpop", "")], "/", ProofMalformed),
            (&[token, ("dpop", "a b")], "/", ProofMalformed),
            (&[token, proof, ("host", "a"), ("host", "b")], "/", HostInvalid),
            (&[token, proof], "/a%zz", PathMalformed),
        ] {
            assert_eq!(read(fields, uri), Err(expected), "{fields:?} {uri}");
        }
    }

    #[test]
    fn lengths_are_bounded() {
        let long = format!("DPoP {}", "a".repeat(MAX_TOKEN + 1));
        assert_eq!(read(&[("authorization", &long), ("dpop", "a")], "/"), Err(Reason::TokenOversized));
        let long = "a".repeat(super::super::MAX_PROOF + 1);
        assert_eq!(read(&[("authorization", "DPoP a"), ("dpop", &long)], "/"), Err(Reason::ProofOversized));
    }

    #[test]
    fn a_token_does_not_show() {
        let token = AccessToken::parse("secretsecret").unwrap();
        assert_eq!(format!("{token:?}"), "AccessToken(..)");
    }
}
