//! Servers that know nothing of DPoP, and to which a token goes without a proof all the same, because whoever built the client
//! said so for each of them (R-CLI-11).

use std::collections::BTreeMap;

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};
use keybound::challenge::{Challenge, ErrorCode, parse_challenges};
use parking_lot::Mutex;

use crate::error::Error;
use crate::transport::Target;

/// The origins where that is allowed, and whether they have asked for it.
#[derive(Debug)]
pub(crate) struct BearerOrigins(Mutex<BTreeMap<Box<str>, bool>>);

impl BearerOrigins {
    pub(crate) fn new(origins: &[String]) -> Result<Self, Error> {
        let origin = |text: &String| Target::parse(text).map(|target| (target.uri().origin().into(), false));
        origins.iter().map(origin).collect::<Result<_, _>>().map(|map| Self(Mutex::new(map)))
    }

    /// Whether the server at `origin` is one of them, and has asked for bearer tokens.
    pub(crate) fn wants(&self, origin: &str) -> bool {
        self.0.lock().get(origin).copied().unwrap_or(false)
    }

    /// Whether this response, which has no DPoP challenge, asks for a bearer token, and may.
    pub(crate) fn learn(&self, origin: &str, response: &reqwest::Response) -> bool {
        let asks =
            response.status() == StatusCode::UNAUTHORIZED && challenges(response.headers()).any(|one| one.is("Bearer"));
        match self.0.lock().get_mut(origin) {
            Some(known) if asks => {
                *known = true;
                true
            }
            _ => false,
        }
    }
}

/// Whether a bearer token is refused as no good.
pub(crate) fn refuses_token(headers: &HeaderMap) -> bool {
    challenges(headers).any(|one| one.is("Bearer") && one.param("error") == Some(ErrorCode::InvalidToken.as_str()))
}

/// All challenges, by the grammar (R-CLI-14).
pub(crate) fn challenges(headers: &HeaderMap) -> impl Iterator<Item = Challenge> {
    let lines = headers.get_all(WWW_AUTHENTICATE).iter().take(16);
    let lines: Vec<_> = lines.map(|line| String::from_utf8_lossy(line.as_bytes())).collect();
    parse_challenges(lines.iter().map(|line| &**line)).into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    // R-CLI-14: quoted text of another challenge may hold any octets (RFC 9110 section 5.6.4)
    #[test]
    fn octets_beyond_ascii_hide_no_challenge() {
        let line = b"Basic realm=\"caf\xc3\xa9 \xff\", DPoP resource_metadata=\"https://api.example.com/m\"";
        let mut headers = HeaderMap::new();
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_bytes(line).unwrap());
        let found = challenges(&headers).find_map(|one| one.param("resource_metadata").map(str::to_owned));
        assert_eq!(found.as_deref(), Some("https://api.example.com/m"));
    }
}
