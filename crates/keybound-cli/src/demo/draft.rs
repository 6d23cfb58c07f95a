//! A proof or token in the making, of which everything can be wrong.

use std::time::SystemTime;

use keybound::crypto::Signer;
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::outcome::Failure;

type Result<T> = std::result::Result<T, Failure>;

#[derive(Clone, Debug)]
#[must_use]
pub(super) struct Draft {
    header: Value,
    claims: Value,
}

impl Draft {
    /// A proof as it should be, for this request, by this key, now.
    pub(super) fn proof(key: &dyn Signer, method: &str, url: &str) -> Result<Self> {
        Ok(Self {
            header: json!({"typ": "dpop+jwt", "alg": key.alg().name(), "jwk": public(key)?}),
            claims: json!({"jti": identifier()?, "htm": method, "htu": url, "iat": now().as_secs()}),
        })
    }

    /// An access token as it should be, of this issuer, bound to the key of this thumbprint.
    pub(super) fn token(key: &dyn Signer, issuer: &str, audience: &str, jkt: &str) -> Result<Self> {
        let kid = key.public_jwk().thumbprint().to_string();
        let (iat, id) = (now().as_secs(), identifier()?);
        Ok(Self {
            header: json!({"typ": "at+jwt", "alg": key.alg().name(), "kid": kid}),
            claims: json!({
                "iss": issuer, "aud": audience, "sub": "demo", "client_id": "demo", "scope": "read admin",
                "iat": iat, "exp": iat + 300, "jti": id, "cnf": {"jkt": jkt},
            }),
        })
    }

    /// With this header parameter.
    pub(super) fn head(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header[name] = value.into();
        self
    }

    /// With this claim.
    pub(super) fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims[name] = value.into();
        self
    }

    /// For a request with this access token.
    pub(super) fn for_token(self, token: &str) -> Self {
        self.claim("ath", encode_base64url(&Sha256::digest(token)))
    }

    /// Signed by `key`, whatever the header says.
    pub(super) fn signed(&self, key: &dyn Signer) -> Result<String> {
        self.signed_with(|octets| key.sign(octets).map_err(Failure::failed))
    }

    /// With the signature that `sign` makes.
    pub(super) fn signed_with(&self, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<String> {
        signed(&self.header.to_string(), &self.claims.to_string(), sign)
    }

    /// With a header of these octets, made of the one that would stand there.
    pub(super) fn signed_under(&self, header: impl FnOnce(String) -> String, key: &dyn Signer) -> Result<String> {
        let sign = |octets: &[u8]| key.sign(octets).map_err(Failure::failed);
        signed(&header(self.header.to_string()), &self.claims.to_string(), sign)
    }
}

fn signed(header: &str, claims: &str, sign: impl FnOnce(&[u8]) -> Result<Vec<u8>>) -> Result<String> {
    let input = format!("{}.{}", encode_base64url(header.as_bytes()), encode_base64url(claims.as_bytes()));
    let signature = sign(input.as_bytes())?;
    Ok(format!("{input}.{}", encode_base64url(&signature)))
}

/// The public half of a key.
pub(super) fn public(key: &dyn Signer) -> Result<Value> {
    serde_json::from_str(&key.public_jwk().to_json()).map_err(Failure::failed)
}

/// The time by the clock of this machine.
pub(super) fn now() -> UnixTime {
    SystemTime::now().into()
}

fn identifier() -> Result<String> {
    Ok(encode_base64url(&random_array::<16>().map_err(Failure::failed)?))
}
