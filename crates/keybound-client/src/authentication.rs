//! How a client shows an authorization server who it is (RFC 6749 section 2.3, RFC 7523).

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use data_encoding::BASE64;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue};
use keybound::crypto::Signer;
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use serde_json::json;
use url::form_urlencoded::{Serializer, byte_serialize};
use zeroize::Zeroizing;

use crate::error::Error;
use crate::metadata::Metadata;

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
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// How the client authenticates at the token endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// Not at all: a public client.
    None,
    /// By a secret, in the way the metadata names, Basic first.
    Secret(Secret),
    /// By a secret in the `Authorization` field.
    SecretBasic(Secret),
    /// By a secret in the body.
    SecretPost(Secret),
    /// By an assertion signed with this key (`private_key_jwt`), made anew for each try. It is best not the key of the proofs.
    PrivateKeyJwt {
        /// The key.
        key: Arc<dyn Signer>,
        /// The `kid` it is registered under, if the server wants one.
        kid: Option<Box<str>>,
    },
}

/// The body of a token request.
pub(crate) type Form = Serializer<'static, String>;

impl Authentication {
    /// Puts into `form` and `fields` who the client is. `now` is the time by the server's clock.
    pub(crate) fn apply(
        &self,
        client_id: &str,
        metadata: &Metadata,
        form: &mut Form,
        fields: &mut HeaderMap,
        now: UnixTime,
    ) -> Result<(), Error> {
        match self {
            Self::SecretBasic(secret) => basic(client_id, secret, fields),
            Self::Secret(secret) if metadata.takes_basic() => basic(client_id, secret, fields),
            Self::None => {
                form.append_pair("client_id", client_id);
            }
            Self::Secret(secret) | Self::SecretPost(secret) => {
                form.append_pair("client_id", client_id)
                    .append_pair("client_secret", &secret.0);
            }
            Self::PrivateKeyJwt { key, kid } => {
                let assertion = assertion(&**key, kid.as_deref(), client_id, metadata.issuer(), now)?;
                form.append_pair("client_id", client_id)
                    .append_pair(
                        "client_assertion_type",
                        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                    )
                    .append_pair("client_assertion", &assertion);
            }
        }
        Ok(())
    }
}

/// RFC 6749 section 2.3.1: both are form-encoded first.
fn basic(client_id: &str, secret: &Secret, fields: &mut HeaderMap) {
    let encode = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
    let pair = Zeroizing::new(format!("{}:{}", encode(client_id), encode(&secret.0)));
    let mut value =
        HeaderValue::try_from(format!("Basic {}", BASE64.encode(pair.as_bytes()))).expect("base64 is a field value");
    value.set_sensitive(true);
    fields.insert(AUTHORIZATION, value);
}

/// For the issuer alone: an assertion that names one server cannot be passed on to another.
fn assertion(
    key: &dyn Signer,
    kid: Option<&str>,
    client_id: &str,
    issuer: &str,
    now: UnixTime,
) -> Result<String, Error> {
    let mut header = json!({"typ": "JWT", "alg": key.alg().name()});
    if let Some(kid) = kid {
        header["kid"] = kid.into();
    }
    let jti: [u8; 16] = random_array().map_err(|_| Error::Random)?;
    let claims = json!({
        "iss": client_id,
        "sub": client_id,
        "aud": issuer,
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
