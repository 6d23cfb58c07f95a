//! What the upstream is told about who called: `Keybound-*`, which no client can set.

use core::fmt::Write as _;

use http::header::HeaderName;
use http::{HeaderMap, HeaderValue};

const SUBJECT: HeaderName = HeaderName::from_static("keybound-subject");
const CLIENT: HeaderName = HeaderName::from_static("keybound-client");
const SCOPE: HeaderName = HeaderName::from_static("keybound-scope");
const JKT: HeaderName = HeaderName::from_static("keybound-jkt");
const ISSUER: HeaderName = HeaderName::from_static("keybound-issuer");
const ATTESTATION: HeaderName = HeaderName::from_static("keybound-attestation");

/// The verified facts about a caller, as field values. Make it once for a token and lend it to every request.
///
/// Octets outside visible ASCII, and `%`, are percent-encoded, so that two different subjects never look the same.
///
/// ```
/// use keybound_gateway::proxy::Identity;
///
/// let identity = Identity::default().subject("Zoë 100%").scope("orders:read orders:write");
/// let fields: Vec<_> = identity.fields().map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect();
/// assert_eq!(fields, ["keybound-subject: Zo%C3%AB%20100%25", "keybound-scope: orders:read orders:write"]);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    subject: Option<HeaderValue>,
    client: Option<HeaderValue>,
    scope: Option<HeaderValue>,
    jkt: Option<HeaderValue>,
    issuer: Option<HeaderValue>,
    attestation: Option<HeaderValue>,
}

impl Identity {
    /// `sub`.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        Self { subject: Some(encoded(subject)), ..self }
    }

    /// `client_id`.
    #[must_use]
    pub fn client(self, client: &str) -> Self {
        Self { client: Some(encoded(client)), ..self }
    }

    /// `scope`: the spaces between scopes stay.
    #[must_use]
    pub fn scope(self, scope: &str) -> Self {
        Self { scope: Some(encode(scope, |octet| octet == b' ')), ..self }
    }

    /// The thumbprint of the key that signed the proof.
    #[must_use]
    pub fn jkt(self, jkt: &str) -> Self {
        Self { jkt: Some(encoded(jkt)), ..self }
    }

    /// `iss`.
    #[must_use]
    pub fn issuer(self, issuer: &str) -> Self {
        Self { issuer: Some(encoded(issuer)), ..self }
    }

    /// The signed statement about this very request.
    #[must_use]
    pub fn attestation(self, statement: &str) -> Self {
        Self { attestation: Some(encoded(statement)), ..self }
    }

    /// The fields, in this order, with their values.
    pub fn fields(&self) -> impl Iterator<Item = (HeaderName, &HeaderValue)> {
        let all = [
            (SUBJECT, &self.subject),
            (CLIENT, &self.client),
            (SCOPE, &self.scope),
            (JKT, &self.jkt),
            (ISSUER, &self.issuer),
            (ATTESTATION, &self.attestation),
        ];
        all.into_iter().filter_map(|(name, value)| value.as_ref().map(|value| (name, value)))
    }

    pub(crate) fn set(&self, fields: &mut HeaderMap) {
        for (name, value) in self.fields() {
            fields.insert(name, value.clone());
        }
    }
}

fn encoded(text: &str) -> HeaderValue {
    encode(text, |_| false)
}

fn encode(text: &str, also_plain: impl Fn(u8) -> bool) -> HeaderValue {
    let plain = |octet: u8| matches!(octet, 0x21..=0x24 | 0x26..=0x7e) || also_plain(octet);
    let mut value = String::with_capacity(text.len());
    for octet in text.bytes() {
        if plain(octet) {
            value.push(char::from(octet));
        } else {
            let _ = write!(value, "%{octet:02X}");
        }
    }
    HeaderValue::try_from(value).expect("visible ASCII and spaces make a field value")
}
