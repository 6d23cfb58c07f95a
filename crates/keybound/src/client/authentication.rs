//! How a client shows an authorization server who it is (RFC 6749 section 2.3, RFC 7523): the values, not their sending.

use core::fmt;
use core::time::Duration;

use data_encoding::BASE64;
use http::HeaderValue;
use serde_json::json;
use zeroize::Zeroizing;

use crate::crypto::{Signer, SigningFailed};
use crate::jws::encode_base64url;
use crate::time::UnixTime;

/// The value of `client_assertion_type` beside an assertion (RFC 7523 section 2.2).
pub const CLIENT_ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How long an assertion is good for; it is made anew for each try, and need only travel.
const ASSERTION_LIFE: Duration = Duration::from_secs(60);

/// A client secret. It is wiped when dropped, and never printed.
#[derive(Clone)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// The secret as registered.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The secret itself.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A body of `application/x-www-form-urlencoded` that may hold secrets: it is wiped when dropped, and never printed.
///
/// ```
/// use keybound::client::Form;
///
/// let mut form = Form::new();
/// form.pair("grant_type", "client_credentials").pair("scope", "a b&c");
/// assert_eq!(form.as_str(), "grant_type=client_credentials&scope=a+b%26c");
/// ```
#[derive(Default)]
pub struct Form(Zeroizing<String>);

impl Form {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a parameter.
    pub fn pair(&mut self, name: &str, value: &str) -> &mut Self {
        if !self.0.is_empty() {
            self.0.push('&');
        }
        form_encode(name, &mut self.0);
        self.0.push('=');
        form_encode(value, &mut self.0);
        self
    }

    /// The body.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Form(..)")
    }
}

/// `Authorization: Basic` of a client: name and secret are form-encoded first (RFC 6749 section 2.3.1). The value is marked
/// as sensitive.
///
/// ```
/// use keybound::client::{Secret, basic_credentials};
///
/// let value = basic_credentials("orders job", &Secret::new("p&ss"));
/// assert_eq!(value, "Basic b3JkZXJzK2pvYjpwJTI2c3M=");
/// ```
pub fn basic_credentials(client_id: &str, secret: &Secret) -> HeaderValue {
    let mut pair = Zeroizing::new(String::new());
    form_encode(client_id, &mut pair);
    pair.push(':');
    form_encode(secret.expose(), &mut pair);
    let text = Zeroizing::new(["Basic ", &*Zeroizing::new(BASE64.encode(pair.as_bytes()))].concat());
    // Base64 is always a field value.
    let mut value = HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static("Basic"));
    value.set_sensitive(true);
    value
}

/// Appends `text` as it stands in `application/x-www-form-urlencoded`.
fn form_encode(text: &str, into: &mut String) {
    const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    for octet in text.bytes() {
        match octet {
            b' ' => into.push('+'),
            b'*' | b'-' | b'.' | b'_' => into.push(char::from(octet)),
            _ if octet.is_ascii_alphanumeric() => into.push(char::from(octet)),
            _ => {
                let digit = |value: u8| HEX.get(usize::from(value)).copied().unwrap_or('0');
                into.extend(['%', digit(octet >> 4), digit(octet & 0xf)]);
            }
        }
    }
}

/// An assertion for `private_key_jwt` (RFC 7523 section 3): `audience` is the issuer identifier alone, for one that names
/// several servers could be passed on. `jti` is sixteen random octets, fresh for each try.
///
/// # Errors
///
/// [`SigningFailed`].
pub fn client_assertion(
    key: &dyn Signer,
    kid: Option<&str>,
    client_id: &str,
    audience: &str,
    jti: [u8; 16],
    now: UnixTime,
) -> Result<String, SigningFailed> {
    let mut header = json!({"typ": "JWT", "alg": key.alg().name()});
    if let (Some(kid), Some(members)) = (kid, header.as_object_mut()) {
        members.insert("kid".into(), kid.into());
    }
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "jti": encode_base64url(&jti),
        "iat": now.as_secs(),
        "exp": now.plus(ASSERTION_LIFE).as_secs(),
    });
    let mut text = encode_base64url(header.to_string().as_bytes());
    text.push('.');
    text.push_str(&encode_base64url(claims.to_string().as_bytes()));
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&encode_base64url(&signature));
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    // RFC 6749 section 2.3.1 and appendix B
    #[test]
    fn names_and_secrets_are_form_encoded() {
        let encoded = |text| {
            let mut out = String::new();
            form_encode(text, &mut out);
            out
        };
        for (text, expected) in [
            ("abc-._*09", "abc-._*09"),
            ("a b", "a+b"),
            ("a+b", "a%2Bb"),
            ("a:b", "a%3Ab"),
            ("~", "%7E"),
            ("é", "%C3%A9"),
        ] {
            assert_eq!(encoded(text), expected, "{text:?}");
            assert_eq!(encoded(text), url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>());
        }
    }

    #[test]
    fn secrets_do_not_show() {
        assert_eq!(format!("{:?}", Secret::new("hunter2")), "Secret(..)");
        assert!(!format!("{:?}", basic_credentials("id", &Secret::new("hunter2"))).contains("aWQ"));
    }
}
