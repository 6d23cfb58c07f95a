//! The URLs and paths a configuration names, checked once: public origins, issuers, upstreams, route prefixes, networks.

use core::fmt;
use core::net::IpAddr;
use core::str::FromStr;

use keybound::request::TargetUri;

use super::section::shortened;
use super::tls::TlsClient;

/// An `https` URL, or an `http` one on loopback, that names a server for others: scheme, host, port and perhaps a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PublicUrl {
    text: Box<str>,
    https: bool,
    authority: usize,
    path: usize,
}

impl PublicUrl {
    /// The URL as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `https` or `http`.
    pub const fn scheme(&self) -> &'static str {
        if self.https { "https" } else { "http" }
    }

    /// Host, and port if one is written.
    pub fn authority(&self) -> &str {
        self.text.get(self.authority..self.path).unwrap_or_default()
    }

    /// Empty, or a path that begins with a slash.
    pub fn path(&self) -> &str {
        self.text.get(self.path..).unwrap_or_default()
    }

    /// Whether its host is this machine.
    pub fn is_loopback(&self) -> bool {
        is_loopback(host_of(self.authority()))
    }
}

impl FromStr for PublicUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (https, authority, path) = take_apart(text, "https://api.example.com")?;
        if !https && !is_loopback(host_of(authority)) {
            return Err(format!("{:?} is plain http; use https: http is for loopback only", shortened(text)));
        }
        if !is_plain(path) {
            return Err(format!("{:?} has a path with an empty, dotted or encoded segment", shortened(text)));
        }
        TargetUri::parse(text).map_err(|_| format!("{:?} is not a URL", shortened(text)))?;
        let start = text.len() - path.len() - authority.len();
        Ok(Self { text: text.into(), https, authority: start, path: text.len() - path.len() })
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// A server that requests are passed on to, and how: `http` is HTTP/1.1 and `h2c` HTTP/2, both in plain; `https` and `h2` are
/// the same inside TLS.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UpstreamUrl {
    host: Box<str>,
    port: u16,
    version: HttpVersion,
    tls: Option<TlsClient>,
}

/// What is spoken to an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum HttpVersion {
    /// HTTP/1.1
    Http1,
    /// HTTP/2: gRPC needs it.
    Http2,
}

impl UpstreamUrl {
    /// Name or address; an IPv6 address without its brackets.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// TCP port.
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// What is spoken to it.
    pub const fn version(&self) -> HttpVersion {
        self.version
    }

    /// `http` or `https`, as a request has it.
    pub(crate) const fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Scheme, host and port, which is left out if it is the usual one.
    pub(crate) fn origin(&self) -> String {
        let usual = if self.tls.is_some() { 443 } else { 80 };
        let port = if self.port == usual { String::new() } else { format!(":{}", self.port) };
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.to_string() };
        format!("{}://{host}{port}", self.scheme())
    }

    /// `Host` of a request that is ours.
    pub(crate) fn authority(&self) -> String {
        self.to_string().split_once("://").map(|(_, authority)| authority.to_owned()).unwrap_or_default()
    }

    pub(crate) const fn tls(&self) -> Option<&TlsClient> {
        self.tls.as_ref()
    }

    /// The same, whose certificate is checked as `tls` says; `None` if it has none.
    pub(crate) fn trusting(self, tls: &TlsClient) -> Option<Self> {
        self.tls.is_some().then(|| Self { tls: Some(tls.clone()), ..self })
    }
}

/// The schemes, with their version, whether inside TLS, and their port.
const UPSTREAM_SCHEMES: [(&str, HttpVersion, bool, u16); 4] = [
    ("http", HttpVersion::Http1, false, 80),
    ("https", HttpVersion::Http1, true, 443),
    ("h2c", HttpVersion::Http2, false, 80),
    ("h2", HttpVersion::Http2, true, 443),
];

impl FromStr for UpstreamUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let scheme = text.split_once("://").map_or("", |(scheme, _)| scheme);
        let known = UPSTREAM_SCHEMES.into_iter().find(|(name, ..)| *name == scheme);
        let Some((_, version, tls, usual_port)) = known else {
            return Err(format!(
                "{:?} does not begin with http://, https://, h2c:// or h2://; write it like \"http://127.0.0.1:9000\"",
                shortened(text)
            ));
        };
        let plain = text.replacen(scheme, "http", 1);
        let (_, authority, path) = take_apart(&plain, "http://127.0.0.1:9000")?;
        if !matches!(path, "" | "/") {
            return Err(format!(
                "{:?} has a path; a request's own path is forwarded as it is, or as route.rewrite says",
                shortened(text)
            ));
        }
        let host = host_of(authority);
        let port = authority.get(host.len() + 1..).filter(|port| !port.is_empty()).map_or(Ok(usual_port), str::parse);
        let port = port.map_err(|_| format!("{:?} has no sensible port", shortened(text)))?;
        let tls = if tls { Some(TlsClient::of_system()?) } else { None };
        Ok(Self { host: host.trim_matches(['[', ']']).into(), port, version, tls })
    }
}

impl fmt::Display for UpstreamUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let own = |(_, version, tls, _): &(&str, HttpVersion, bool, u16)| {
            *version == self.version && *tls == self.tls.is_some()
        };
        let scheme = UPSTREAM_SCHEMES.iter().find(|known| own(known)).map_or("http", |(name, ..)| name);
        if self.host.contains(':') {
            write!(f, "{scheme}://[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{scheme}://{}:{}", self.host, self.port)
        }
    }
}

/// A path prefix in whole segments: `/orders` covers `/orders` and `/orders/17`, and not `/orders-old`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Prefix(Box<str>);

impl Prefix {
    /// The prefix; `/` covers every path.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn root() -> Self {
        Self("/".into())
    }

    /// `path`, which this covers, with `other` in place of this.
    pub(crate) fn replaced(&self, path: &str, other: &Self) -> String {
        let rest = path.strip_prefix(self.bare()).unwrap_or(path);
        match (other.bare(), rest) {
            ("", "") => "/".to_owned(),
            (bare, rest) => [bare, rest].concat(),
        }
    }

    /// Nothing, for `/`.
    fn bare(&self) -> &str {
        if &*self.0 == "/" { "" } else { &self.0 }
    }

    /// Whether `path`, in normal form and without its query, lies under the prefix.
    pub fn covers(&self, path: &str) -> bool {
        &*self.0 == "/" || path.strip_prefix(&*self.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }
}

impl FromStr for Prefix {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shown = shortened(text);
        if !text.starts_with('/') {
            return Err(format!("{shown:?} does not begin with /"));
        }
        if let Some(bare) = text.strip_suffix('/').filter(|bare| !bare.is_empty()) {
            return Err(format!(
                "{shown:?} ends in /; write {:?}, which covers it",
                shortened(bare.trim_end_matches('/'))
            ));
        }
        if let Some(odd) = text.chars().find(|c| !is_path_character(*c)) {
            return Err(format!("{shown:?} holds {odd:?}, which cannot stand in a path; percent-encode it"));
        }
        if text != "/" && !is_plain(text) {
            return Err(format!(
                "{shown:?} is not in normal form: no empty or dotted segments, be it with parameters, nothing encoded that need not be"
            ));
        }
        Ok(Self(text.into()))
    }
}

/// An address, or a network of addresses: `10.0.0.7`, `10.0.0.0/8`, `fd00::/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl Network {
    /// Whether `address` is in it. An IPv4 address counts as itself in whichever form it comes.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.bits
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                let differing = own.to_bits() ^ other.to_bits();
                differing.leading_zeros() >= self.bits
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("{:?} is not an IP address or network, like \"10.0.0.7\" or \"10.0.0.0/8\"", shortened(text));
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse::<u32>().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

/// Whether it is https; the authority; the path, perhaps empty.
fn take_apart<'t>(text: &'t str, example: &str) -> Result<(bool, &'t str, &'t str), String> {
    let shown = shortened(text);
    let wrong = |what: &str| format!("{shown:?} {what}; write it like {example:?}");
    let (https, rest) = if let Some(rest) = text.strip_prefix("https://") {
        (true, rest)
    } else if let Some(rest) = text.strip_prefix("http://") {
        (false, rest)
    } else {
        return Err(wrong("does not begin with https:// or http://"));
    };
    for (mark, what) in
        [('?', "has a query"), ('#', "has a fragment"), ('@', "has user information"), ('\\', "has a backslash")]
    {
        if text.contains(mark) {
            return Err(wrong(what));
        }
    }
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    if !is_authority(authority) || !path.chars().all(is_path_character) {
        return Err(wrong("is not a URL"));
    }
    Ok((https, authority, path))
}

/// The host of an authority, with the brackets of an IPv6 address.
pub(crate) fn host_of(authority: &str) -> &str {
    let end = match authority.find(']') {
        Some(bracket) => bracket + 1,
        None => authority.find(':').unwrap_or(authority.len()),
    };
    authority.get(..end).unwrap_or(authority)
}

/// Whether a text is a host and perhaps a port: a name of letters, digits, dots, hyphens and underscores, an IPv4 address,
/// or an IPv6 address in brackets. The port may be empty (RFC 3986 section 3.2.3).
pub(crate) fn is_authority(text: &str) -> bool {
    let (host_is_fine, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((address, port)) => (address.parse::<core::net::Ipv6Addr>().is_ok(), port),
        None => {
            let in_name = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
            let length = text.as_bytes().iter().take_while(|b| in_name(b)).count();
            (length > 0, text.get(length..).unwrap_or_default())
        }
    };
    let digits = if port.is_empty() { Some("") } else { port.strip_prefix(':') };
    let is_port = |digits: &str| digits.bytes().all(|b| b.is_ascii_digit()) && digits.parse::<u16>().is_ok();
    host_is_fine && digits.is_some_and(|digits| digits.is_empty() || is_port(digits))
}

/// Whether a host is this machine: `localhost` or a loopback address.
pub(crate) fn is_loopback(host: &str) -> bool {
    host.eq_ignore_ascii_case("localhost")
        || host.trim_matches(['[', ']']).parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

const fn is_path_character(c: char) -> bool {
    matches!(c, 'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '.' | '_' | '~' | '!' | '$' | '&' | '\'' | '(' | ')' | '*' | '+'
        | ',' | ';' | '=' | ':' | '@' | '%' | '/')
}

/// Whether a path is empty, or in normal form with the same number of segments for everybody: no empty or dotted segment, with
/// or without its parameters, each percent-encoding needed, in capitals, and none of them a slash, backslash or null.
fn is_plain(path: &str) -> bool {
    let encodings_are_needed = path.split('%').skip(1).all(|rest| {
        let Some(digits) =
            rest.get(..2).filter(|digits| digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'A'..=b'F')))
        else {
            return false;
        };
        let octet = u8::from_str_radix(digits, 16).unwrap_or_default();
        !(octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'.' | b'_' | b'~' | b'/' | b'\\' | 0))
    });
    let whole = path.strip_suffix('/').unwrap_or(path);
    let bare = |segment: &str| segment.find(';').into_iter().chain(segment.find("%3B")).min().unwrap_or(segment.len());
    let is_whole = |segment: &str| !matches!(&segment[..bare(segment)], "" | "." | "..");
    encodings_are_needed && whole.split('/').skip(1).all(is_whole)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_public_url_is_https_or_on_loopback() {
        for fine in [
            "https://api.example.com",
            "https://api.example.com:8443/v1",
            "http://127.0.0.1:8080",
            "http://localhost",
            "http://[::1]:8080/issuer",
        ] {
            assert_eq!(fine.parse::<PublicUrl>().map(|url| url.to_string()), Ok(fine.to_owned()));
        }
        for wrong in [
            "http://api.example.com",
            "http://127.0.0.1.example.com",
            "https://",
            "https:///x",
            "https://a@api.example.com",
            "https://api.example.com?x",
            "https://api.example.com#x",
            "https://api.example.com/a//b",
            "https://api.example.com/../b",
            "https://api.example.com/%2f",
            "https://api.exa mple.com",
            "https://api.example.com:port",
            "ftp://api.example.com",
            "api.example.com",
            "https:\\\\api.example.com",
        ] {
            assert!(wrong.parse::<PublicUrl>().is_err(), "{wrong}");
        }
        let url = "https://api.example.com:8443/v1".parse::<PublicUrl>().unwrap();
        assert_eq!((url.scheme(), url.authority(), url.path()), ("https", "api.example.com:8443", "/v1"));
    }

    #[test]
    fn an_upstream_is_host_and_port() {
        for (text, host, port, printed) in [
            ("http://10.0.0.1:9000", "10.0.0.1", 9000, "http://10.0.0.1:9000"),
            ("http://orders/", "orders", 80, "http://orders:80"),
            ("http://[::1]:81", "::1", 81, "http://[::1]:81"),
            ("h2c://orders:50051", "orders", 50051, "h2c://orders:50051"),
            ("https://orders", "orders", 443, "https://orders:443"),
            ("h2://orders", "orders", 443, "h2://orders:443"),
        ] {
            let upstream = text.parse::<UpstreamUrl>().unwrap();
            assert_eq!((upstream.host(), upstream.port(), &*upstream.to_string()), (host, port, printed));
        }
        for wrong in
            ["ftp://a", "http://a/b", "h2c://a/b", "http://a:99999", "http://:80", "a:80", "http://a?b", "h2c//a"]
        {
            assert!(wrong.parse::<UpstreamUrl>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_prefix_covers_whole_segments() {
        let orders: Prefix = "/orders".parse().unwrap();
        for (path, expected) in [
            ("/orders", true),
            ("/orders/17", true),
            ("/orders/", true),
            ("/orders-old", false),
            ("/", false),
            ("/Orders", false),
        ] {
            assert_eq!(orders.covers(path), expected, "{path}");
        }
        assert!("/".parse::<Prefix>().unwrap().covers("/anything"));
        for wrong in
            ["", "orders", "/orders/", "/a//b", "/a/../b", "/%7Ea", "/%2F", "/a%2fb", "/ä", "/a?b", "/a%zz", "//"]
        {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        for wrong in ["/;v=1", "/a/;", "/%3Bv/a", "/..;/a", "/a/.%3B;x"] {
            assert!(wrong.parse::<Prefix>().is_err(), "{wrong}");
        }
        for fine in ["/a;v=1", "/a%3Bv;1/b", "/@a:b", "/%40a", "/..a;"] {
            assert!(fine.parse::<Prefix>().is_ok(), "{fine}");
        }
    }

    #[test]
    fn a_prefix_is_replaced() {
        for (prefix, other, path, expected) in [
            ("/orders", "/", "/orders/17", "/17"),
            ("/orders", "/", "/orders", "/"),
            ("/orders", "/", "/orders/", "/"),
            ("/orders", "/v2/orders", "/orders/17", "/v2/orders/17"),
            ("/orders", "/v2", "/orders", "/v2"),
            ("/", "/v2", "/orders", "/v2/orders"),
            ("/", "/v2", "/", "/v2/"),
            ("/", "/", "/orders", "/orders"),
        ] {
            let (prefix, other): (Prefix, Prefix) = (prefix.parse().unwrap(), other.parse().unwrap());
            assert_eq!(prefix.replaced(path, &other), expected);
        }
    }

    #[test]
    fn a_network_contains_its_addresses() {
        for (network, address, expected) in [
            ("10.0.0.7", "10.0.0.7", true),
            ("10.0.0.7", "10.0.0.8", false),
            ("10.0.0.0/8", "10.255.0.1", true),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true),
            ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "10.0.0.1", false),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), expected, "{network:?} {address}");
        }
        for wrong in ["10.0.0.0/33", "10.0.0", "fd00::/129", "a", "10.0.0.0/x"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }
}
