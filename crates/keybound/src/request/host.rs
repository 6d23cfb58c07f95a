//! Which declared origin a request came to. `Host` chooses among declared ones and is never believed beyond that.

use core::fmt;

use http::header::HOST;
use http::request::Parts;

use super::uri::{Origin, TargetUri};
use crate::refusal::{Reason, Refusal};

/// The public origins of a server, at least one.
///
/// ```
/// use keybound::request::Origins;
///
/// let origins = Origins::new(vec!["https://api.example.com".parse()?])?;
/// let (parts, ()) = http::Request::get("/").header("host", "internal:8080").body(()).unwrap().into_parts();
/// assert_eq!(origins.choose(&parts).unwrap().as_str(), "https://api.example.com");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Origins {
    first: Origin,
    others: Vec<Origin>,
}

/// Why a list of origins is none.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum OriginsError {
    /// There is none in it.
    Empty,
    /// Two of them have the same host and port, so that `Host` cannot choose.
    Repeated(Box<str>),
}

impl fmt::Display for OriginsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no origin is declared"),
            Self::Repeated(origin) => write!(f, "{origin} is declared twice"),
        }
    }
}

impl core::error::Error for OriginsError {}

impl Origins {
    /// These origins.
    ///
    /// # Errors
    ///
    /// [`OriginsError`].
    pub fn new(mut origins: Vec<Origin>) -> Result<Self, OriginsError> {
        for (position, origin) in origins.iter().enumerate() {
            if origins
                .iter()
                .take(position)
                .any(|other| other.is_at(origin.authority()) || origin.is_at(other.authority()))
            {
                return Err(OriginsError::Repeated(origin.as_str().into()));
            }
        }
        if origins.is_empty() {
            return Err(OriginsError::Empty);
        }
        let others = origins.split_off(1);
        origins.pop().map(|first| Self { first, others }).ok_or(OriginsError::Empty)
    }

    /// Every origin, in the order of declaration.
    pub fn iter(&self) -> impl Iterator<Item = &Origin> {
        core::iter::once(&self.first).chain(&self.others)
    }

    /// The origin of a request: the only one, or the one that `Host` names (R-URI-09). Exactly one well-formed `Host` is
    /// required, and it must agree with an absolute target (R-URI-10).
    ///
    /// # Errors
    ///
    /// [`Reason::HostInvalid`], [`Reason::HostUnknown`].
    pub fn choose(&self, parts: &Parts) -> Result<&Origin, Refusal> {
        if self.is_plainly_first(parts) {
            return Ok(&self.first);
        }
        self.choose_by(authority(parts)?)
    }

    /// As [`Origins::choose`], by an authority that somebody trusted says the client aimed at: a proxy in front that keeps the
    /// client's `Host` in a field of its own.
    ///
    /// # Errors
    ///
    /// [`Reason::HostInvalid`] if it is none, [`Reason::HostUnknown`].
    pub fn choose_by(&self, authority: &str) -> Result<&Origin, Refusal> {
        if self.others.is_empty() {
            return Ok(&self.first);
        }
        normal(authority)?;
        self.named(authority).ok_or_else(|| Reason::HostUnknown.into())
    }

    /// The origin at this very authority.
    pub fn named(&self, authority: &str) -> Option<&Origin> {
        self.iter().find(|origin| origin.is_at(authority))
    }

    /// Whether the request names the first origin octet by octet, as nearly all do: then there is nothing to parse.
    fn is_plainly_first(&self, parts: &Parts) -> bool {
        let mut fields = parts.headers.get_all(HOST).iter();
        let named = fields.next().is_some_and(|host| host.as_bytes() == self.first.authority().as_bytes());
        named && fields.next().is_none() && parts.uri.authority().is_none()
    }
}

/// The one authority a request names: of its `Host` field, or of HTTP/2's `:authority`, which hyper puts into the URI.
///
/// # Errors
///
/// [`Reason::HostInvalid`] if it is missing, doubled, malformed, or disagrees with an absolute target (R-URI-10).
pub fn authority(parts: &Parts) -> Result<&str, Refusal> {
    let mut fields = parts.headers.get_all(HOST).iter();
    let host = match (fields.next(), fields.next()) {
        (_, Some(_)) => return Err(Reason::HostInvalid.into()),
        (Some(field), None) => Some(field.to_str().map_err(|_| Reason::HostInvalid)?),
        (None, None) => None,
    };
    let in_target = parts.uri.authority().map(http::uri::Authority::as_str);
    let authority = match (host, in_target) {
        (Some(host), Some(target)) if normal(host)? != normal(target)? => return Err(Reason::HostInvalid.into()),
        (Some(host), _) => host,
        (None, Some(target)) if parts.version >= http::Version::HTTP_2 => target,
        (None, _) => return Err(Reason::HostInvalid.into()),
    };
    normal(authority).map(|_| authority)
}

/// An authority by RFC 3986; the default port cannot be told without a scheme, and http has one as good as another here.
fn normal(authority: &str) -> Result<TargetUri, Refusal> {
    if authority.contains(['/', '?', '#']) {
        return Err(Reason::HostInvalid.into());
    }
    TargetUri::parse(&["http://", authority].concat()).map_err(|_| Reason::HostInvalid.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    fn choose(origins: &[&str], target: &str, hosts: &[&str]) -> Result<String, Reason> {
        let origins = Origins::new(origins.iter().map(|origin| origin.parse().unwrap()).collect()).unwrap();
        let mut request = Request::get(target);
        for host in hosts {
            request = request.header("host", *host);
        }
        let (parts, ()) = request.body(()).unwrap().into_parts();
        origins.choose(&parts).map(|origin| origin.to_string()).map_err(|refusal| refusal.reason())
    }

    // R-URI-09: an attacker's host never makes a foreign proof match.
    #[test]
    fn one_origin_whatever_host_says() {
        for host in ["api.example.com", "evil.example", "10.0.0.1:8080", "[::1]:8080"] {
            assert_eq!(
                choose(&["https://api.example.com"], "/", &[host]),
                Ok("https://api.example.com".into()),
                "{host}"
            );
        }
    }

    // R-URI-10
    #[test]
    fn host_is_exactly_one_and_well_formed() {
        let one = &["https://api.example.com"][..];
        for hosts in
            [&[][..], &["a", "a"], &["a", "b"], &[""], &["a b"], &["a/b"], &["u@a"], &["a:x"], &["a,b c"], &["a?b"]]
        {
            assert_eq!(choose(one, "/", hosts), Err(Reason::HostInvalid), "{hosts:?}");
        }
        assert_eq!(choose(one, "http://a/", &["b"]), Err(Reason::HostInvalid));
        assert_eq!(choose(one, "http://a/", &[]), Err(Reason::HostInvalid));
        assert!(choose(one, "http://A:80/", &["a"]).is_ok());
        // Nor if one of two is the right one, or the target disagrees with the right one.
        assert_eq!(choose(one, "/", &["api.example.com", "b"]), Err(Reason::HostInvalid));
        assert_eq!(choose(one, "http://b/", &["api.example.com"]), Err(Reason::HostInvalid));
    }

    #[test]
    fn host_chooses_among_several() {
        let two = &["https://a.example/x", "https://b.example:8443"][..];
        assert_eq!(choose(two, "/", &["A.example"]), Ok("https://a.example/x".into()));
        assert_eq!(choose(two, "/", &["a.example:443"]), Ok("https://a.example/x".into()));
        assert_eq!(choose(two, "/", &["b.example:8443"]), Ok("https://b.example:8443".into()));
        assert_eq!(choose(two, "/", &["b.example"]), Err(Reason::HostUnknown));
        assert_eq!(choose(two, "/", &["c.example"]), Err(Reason::HostUnknown));
    }

    #[test]
    fn a_list_that_host_cannot_choose_from() {
        let origins = ["https://a.example/x", "https://a.example/y"].map(|origin| origin.parse().unwrap());
        assert_eq!(Origins::new(origins.to_vec()).unwrap_err(), OriginsError::Repeated("https://a.example".into()));
        // `Host` does not tell the scheme, and leaves out the port that is the default of one of them.
        for (first, second) in [
            ("https://localhost", "http://localhost"),
            ("https://localhost:8080", "http://localhost:8080"),
            ("https://localhost", "http://localhost:443"),
            ("https://localhost:80", "http://localhost"),
        ] {
            let origins = [first, second].map(|origin| origin.parse().unwrap());
            assert_eq!(Origins::new(origins.to_vec()).unwrap_err(), OriginsError::Repeated(second.into()));
        }
        assert!(
            Origins::new(["https://localhost:8443", "http://localhost:8080"].map(|o| o.parse().unwrap()).to_vec())
                .is_ok()
        );
        assert_eq!(Origins::new(Vec::new()).unwrap_err(), OriginsError::Empty);
    }
}
