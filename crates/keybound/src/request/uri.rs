//! URIs by RFC 3986, compared as octets of their normal form. Nothing is repaired, looked up or mapped.

use core::fmt;
use core::fmt::Write as _;
use core::net::{Ipv4Addr, Ipv6Addr};
use core::str::FromStr;
use std::borrow::Cow;

use crate::refusal::{Reason, Refusal};

/// The longest URI that is read, in octets.
const MAX_URI: usize = 8192;

/// An absolute http or https URI in normal form, without query and fragment: what `htu` is compared by (RFC 9449
/// section 4.3, RFC 3986 section 6.2).
///
/// ```
/// use keybound::request::TargetUri;
///
/// let sent = TargetUri::parse("HTTPS://Server.Example.com:443/a/./%7Euser?x=1")?;
/// assert_eq!(sent.as_str(), "https://server.example.com/a/~user");
/// assert_ne!(sent, TargetUri::parse("https://server.example.com/a/~user/")?);
/// assert!(TargetUri::parse("https://server.example.com\\@evil.example/").is_err());
/// # Ok::<(), keybound::request::UriError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct TargetUri {
    text: Box<str>,
    origin_length: usize,
}

/// Not an absolute http or https URI by RFC 3986, or one with user information.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UriError;

impl fmt::Display for UriError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an absolute http or https URI by RFC 3986")
    }
}

impl core::error::Error for UriError {}

impl TargetUri {
    /// Reads a URI, drops query and fragment, and brings the rest into normal form (R-URI-01 to R-URI-05, R-URI-07).
    ///
    /// # Errors
    ///
    /// [`UriError`] for any other scheme, an empty host, user information, and anything outside the grammar.
    pub fn parse(text: &str) -> Result<Self, UriError> {
        let uri = normalize(text)?;
        if !matches!(uri.text.split_once(':'), Some(("http" | "https", _))) {
            return Err(UriError);
        }
        Ok(uri)
    }

    /// The normal form.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Scheme, host and port: the server that nonces belong to (R-NONCE-18).
    pub fn origin(&self) -> &str {
        self.text.get(..self.origin_length).unwrap_or_default()
    }

    /// The path, beginning with `/`.
    pub fn path(&self) -> &str {
        self.text.get(self.origin_length..).unwrap_or_default()
    }

    /// Whether requests to it are protected by TLS.
    pub fn is_https(&self) -> bool {
        self.text.starts_with("https:")
    }

    /// Whether the host is this machine: `localhost`, 127.0.0.0/8 or `[::1]`. Names are not looked up.
    pub fn is_loopback(&self) -> bool {
        let authority = self.origin().split_once("//").map_or("", |(_, authority)| authority);
        let host = match authority.rfind(':') {
            Some(colon) if !authority.ends_with(']') => authority.get(..colon).unwrap_or_default(),
            _ => authority,
        };
        let v6 = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        host == "localhost"
            || host.ends_with(".localhost")
            || host.parse().is_ok_and(|address: Ipv4Addr| address.is_loopback())
            || v6.and_then(|host| host.parse().ok()).is_some_and(|address: Ipv6Addr| address.is_loopback())
    }
}

impl fmt::Display for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for TargetUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TargetUri({})", self.text)
    }
}

impl FromStr for TargetUri {
    type Err = UriError;

    fn from_str(text: &str) -> Result<Self, UriError> {
        Self::parse(text)
    }
}

/// A public origin as the deployer declares it, and a path prefix that a front proxy strips (R-URI-08, R-URI-09).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Origin {
    base: TargetUri,
    prefix: Box<str>,
}

/// What is wrong with a declared origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginError {
    /// Not an absolute http or https URI.
    Malformed,
    /// Plain http on a host that is not this machine.
    NotHttps,
    /// A query or fragment, which no origin has.
    Surplus,
}

impl fmt::Display for OriginError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not an absolute https URI such as https://api.example.com",
            Self::NotHttps => "plain http is for loopback hosts only: an origin is https",
            Self::Surplus => "an origin has neither query nor fragment",
        })
    }
}

impl core::error::Error for OriginError {}

impl Origin {
    /// Scheme, host and port in normal form.
    pub fn as_str(&self) -> &str {
        self.base.origin()
    }

    /// The path prefix that clients see and this server does not; empty, or beginning with `/` and not ending with one.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Whether the host is this machine.
    pub fn is_loopback(&self) -> bool {
        self.base.is_loopback()
    }

    /// Whether it is https.
    pub fn is_https(&self) -> bool {
        self.base.is_https()
    }

    /// The URI a client aimed at when this path arrived here.
    pub fn target(&self, path: &RequestPath<'_>) -> TargetUri {
        let text = [self.as_str(), self.prefix(), path.as_str()].concat();
        TargetUri { text: text.into(), origin_length: self.as_str().len() }
    }

    /// Host and port in normal form.
    pub(super) fn authority(&self) -> &str {
        let scheme = if self.is_https() { "https://" } else { "http://" };
        self.as_str().get(scheme.len()..).unwrap_or_default()
    }

    /// Whether this authority, of a `Host` field or an absolute target, names this origin.
    pub(super) fn is_at(&self, authority: &str) -> bool {
        let scheme = if self.is_https() { "https://" } else { "http://" };
        TargetUri::parse(&[scheme, authority, "/"].concat()).is_ok_and(|uri| uri.origin() == self.as_str())
    }
}

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        if text.contains(['?', '#']) {
            return Err(OriginError::Surplus);
        }
        let base = TargetUri::parse(text).map_err(|_| OriginError::Malformed)?;
        if !base.is_https() && !base.is_loopback() {
            return Err(OriginError::NotHttps);
        }
        let prefix = base.path().trim_end_matches('/').into();
        // The path is in the prefix, so that an origin with a slash at its end equals one without.
        let root = TargetUri { text: [base.origin(), "/"].concat().into(), ..base };
        Ok(Self { base: root, prefix })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.as_str(), self.prefix)
    }
}

impl fmt::Debug for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Origin({self})")
    }
}

/// The path of a request in normal form.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPath<'r> {
    normal: Cow<'r, str>,
    ambiguous: bool,
    simple: bool,
}

impl<'r> RequestPath<'r> {
    /// Reads the path of a request target, without its query.
    ///
    /// # Errors
    ///
    /// [`Reason::PathMalformed`] if it is no absolute path by RFC 3986.
    pub fn parse(path: &'r str) -> Result<Self, Refusal> {
        if path.len() > MAX_URI || !(path.is_empty() || path.starts_with('/')) {
            return Err(Reason::PathMalformed.into());
        }
        let (normal, simple) = normal_path(path).map_err(|_| Reason::PathMalformed)?;
        let plain = normal.len() == path.len() || !has_dot_segments(path);
        let several = |normal: &str| {
            ["%2F", "%5C", "%00"].iter().any(|escape| normal.contains(escape))
                || has_parameters(normal) && normal.split('/').map(without_parameters).any(is_dots)
        };
        let ambiguous = !plain || !simple && several(&normal);
        Ok(Self { normal, ambiguous, simple })
    }

    /// The normal form, beginning with `/`.
    pub fn as_str(&self) -> &str {
        &self.normal
    }

    /// Whether it came without parameters (`;`), empty segments and escapes, as nearly every path does: there is nothing in
    /// it that servers drop or decode.
    pub const fn is_simple(&self) -> bool {
        self.simple
    }

    /// The same path, unless two programs might read it in two ways: it holds an encoded slash, backslash or null, or had
    /// dot segments once decoded, or has them once parameters are dropped (`/..;/`).
    ///
    /// # Errors
    ///
    /// [`Reason::PathAmbiguous`].
    pub fn unambiguous(self) -> Result<Self, Refusal> {
        if self.ambiguous { Err(Reason::PathAmbiguous.into()) } else { Ok(self) }
    }
}

/// Whether a segment is `.` or `..` once its unreserved characters are decoded.
fn has_dot_segments(path: &str) -> bool {
    decode_unreserved(path).is_ok_and(|decoded| decoded.split('/').any(is_dots))
}

fn is_dots(segment: &str) -> bool {
    matches!(segment, "." | "..")
}

fn has_parameters(path: &str) -> bool {
    path.contains(';') || path.contains("%3B")
}

/// A segment of a path in normal form, up to the `;` that its parameters begin with (RFC 3986 section 3.3).
fn without_parameters(segment: &str) -> &str {
    let bare = segment.split(';').next().unwrap_or(segment);
    bare.split("%3B").next().unwrap_or(bare)
}

/// Scheme-based normalization of any absolute URI with an authority (RFC 3986 section 6.2).
fn normalize(text: &str) -> Result<TargetUri, UriError> {
    if text.len() > MAX_URI || !text.bytes().all(|octet| matches!(octet, 0x21..=0x7e) && octet != b'\\') {
        return Err(UriError);
    }
    let (scheme, rest) = text.split_once("://").ok_or(UriError)?;
    let mut letters = scheme.bytes();
    let tail = |octet: u8| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.');
    if !letters.next().is_some_and(|first| first.is_ascii_alphabetic()) || !letters.all(tail) {
        return Err(UriError);
    }
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let rest = rest.get(..end).ok_or(UriError)?;
    let (authority, path) = rest.split_at_checked(rest.find('/').unwrap_or(rest.len())).ok_or(UriError)?;

    let mut normal = String::with_capacity(text.len().saturating_add(1));
    normal.push_str(scheme);
    normal.make_ascii_lowercase();
    let default_port = match &*normal {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    normal.push_str("://");
    push_authority(&mut normal, authority, default_port)?;
    let origin_length = normal.len();
    normal.push_str(&normal_path(path)?.0);
    Ok(TargetUri { text: normal.into(), origin_length })
}

/// Host in lower case, port unless it is empty or the default one (R-URI-02, R-URI-05). User information is refused.
fn push_authority(normal: &mut String, authority: &str, default_port: Option<u16>) -> Result<(), UriError> {
    let (host, port) = split_port(authority)?;
    let start = normal.len();
    if let Some(v6) = host.strip_prefix('[') {
        let address = v6.strip_suffix(']').ok_or(UriError)?;
        address.parse::<Ipv6Addr>().map_err(|_| UriError)?;
        normal.push_str(host);
    } else {
        let decoded = decode_unreserved(host)?;
        if decoded.is_empty()
            || !decoded.bytes().all(|octet| is_unreserved(octet) || is_sub_delim(octet) || octet == b'%')
        {
            return Err(UriError);
        }
        normal.push_str(&decoded);
    }
    lowercase_but_escapes(normal, start);
    match port {
        "" => {}
        digits if digits.len() <= 5 && digits.bytes().all(|octet| octet.is_ascii_digit()) => {
            let number: u16 = digits.parse().map_err(|_| UriError)?;
            if Some(number) != default_port {
                write!(normal, ":{number}").map_err(|_| UriError)?;
            }
        }
        _ => return Err(UriError),
    }
    Ok(())
}

fn split_port(authority: &str) -> Result<(&str, &str), UriError> {
    let after_address = authority.rfind(']').map_or(0, |bracket| bracket.saturating_add(1));
    match authority.get(after_address..).and_then(|rest| rest.find(':')) {
        Some(colon) => {
            let at = after_address.saturating_add(colon);
            let host = authority.get(..at).ok_or(UriError)?;
            Ok((host, authority.get(at.saturating_add(1)..).ok_or(UriError)?))
        }
        None => Ok((authority, "")),
    }
}

/// Letters of escapes stay in upper case.
fn lowercase_but_escapes(text: &mut String, start: usize) {
    let tail = text.split_off(start);
    let mut left = 0_u8;
    for letter in tail.chars() {
        text.push(if left > 0 { letter } else { letter.to_ascii_lowercase() });
        left = if letter == '%' { 2 } else { left.saturating_sub(1) };
    }
}

/// Escapes of unreserved characters decoded, the others in upper case, dot segments removed, an empty path as `/`
/// (R-URI-03 to R-URI-05). Empty segments stay. And whether it held no parameters, empty segments or escapes.
fn normal_path(path: &str) -> Result<(Cow<'_, str>, bool), UriError> {
    if path.is_empty() {
        return Ok(("/".into(), true));
    }
    // Nearly every path is in normal form, and needs one look.
    let (mut fine, mut escaped, mut dotted, mut dropped, mut before) = (true, false, false, false, 0);
    for octet in path.bytes() {
        fine &= is_pchar(octet) || octet == b'/';
        escaped |= octet == b'%';
        dotted |= before == b'/' && octet == b'.';
        dropped |= octet == b';' || before == b'/' && octet == b'/';
        before = octet;
    }
    let simple = !escaped && !dropped;
    match (fine, escaped || dotted) {
        (false, _) => return Err(UriError),
        (true, false) => return Ok((path.into(), simple)),
        (true, true) => {}
    }
    let decoded = decode_unreserved(path)?;
    let normal = if decoded.contains("/.") { remove_dot_segments(&decoded).into() } else { decoded };
    Ok((normal, simple))
}

/// RFC 3986 section 5.2.4.
fn remove_dot_segments(path: &str) -> String {
    let mut output = String::with_capacity(path.len());
    let mut input = path;
    while !input.is_empty() {
        if let Some(rest) = input.strip_prefix("../").or_else(|| input.strip_prefix("./")) {
            input = rest;
        } else if input.starts_with("/./") {
            input = input.get(2..).unwrap_or_default();
        } else if input == "/." {
            input = "/";
        } else if input.starts_with("/../") || input == "/.." {
            output.truncate(output.rfind('/').unwrap_or(0));
            input = if input == "/.." { "/" } else { input.get(3..).unwrap_or_default() };
        } else if input == "." || input == ".." {
            input = "";
        } else {
            let end = input.char_indices().skip(1).find_map(|(at, letter)| (letter == '/').then_some(at));
            let (segment, rest) = input.split_at_checked(end.unwrap_or(input.len())).unwrap_or((input, ""));
            output.push_str(segment);
            input = rest;
        }
    }
    output
}

/// Escapes of unreserved characters become the characters; the hexadecimal digits of others become upper case.
fn decode_unreserved(text: &str) -> Result<Cow<'_, str>, UriError> {
    if !text.contains('%') {
        return Ok(text.into());
    }
    let mut decoded = String::with_capacity(text.len());
    let mut pieces = text.split('%');
    decoded.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2).ok_or(UriError)?;
        let octet = match escape.as_bytes() {
            [high, low] => octet(*high, *low).ok_or(UriError)?,
            _ => return Err(UriError),
        };
        if is_unreserved(octet) {
            decoded.push(char::from(octet));
        } else {
            write!(decoded, "%{octet:02X}").map_err(|_| UriError)?;
        }
        decoded.push_str(rest);
    }
    Ok(decoded.into())
}

/// The octet of two hexadecimal digits.
pub(super) fn octet(high: u8, low: u8) -> Option<u8> {
    let digit = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digit(high)?.checked_mul(16)?.checked_add(digit(low)?)
}

const fn is_unreserved(octet: u8) -> bool {
    octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~')
}

const fn is_sub_delim(octet: u8) -> bool {
    matches!(octet, b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=')
}

const fn is_pchar(octet: u8) -> bool {
    is_unreserved(octet) || is_sub_delim(octet) || matches!(octet, b':' | b'@' | b'%')
}

#[cfg(test)]
mod tests;
