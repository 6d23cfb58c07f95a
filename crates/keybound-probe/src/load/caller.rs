//! Who calls: a key, and the token bound to it if there is one.

use core::fmt;
use std::sync::Arc;

use http::{HeaderValue, Method};
use keybound::client::{Credentials, MalformedToken, ProofClaims, Prover};
use keybound::crypto::aws_lc::random_array;
use keybound::crypto::{Signer, SigningFailed};
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use parking_lot::RwLock;

use super::error::LoadError;

/// One holder of a key. Clones share the token, so that it can be renewed while a load runs.
#[derive(Clone)]
pub struct Caller(Arc<Inner>);

struct Inner {
    signer: Arc<dyn Signer>,
    prover: Prover,
    credentials: RwLock<Option<Credentials>>,
}

/// What makes one request this caller's: its fields, good for one sending.
pub(crate) struct Signed {
    /// Where there is a token.
    pub(crate) authorization: Option<HeaderValue>,
    pub(crate) proof: HeaderValue,
}

impl Caller {
    /// Holds this key and a token that is bound to it.
    ///
    /// # Errors
    ///
    /// [`LoadError::Key`], [`LoadError::Token`].
    pub fn new(signer: Arc<dyn Signer>, token: &str) -> Result<Self, LoadError> {
        Self::with(signer, Some(Credentials::new(token)?))
    }

    /// Holds this key and no token: for the token endpoint of an issuer, whose proofs have no `ath`.
    ///
    /// # Errors
    ///
    /// [`LoadError::Key`].
    pub fn without_token(signer: Arc<dyn Signer>) -> Result<Self, LoadError> {
        Self::with(signer, None)
    }

    fn with(signer: Arc<dyn Signer>, credentials: Option<Credentials>) -> Result<Self, LoadError> {
        let prover = Prover::of(&*signer)?;
        Ok(Self(Arc::new(Inner { signer, prover, credentials: RwLock::new(credentials) })))
    }

    /// From now on has this token. Proofs that were signed before keep the old one.
    ///
    /// # Errors
    ///
    /// [`LoadError::Token`].
    pub fn renew(&self, token: &str) -> Result<(), LoadError> {
        *self.0.credentials.write() = Some(Credentials::new(token)?);
        Ok(())
    }

    pub(crate) fn sign(
        &self,
        method: &Method,
        target: &TargetUri,
        nonce: Option<&Nonce>,
        now: UnixTime,
    ) -> Result<Signed, SigningFailed> {
        let credentials = self.0.credentials.read().clone();
        let jti = random_array().map_err(|_| SigningFailed::new("there are no random numbers"))?;
        let mut claims = ProofClaims::new(method, target, jti, now);
        if let Some(credentials) = &credentials {
            claims = claims.credentials(credentials);
        }
        if let Some(nonce) = nonce {
            claims = claims.nonce(nonce);
        }
        let proof = self.0.prover.prepare(&claims).sign(&*self.0.signer)?;
        let proof = HeaderValue::from_str(proof.as_str()).map_err(|_| SigningFailed::new("no field value"))?;
        Ok(Signed { authorization: credentials.map(|credentials| credentials.field().clone()), proof })
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller").field("key", &self.0.signer).finish_non_exhaustive()
    }
}

/// The value of `Authorization` under the scheme Bearer.
pub(crate) fn bearer(token: &str) -> Result<HeaderValue, MalformedToken> {
    Credentials::new(token)?; // the same characters are allowed
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).expect("a token68 makes a field value");
    value.set_sensitive(true);
    Ok(value)
}
