//! Who may ask: not a page of another site, by whatever name it calls this machine (DNS rebinding), and where there is a
//! secret, nobody without it.

use core::net::IpAddr;
use core::str::FromStr as _;

use http::HeaderValue;
use http::header::{AUTHORIZATION, HOST, ORIGIN};
use http::request::Parts;
use http::uri::Authority;

use crate::config::AdminSecret;

/// Why somebody gets no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stranger {
    /// `Host` is missing, doubled or malformed, or names neither loopback nor the address the connection came to.
    Host,
    /// A page of another origin asks.
    Origin,
}

/// Whether the request comes from where it may.
pub(super) fn admit(parts: &Parts, local: IpAddr) -> Result<(), Stranger> {
    let mut hosts = parts.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return Err(Stranger::Host) };
    let host = host.to_str().ok().and_then(|host| Authority::from_str(host).ok()).ok_or(Stranger::Host)?;
    // With a target in absolute form, that one counts (RFC 9112 section 3.2.2); it has no reason to differ.
    if !is_ours(&host, local) || parts.uri.authority().is_some_and(|target| *target != host) {
        return Err(Stranger::Host);
    }
    let same = |origin: &HeaderValue| {
        let origin = origin.to_str().ok().and_then(|origin| origin.strip_prefix("http://"));
        origin.is_some_and(|origin| origin.eq_ignore_ascii_case(host.as_str()))
    };
    let site = parts.headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if parts.headers.get(ORIGIN).is_some_and(|origin| !same(origin))
        || site.is_some_and(|site| !matches!(site, b"same-origin" | b"none"))
    {
        return Err(Stranger::Origin);
    }
    Ok(())
}

/// Loopback by name or number, or the very address the connection came to; no other name, for its owner may have it point
/// anywhere.
fn is_ours(host: &Authority, local: IpAddr) -> bool {
    let name = host.host();
    if host.as_str().contains('@') {
        return false;
    }
    let number = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
    match number {
        Ok(number) => number.to_canonical().is_loopback() || number.to_canonical() == local,
        Err(_) => name.eq_ignore_ascii_case("localhost"),
    }
}

/// Whether the request holds the secret; without one, everybody does.
pub(super) fn knows(parts: &Parts, secret: Option<&AdminSecret>) -> bool {
    let Some(secret) = secret else { return true };
    let mut fields = parts.headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return false };
    let (scheme, said) = field.as_bytes().split_at_checked(7).unwrap_or_default();
    scheme.eq_ignore_ascii_case(b"bearer ") && secret.is(said.trim_ascii())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn parts(fields: &[(&str, &str)]) -> Parts {
        let mut request = Request::builder().uri("/metrics");
        for (name, value) in fields {
            request = request.header(*name, *value);
        }
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn only_by_our_own_names() {
        let local = [10, 0, 0, 7].into();
        for host in ["localhost", "LocalHost:8081", "127.0.0.1:8081", "127.8.8.8", "[::1]:8081", "10.0.0.7:8081"] {
            assert_eq!(admit(&parts(&[("host", host)]), local), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "localhost.evil.example",
            "10.0.0.8",
            "a@localhost",
            "127.0.0.1.evil.example",
            "0.0.0.0",
        ] {
            assert_eq!(admit(&parts(&[("host", host)]), local), Err(Stranger::Host), "{host:?}");
        }
        assert_eq!(admit(&parts(&[]), local), Err(Stranger::Host));
        assert_eq!(admit(&parts(&[("host", "localhost"), ("host", "localhost")]), local), Err(Stranger::Host));
    }

    #[test]
    fn no_page_of_another_site() {
        let local = [127, 0, 0, 1].into();
        let asked = |name, value| admit(&parts(&[("host", "localhost:8081"), (name, value)]), local);
        assert_eq!(asked("origin", "http://localhost:8081"), Ok(()));
        assert_eq!(asked("sec-fetch-site", "same-origin"), Ok(()));
        assert_eq!(asked("sec-fetch-site", "none"), Ok(()));
        for (name, value) in [
            ("origin", "null"),
            ("origin", "http://localhost:3000"),
            ("origin", "https://localhost:8081"),
            ("sec-fetch-site", "cross-site"),
            ("sec-fetch-site", "same-site"),
        ] {
            assert_eq!(asked(name, value), Err(Stranger::Origin), "{name}: {value}");
        }
    }

    #[test]
    fn the_secret_and_nothing_else() {
        let secret = AdminSecret::parse("0123456789abcdef").unwrap();
        let knows = |field: &str| knows(&parts(&[("authorization", field)]), Some(&secret));
        assert!(knows("Bearer 0123456789abcdef") && knows("bearer  0123456789abcdef"));
        for wrong in ["", "Bearer", "Bearer ", "Bearer 0123456789abcdeF", "Basic 0123456789abcdef", "0123456789abcdef"]
        {
            assert!(!knows(wrong), "{wrong:?}");
        }
    }
}
