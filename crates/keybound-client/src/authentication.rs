//! How a client shows an authorization server who it is (RFC 6749 section 2.3, RFC 7523).

use std::sync::Arc;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use keybound::client::{CLIENT_ASSERTION_TYPE, Form, basic_credentials, client_assertion};
use keybound::crypto::Signer;
use keybound::crypto::aws_lc::random_array;
use keybound::time::UnixTime;

pub use keybound::client::Secret;

use crate::error::Error;
use crate::metadata::Metadata;

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
            Self::SecretBasic(secret) => {
                fields.insert(AUTHORIZATION, basic_credentials(client_id, secret));
            }
            Self::Secret(secret) if metadata.takes_basic() => {
                fields.insert(AUTHORIZATION, basic_credentials(client_id, secret));
            }
            Self::None => {
                form.pair("client_id", client_id);
            }
            Self::Secret(secret) | Self::SecretPost(secret) => {
                form.pair("client_id", client_id).pair("client_secret", secret.expose());
            }
            Self::PrivateKeyJwt { key, kid } => {
                let jti = random_array().map_err(|_| Error::Random)?;
                let assertion = client_assertion(&**key, kid.as_deref(), client_id, metadata.issuer(), jti, now)?;
                form.pair("client_id", client_id)
                    .pair("client_assertion_type", CLIENT_ASSERTION_TYPE)
                    .pair("client_assertion", &assertion);
            }
        }
        Ok(())
    }
}
