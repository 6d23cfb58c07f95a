//! The two cookies of a browser: one says which browser it is, one who is signed in. Nothing but a digest of them is kept.

use core::time::Duration;

use http::HeaderValue;
use http::header::COOKIE;
use http::request::Parts;

use crate::State;

/// Octets of a secret in base64url.
const SECRET: usize = 43;

/// How long a browser is known again.
pub(super) const KNOWN: Duration = Duration::from_secs(180 * 86_400);

/// Which cookie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cookie {
    /// What is asked in a browser is answered in that browser.
    Browser,
    /// Who is signed in.
    Session,
}

impl Cookie {
    /// A browser takes a name of this prefix by https alone, from this host alone, for all of its paths (RFC 6265bis section
    /// 4.1.3.2). On loopback there is no https.
    fn name(self, state: &State) -> &'static str {
        match (self, state.endpoints.sign_in.is_https()) {
            (Self::Browser, true) => "__Host-keybound-browser",
            (Self::Browser, false) => "keybound-browser",
            (Self::Session, true) => "__Host-keybound-session",
            (Self::Session, false) => "keybound-session",
        }
    }

    /// What the browser has of it: one secret of ours. Of two with this name, neither counts.
    pub(super) fn read<'p>(self, state: &State, parts: &'p Parts) -> Option<&'p str> {
        let fields = parts.headers.get_all(COOKIE).iter().filter_map(|field| field.to_str().ok());
        let pairs = fields.flat_map(|field| field.split(';')).filter_map(|pair| pair.trim().split_once('='));
        let mut values = pairs.filter(|(name, _)| *name == self.name(state)).map(|(_, value)| value);
        let (Some(value), None) = (values.next(), values.next()) else { return None };
        let is_ours = value.len() == SECRET
            && value.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'));
        is_ours.then_some(value)
    }

    /// The field that gives the browser this secret.
    pub(super) fn set(self, state: &State, secret: &str) -> HeaderValue {
        match self {
            Self::Browser => self.field(state, secret, Some(KNOWN.as_secs())),
            // Until the browser closes, or the session ends here.
            Self::Session => self.field(state, secret, None),
        }
    }

    /// The field that takes it away.
    pub(super) fn clear(self, state: &State) -> HeaderValue {
        self.field(state, "", Some(0))
    }

    fn field(self, state: &State, value: &str, age: Option<u64>) -> HeaderValue {
        let (name, prefix) = (self.name(state), &*state.endpoints.prefix);
        let place = match state.endpoints.sign_in.is_https() {
            true => "; Path=/; Secure".to_owned(),
            false if prefix.is_empty() => "; Path=/".to_owned(),
            false => format!("; Path={prefix}"),
        };
        let age = age.map(|age| format!("; Max-Age={age}")).unwrap_or_default();
        let field = format!("{name}={value}{place}; HttpOnly; SameSite=Lax{age}");
        HeaderValue::try_from(field).unwrap_or_else(|_| HeaderValue::from_static(""))
    }
}
