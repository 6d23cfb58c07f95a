//! Where requests may go, and how a program names it.

use http::Uri;
use keybound::request::TargetUri;
use percent_encoding::percent_decode_str;

use crate::access;
use crate::outcome::Failure;

/// One target: an origin, with a path if that is all of it.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    name: Option<String>,
    /// Without a slash at the end.
    base: String,
    origin: String,
}

impl Target {
    /// The path of its place at the agent.
    pub(super) fn place(&self) -> String {
        self.name.as_ref().map(|name| format!("/{name}/")).unwrap_or_else(|| "/".to_owned())
    }

    /// Host and port, as they stand in a URL with plain http.
    fn authority(&self) -> &str {
        self.origin.split_once("://").map_or("", |(_, authority)| authority)
    }

    /// The path below which requests may go.
    fn path(&self) -> &str {
        self.base.get(self.origin.len()..).unwrap_or_default()
    }

    /// Whether requests may go to `url`. Of a target with a path, no server behind may read anything else out of it.
    pub(super) fn holds(&self, url: &str) -> bool {
        let inside =
            TargetUri::parse(url).is_ok_and(|uri| uri.origin() == self.origin && is_below(self.path(), uri.path()));
        let path = url.split(['?', '#']).next().and_then(|url| url.strip_prefix(&self.origin));
        inside && (self.path().is_empty() || path.is_some_and(is_plain))
    }
}

/// Whether all servers take this path for the same one: it has no dot segments, however they are written or hidden, and what stands
/// encoded in it is no slash and no end of a segment, however often it is decoded.
fn is_plain(path: &str) -> bool {
    let mut path = path.to_owned();
    for decoded in 0..=MOST_DECODED {
        let slashes = path.matches('/').count();
        if path.contains(['\\', '\u{fffd}']) || path.contains(char::is_control) || path.split('/').any(is_dots) {
            return false;
        }
        let next = percent_decode_str(&path).decode_utf8_lossy().into_owned();
        if next == path {
            return !path.to_ascii_lowercase().contains("%u"); // another way to encode, which some servers know
        }
        if next.matches('/').count() != slashes || decoded == MOST_DECODED {
            return false;
        }
        path = next;
    }
    false
}

/// How often a path may be decoded until it stays as it is.
const MOST_DECODED: usize = 3;

/// Whether a segment is one or two dots, to servers that cut off parameters or spaces as well.
fn is_dots(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    matches!(name.trim(), "." | "..")
}

/// `[NAME=]URL`.
pub(super) fn target(text: &str) -> Result<Target, String> {
    let (name, url) = match text.split_once('=') {
        Some((name, url)) if !name.contains(['/', ':']) => (Some(name), url),
        _ => (None, text),
    };
    let fine = |name: &str| {
        !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_alphanumeric() || b"-_".contains(&octet))
    };
    if name.is_some_and(|name| !fine(name)) {
        return Err("a name is made of letters, digits, - and _".to_owned());
    }
    let uri: TargetUri = access::target(url)?;
    if url.contains(['?', '#']) {
        return Err("a target has neither query nor fragment".to_owned());
    }
    let (name, origin) = (name.map(str::to_owned), uri.origin().to_owned());
    Ok(Target { name, base: uri.as_str().trim_end_matches('/').to_owned(), origin })
}

/// All of them.
#[derive(Debug)]
pub(super) struct Targets(Vec<Target>);

/// Why a request has no target.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Astray {
    /// It is meant for a server that is none of them.
    Elsewhere(String),
    /// No target has its place there.
    NoPlace,
}

impl Targets {
    pub(super) fn new(targets: Vec<Target>) -> Result<Self, Failure> {
        for (position, target) in targets.iter().enumerate() {
            if targets.iter().take(position).any(|other| other.name == target.name) {
                return Err(Failure::usage(match &target.name {
                    Some(name) => format!("two targets are named {name}"),
                    None => "several targets need names: --target NAME=URL; one may have none".to_owned(),
                }));
            }
        }
        Ok(Self(targets))
    }

    /// The target that a request is for, and its URL, by the form it came in.
    pub(super) fn find(&self, uri: &Uri, proxied: bool) -> Result<(&Target, String), Astray> {
        match uri.authority().filter(|_| proxied) {
            Some(authority) => self.by_url(authority.as_str(), uri),
            None => self.by_place(uri),
        }
    }

    /// The absolute form, as a proxy gets it: plain http on the way to the agent, the target's own scheme from there on.
    fn by_url(&self, authority: &str, uri: &Uri) -> Result<(&Target, String), Astray> {
        let authority = authority.to_ascii_lowercase();
        let authority = authority.strip_suffix(":80").unwrap_or(&authority);
        let authority = authority.strip_suffix(":443").unwrap_or(authority);
        let known = self.0.iter().filter(|target| target.authority() == authority);
        let mut urls = known.map(|target| (target, format!("{}{}", target.origin, path_and_query(uri))));
        urls.find(|(target, url)| target.holds(url)).ok_or_else(|| Astray::Elsewhere(authority.to_owned()))
    }

    /// The path at the agent: below the name of a target, else the one without a name.
    fn by_place(&self, uri: &Uri) -> Result<(&Target, String), Astray> {
        let whole = path_and_query(uri);
        let named = self.0.iter().find_map(|target| {
            let rest = whole.strip_prefix('/')?.strip_prefix(target.name.as_deref()?)?;
            (rest.is_empty() || rest.starts_with(['/', '?'])).then_some((target, rest))
        });
        let plain = || self.0.iter().find(|target| target.name.is_none()).map(|target| (target, whole));
        let (target, rest) = named.or_else(plain).ok_or(Astray::NoPlace)?;
        let url = format!("{}{rest}", target.base);
        if target.holds(&url) { Ok((target, url)) } else { Err(Astray::NoPlace) }
    }
}

fn path_and_query(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |whole| whole.as_str())
}

fn is_below(base: &str, path: &str) -> bool {
    path.strip_prefix(base).is_some_and(|rest| base.is_empty() || rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn targets() -> Targets {
        Targets::new(vec![
            target("https://api.example.com/v1/").unwrap(),
            target("local=http://127.0.0.1:9000").unwrap(),
        ])
        .unwrap()
    }

    #[test]
    fn a_request_finds_its_target() {
        for (sent, expected) in [
            ("/orders?page=1", Ok("https://api.example.com/v1/orders?page=1")),
            ("/", Ok("https://api.example.com/v1/")),
            ("/local/a", Ok("http://127.0.0.1:9000/a")),
            ("/local?x", Ok("http://127.0.0.1:9000?x")),
            ("/locals", Ok("https://api.example.com/v1/locals")),
            ("http://api.example.com/v1/orders", Ok("https://api.example.com/v1/orders")),
            ("http://API.example.com:80/v1", Ok("https://api.example.com/v1")),
            ("http://127.0.0.1:9000/b", Ok("http://127.0.0.1:9000/b")),
            ("http://api.example.com/v2", Err("api.example.com")),
            ("http://api.example.com/v1/../v2", Err("api.example.com")),
            ("http://api.example.com:8080/v1", Err("api.example.com:8080")),
            ("http://evil.example/v1", Err("evil.example")),
        ] {
            let targets = targets();
            let found = targets.find(&sent.parse().unwrap(), sent.starts_with("http")).map(|(_, url)| url);
            let expected = expected.map(str::to_owned).map_err(|name: &str| Astray::Elsewhere(name.to_owned()));
            assert_eq!(found, expected, "{sent}");
        }
    }

    /// Each of them leads a server of some kind out of /v1.
    #[test]
    fn dots_lead_nowhere() {
        for path in [
            "/../admin",
            "/a/../../admin",
            "/a/../b",
            "/./b",
            "/..",
            "/%2e%2e/admin",
            "/.%2e/admin",
            "/a/%2E%2E/../admin",
            "/..%2fadmin/../../x",
            "/..%2Fadmin",
            "/a%5c..%5C..%2fadmin",
            "/..;/admin",
            "/..;x=1/admin",
            "/a/..;/..;/admin",
            "/%2e%2e;/admin",
            "/%2e%2e%3b/admin",
            "/%252e%252e/admin",
            "/%25252e%25252e/admin",
            "/%2525252525252e/admin",
            "/..%252fadmin",
            "/a%2fb",
            "/a%5cb",
            "/..%5cadmin",
            "/..%20/admin",
            "/..%09/admin",
            "/..%00/admin",
            "/a%00b",
            "/%c0%ae%c0%ae/admin",
            "/%u002e%u002e/admin",
            "/%25u002e%25u002e/admin",
        ] {
            let Ok(uri) = path.parse::<Uri>() else { panic!("{path}") };
            assert_eq!(targets().find(&uri, false).map(|(_, url)| url), Err(Astray::NoPlace), "{path}");
            let whole = format!("http://api.example.com/v1{path}");
            assert!(targets().find(&whole.parse().unwrap(), true).is_err(), "{whole}");
        }
        for path in
            ["/a;v=1/b", "/...", "/.well-known/x", "/a..b", "/100%25", "/caf%C3%A9", "/a%20b", "/?q=../%2e%2e/%5c"]
        {
            assert!(targets().find(&path.parse().unwrap(), false).is_ok(), "{path}");
        }
        // Where all of the origin is the target, there is nowhere else to lead to.
        assert!(targets().find(&"/local/a%2Fb/..%2f".parse().unwrap(), false).is_ok());
    }

    #[test]
    fn names_are_told_apart() {
        for text in
            ["a b=https://api.example.com", "=https://api.example.com", "x=http://api.example.com", "https://a/?q=1"]
        {
            assert!(target(text).is_err(), "{text}");
        }
        let twice = vec![target("https://a.example").unwrap(), target("https://b.example").unwrap()];
        assert!(Targets::new(twice).is_err());
    }
}
