//! What a provider says of itself (OpenID Connect Discovery section 4), as far as it matters here.

use keybound::request::TargetUri;
use serde::Deserialize;

use super::Trouble;

/// Where everything is. Each place is https, or plain http on loopback where the issuer itself is.
#[derive(Clone, Debug)]
pub(super) struct Metadata {
    pub(super) authorization_endpoint: String,
    pub(super) token_endpoint: String,
    pub(super) jwks_uri: String,
    /// Whether `iss` comes with every answer (RFC 9207 section 3).
    pub(super) says_iss: bool,
}

#[derive(Deserialize)]
struct Document {
    issuer: String,
    authorization_endpoint: String,
    token_endpoint: String,
    jwks_uri: String,
    #[serde(default)]
    authorization_response_iss_parameter_supported: bool,
}

/// Where the document is.
pub(super) fn location(issuer: &str) -> String {
    [issuer.trim_end_matches('/'), "/.well-known/openid-configuration"].concat()
}

impl Metadata {
    /// Reads the document of this issuer, compared octet for octet.
    pub(super) fn parse(text: &[u8], issuer: &str) -> Result<Self, Trouble> {
        let document: Document = serde_json::from_slice(text).map_err(|_| Trouble::Metadata)?;
        if document.issuer != issuer {
            return Err(Trouble::Metadata);
        }
        let is_local = TargetUri::parse(issuer).is_ok_and(|uri| !uri.is_https());
        let fits = |place: &String| {
            let uri = TargetUri::parse(place.split('#').next().unwrap_or_default());
            !place.contains('#') && uri.is_ok_and(|uri| uri.is_https() || is_local && uri.is_loopback())
        };
        if ![&document.authorization_endpoint, &document.token_endpoint, &document.jwks_uri].into_iter().all(fits) {
            return Err(Trouble::Place);
        }
        Ok(Self {
            authorization_endpoint: document.authorization_endpoint,
            token_endpoint: document.token_endpoint,
            jwks_uri: document.jwks_uri,
            says_iss: document.authorization_response_iss_parameter_supported,
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn one_fault_of_the_metadata() {
        let issuer = "https://up.example.com/realm";
        let good = json!({
            "issuer": issuer, "authorization_endpoint": "https://up.example.com/authorize?tenant=1",
            "token_endpoint": "https://token.example.net/token", "jwks_uri": "https://keys.example.net/jwks",
        });
        let with = |name: &str, value: Value| {
            let mut document = good.clone();
            document[name] = value;
            Metadata::parse(document.to_string().as_bytes(), issuer).map(|metadata| metadata.says_iss)
        };
        assert_eq!(with("other", json!([{}])), Ok(false));
        assert_eq!(with("authorization_response_iss_parameter_supported", json!(true)), Ok(true));
        for (name, value, trouble) in [
            ("issuer", json!("https://up.example.com/realm/"), Trouble::Metadata),
            ("issuer", json!(1), Trouble::Metadata),
            ("token_endpoint", json!(null), Trouble::Metadata),
            ("token_endpoint", json!("http://up.example.com/token"), Trouble::Place),
            ("token_endpoint", json!("http://127.0.0.1/token"), Trouble::Place),
            ("jwks_uri", json!("file:///etc/passwd"), Trouble::Place),
            ("authorization_endpoint", json!("javascript:alert(1)"), Trouble::Place),
            ("authorization_endpoint", json!("https://u@up.example.com/"), Trouble::Place),
            ("authorization_endpoint", json!("https://up.example.com/#x"), Trouble::Place),
            ("authorization_endpoint", json!("https://up.example.com/\r\nSet-Cookie: a=b"), Trouble::Place),
        ] {
            assert_eq!(with(name, value.clone()), Err(trouble), "{name}: {value}");
        }
        assert_eq!(Metadata::parse(b"<html>", issuer).err(), Some(Trouble::Metadata));
    }

    #[test]
    fn where_the_document_is() {
        assert_eq!(location("https://up.example.com"), "https://up.example.com/.well-known/openid-configuration");
        assert_eq!(location("https://up.example.com/a/"), "https://up.example.com/a/.well-known/openid-configuration");
    }
}
