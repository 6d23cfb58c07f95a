//! Challenges and nonces of a response, read by the grammar of RFC 9110 section 11.6.1.

use core::fmt;
use core::str::FromStr as _;

use http::HeaderMap;
use http::header::WWW_AUTHENTICATE;

use super::{DPOP_NONCE, ErrorCode};
use crate::crypto::{Alg, AlgSet};
use crate::nonce::Nonce;

/// The longest field line we read; servers and proxies rarely take more than that for all fields together.
const MAX_LINE: usize = 8 * 1024;

/// Field lines looked at in one response.
const MAX_LINES: usize = 16;

/// Challenges in one field line; a server has a handful of schemes.
const MAX_CHALLENGES: usize = 16;

/// Parameters of one challenge.
const MAX_PARAMS: usize = 32;

/// One challenge of a `WWW-Authenticate` field.
///
/// ```
/// use keybound::challenge::parse_challenges;
///
/// let challenges = parse_challenges([r#"Bearer realm="see DPoP", dpop ALGS="ES256""#]);
/// assert_eq!(challenges.len(), 2);
/// assert!(challenges[1].is("DPoP"));
/// assert_eq!(challenges[1].param("algs"), Some("ES256"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: Box<str>,
    token68: Option<Box<str>>,
    params: Vec<(Box<str>, Box<str>)>,
}

impl Challenge {
    /// The scheme, as it was spelled.
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Whether it is of this scheme, in any letter case (RFC 9110 section 11.1).
    pub fn is(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// The value of a parameter, its name in any letter case, the value with quotes and escapes taken off.
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params.iter().find_map(|(known, value)| known.eq_ignore_ascii_case(name).then_some(&**value))
    }

    /// The parameters in their order, as they were spelled.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        self.params.iter().map(|(name, value)| (&**name, &**value))
    }

    /// The value of a scheme that has one value in place of parameters (RFC 9110 section 11.2).
    pub fn token68(&self) -> Option<&str> {
        self.token68.as_deref()
    }
}

/// A field line that is not a list of challenges, is too long, or names a parameter twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MalformedChallenge {
    /// At which octet of the line reading ended.
    pub position: usize,
}

impl fmt::Display for MalformedChallenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a list of challenges from octet {} on", self.position)
    }
}

impl core::error::Error for MalformedChallenge {}

/// The challenges of all field lines, in their order.
///
/// A malformed line gives no challenge at all, not even those before its fault, and does not spoil the other lines: what a
/// broken line meant is anybody's guess, and a guess would let quoted text pass for a challenge (R-CLI-15). Lines after the
/// sixteenth are not looked at.
pub fn parse_challenges<'l>(lines: impl IntoIterator<Item = &'l str>) -> Vec<Challenge> {
    lines.into_iter().take(MAX_LINES).filter_map(|line| parse_line(line).ok()).flatten().collect()
}

/// The challenges of one field line.
///
/// # Errors
///
/// [`MalformedChallenge`].
pub fn parse_line(line: &str) -> Result<Vec<Challenge>, MalformedChallenge> {
    let mut reader = Reader { rest: line };
    let challenges = if line.len() > MAX_LINE { None } else { reader.challenges() };
    challenges.ok_or_else(|| MalformedChallenge { position: line.len().saturating_sub(reader.rest.len()) })
}

/// The DPoP challenge of a response (RFC 9449 section 7.1).
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use keybound::challenge::{DpopChallenge, ErrorCode};
///
/// let mut headers = HeaderMap::new();
/// headers.append("www-authenticate", HeaderValue::from_static(r#"Bearer, DPoP error="use_dpop_nonce""#));
/// let challenge = DpopChallenge::find(&headers).unwrap();
/// assert_eq!(challenge.error(), Some(ErrorCode::UseDpopNonce));
/// assert_eq!(challenge.algs(), None);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DpopChallenge(Challenge);

impl DpopChallenge {
    /// The DPoP challenge, wherever it stands. If there are several, the first one that has an `error`, else the first.
    pub fn find(headers: &HeaderMap) -> Option<Self> {
        let lines: Vec<_> = headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .take(MAX_LINES)
            .map(|value| String::from_utf8_lossy(value.as_bytes()))
            .collect();
        let mut challenges = parse_challenges(lines.iter().map(|line| &**line));
        challenges.retain(|challenge| challenge.is("DPoP"));
        let chosen = challenges.iter().position(|challenge| challenge.param("error").is_some()).unwrap_or(0);
        challenges.into_iter().nth(chosen).map(Self)
    }

    /// The error, if it is one this crate knows.
    pub fn error(&self) -> Option<ErrorCode> {
        self.error_text().and_then(|error| ErrorCode::from_str(error).ok())
    }

    /// The error as it was sent.
    pub fn error_text(&self) -> Option<&str> {
        self.0.param("error")
    }

    /// What the server says of the error; text of a stranger.
    pub fn error_description(&self) -> Option<&str> {
        self.0.param("error_description")
    }

    /// The algorithms the server accepts; names we do not know are left out. `None` if it does not say.
    pub fn algs(&self) -> Option<AlgSet> {
        self.0.param("algs").map(|names| names.split(' ').filter_map(Alg::from_name).collect())
    }

    /// The scope the resource asks for.
    pub fn scope(&self) -> Option<&str> {
        self.0.param("scope")
    }

    /// Where the metadata of the resource is (RFC 9728 section 5.1); not looked at yet whether it is an URI.
    pub fn resource_metadata(&self) -> Option<&str> {
        self.0.param("resource_metadata")
    }

    /// The challenge, for parameters that have no method here.
    pub const fn challenge(&self) -> &Challenge {
        &self.0
    }
}

/// What a response says about the next nonce.
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use keybound::challenge::{NonceField, nonce_of};
///
/// let mut headers = HeaderMap::new();
/// assert_eq!(nonce_of(&headers), NonceField::None);
/// headers.append("dpop-nonce", HeaderValue::from_static("n-1"));
/// assert!(matches!(nonce_of(&headers), NonceField::One(nonce) if nonce.as_str() == "n-1"));
/// headers.append("dpop-nonce", HeaderValue::from_static("n-2"));
/// assert_eq!(nonce_of(&headers), NonceField::Several);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceField {
    /// There is no `DPoP-Nonce`.
    None,
    /// One well-formed nonce.
    One(Nonce),
    /// One field, whose value is no nonce or is too long.
    Malformed,
    /// More than one field: a server must not do that, and none of them is used (R-NONCE-02, R-NONCE-20).
    Several,
}

/// Reads the `DPoP-Nonce` of a response.
pub fn nonce_of(headers: &HeaderMap) -> NonceField {
    let mut fields = headers.get_all(&DPOP_NONCE).iter();
    match (fields.next(), fields.next()) {
        (None, _) => NonceField::None,
        (Some(_), Some(_)) => NonceField::Several,
        (Some(field), None) => {
            field.to_str().ok().and_then(Nonce::parse).map_or(NonceField::Malformed, NonceField::One)
        }
    }
}

/// What is left of a field line. Every method that answers `None` has met something outside of the grammar.
struct Reader<'l> {
    rest: &'l str,
}

impl<'l> Reader<'l> {
    /// `#challenge`. Parameters and challenges are told apart by what follows their first token: `=`, or not.
    fn challenges(&mut self) -> Option<Vec<Challenge>> {
        let mut challenges: Vec<Challenge> = Vec::new();
        loop {
            self.take_while(|octet| matches!(octet, b' ' | b'\t' | b','));
            if self.rest.is_empty() {
                return Some(challenges);
            }
            let token = self.token()?;
            let space = self.space();
            if self.rest.starts_with('=') {
                let value = self.value()?;
                add_param(challenges.last_mut()?, token, value)?;
            } else {
                if challenges.len() >= MAX_CHALLENGES {
                    return None;
                }
                challenges.push(self.challenge(token, space)?);
            }
            self.space();
            if !(self.rest.is_empty() || self.rest.starts_with(',')) {
                return None;
            }
        }
    }

    /// What stands behind a scheme: nothing, a token68, or the first parameter.
    fn challenge(&mut self, scheme: &str, space: &str) -> Option<Challenge> {
        let mut challenge = Challenge { scheme: scheme.into(), token68: None, params: Vec::new() };
        if self.rest.is_empty() || self.rest.starts_with(',') {
            return Some(challenge);
        }
        if space.is_empty() || space.contains('\t') {
            return None;
        }
        if let Some(token68) = self.token68() {
            challenge.token68 = Some(token68.into());
        } else {
            let name = self.token()?;
            self.space();
            let value = self.value()?;
            add_param(&mut challenge, name, value)?;
        }
        Some(challenge)
    }

    /// A token68 up to the end of its list element; nothing is taken if there is none.
    fn token68(&mut self) -> Option<&'l str> {
        let mut ahead = Reader { rest: self.rest };
        let text = ahead.take_while(|octet| octet.is_ascii_alphanumeric() || b"-._~+/".contains(&octet));
        let padding = ahead.take_while(|octet| octet == b'=');
        let whole = self.rest.get(..text.len().saturating_add(padding.len()))?;
        ahead.space();
        if text.is_empty() || !(ahead.rest.is_empty() || ahead.rest.starts_with(',')) {
            return None;
        }
        self.rest = ahead.rest;
        Some(whole)
    }

    /// `"=" BWS ( token / quoted-string )`
    fn value(&mut self) -> Option<Box<str>> {
        self.rest = self.rest.strip_prefix('=')?;
        self.space();
        if self.rest.starts_with('"') { self.quoted().map(Into::into) } else { self.token().map(Into::into) }
    }

    fn quoted(&mut self) -> Option<String> {
        let mut characters = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match characters.next()? {
                '"' => {
                    self.rest = characters.as_str();
                    return Some(text);
                }
                '\\' => text.push(characters.next().filter(is_quotable)?),
                character => text.push(Some(character).filter(is_quotable)?),
            }
        }
    }

    fn token(&mut self) -> Option<&'l str> {
        let token = self.take_while(|octet| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&octet));
        (!token.is_empty()).then_some(token)
    }

    fn space(&mut self) -> &'l str {
        self.take_while(|octet| matches!(octet, b' ' | b'\t'))
    }

    /// `wanted` says yes to ASCII alone, so that the cut is between characters.
    fn take_while(&mut self, wanted: impl Fn(u8) -> bool) -> &'l str {
        let end = self.rest.bytes().position(|octet| !wanted(octet)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken
    }
}

/// What may stand in a quoted-string, plain or behind a backslash.
const fn is_quotable(character: &char) -> bool {
    matches!(character, '\t' | ' '..='~' | '\u{80}'..)
}

fn add_param(challenge: &mut Challenge, name: &str, value: Box<str>) -> Option<()> {
    if challenge.token68.is_some() || challenge.params.len() >= MAX_PARAMS || challenge.param(name).is_some() {
        return None;
    }
    challenge.params.push((name.into(), value));
    Some(())
}

#[cfg(test)]
mod tests;
