//! The keys access tokens are signed with, and the set that resource servers fetch.

use core::fmt;
use std::sync::Arc;

use keybound::crypto::aws_lc::{AwsLc, KeyError, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer};
use keybound::jwk::PublicJwk;
use keybound::jws::encode_base64url;
use keybound::refusal::Fault;
use keybound::token::jwt::{KeySet, KeySetError};
use serde_json::{Value, json};

/// The key that signs, and others that are published beside it: the one before, whose tokens are still about, or the next
/// one, so that nobody meets it unprepared. A key is named by its thumbprint.
///
/// ```
/// use keybound::crypto::Alg;
/// use keybound::crypto::aws_lc::SoftwareKey;
/// use keybound_issuer::Keys;
///
/// let keys = Keys::new(SoftwareKey::generate(Alg::Ed25519)?);
/// # let _ = keys;
/// # Ok::<(), keybound::crypto::aws_lc::KeyError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Keys {
    current: Arc<dyn Signer>,
    published: Vec<Published>,
}

#[derive(Clone)]
struct Published {
    alg: Alg,
    jwk: PublicJwk,
}

impl Keys {
    /// Signs with `current`.
    pub fn new(current: impl Signer + 'static) -> Self {
        let (alg, jwk) = (current.alg(), current.public_jwk().clone());
        Self { current: Arc::new(current), published: vec![Published { alg, jwk }] }
    }

    /// Signs with a new ES256 key that lives as long as this process.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`].
    pub fn generate() -> Result<Self, KeyError> {
        SoftwareKey::generate(Alg::Es256).map(Self::new)
    }

    /// Publishes a key that does not sign, or not any more.
    pub fn publish(mut self, alg: Alg, jwk: PublicJwk) -> Self {
        if self.published.iter().all(|known| known.jwk != jwk) {
            self.published.push(Published { alg, jwk });
        }
        self
    }

    /// The JWK set (RFC 7517 section 5).
    pub(crate) fn jwks(&self) -> Result<String, serde_json::Error> {
        let keys: Vec<Value> = self.published.iter().map(Published::jwk).collect::<Result<_, _>>()?;
        Ok(json!({ "keys": keys }).to_string())
    }

    /// The same set, ready for verifying tokens in this process.
    pub(crate) fn key_set(&self) -> Result<KeySet, KeySetError> {
        let algs: AlgSet = self.published.iter().map(|key| key.alg).collect();
        let jwks = self.jwks().map_err(|_| KeySetError::Malformed)?;
        KeySet::read_strictly(jwks.as_bytes(), &AwsLc, algs)
    }

    /// The algorithm of what it signs.
    pub(crate) fn alg(&self) -> Alg {
        self.current.alg()
    }

    /// A JWT of this type and these claims. The type keeps one kind from being taken for another (RFC 8725 section 3.11).
    pub(crate) fn sign(&self, typ: &str, claims: &Value) -> Result<String, Fault> {
        let kid = self.current.public_jwk().thumbprint();
        let header = format!(r#"{{"typ":"{typ}","alg":"{}","kid":"{kid}"}}"#, self.current.alg().name());
        let [header, claims] = [header, claims.to_string()].map(|text| encode_base64url(text.as_bytes()));
        let mut token = [&*header, ".", &claims].concat();
        let signature = self.current.sign(token.as_bytes()).map_err(|_| Fault::CryptoFailure)?;
        token.push('.');
        token.push_str(&encode_base64url(&signature));
        Ok(token)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let published = self.published.iter().map(|key| &key.jwk);
        f.debug_list().entries(published).finish()
    }
}

impl Published {
    fn jwk(&self) -> Result<Value, serde_json::Error> {
        let mut jwk: serde_json::Map<String, Value> = serde_json::from_str(&self.jwk.to_json())?;
        jwk.insert("kid".into(), self.jwk.thumbprint().to_string().into());
        jwk.insert("use".into(), "sig".into());
        jwk.insert("alg".into(), self.alg.name().into());
        Ok(jwk.into())
    }
}
