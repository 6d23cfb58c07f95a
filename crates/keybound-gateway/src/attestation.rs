//! What the gateway tells an upstream of a request that it let through, signed (`route.proof = "attest"`): a JWT for this very
//! request, good for some seconds, and the key set to check it with.
//!
//! ```json
//! {"iss": "https://api.example.com", "aud": "http://127.0.0.1:9000",
//!  "htm": "GET", "htu": "https://api.example.com/orders/17", "ath": "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo",
//!  "sub": "alice", "client_id": "orders-app", "scope": "orders:read", "token_issuer": "https://id.example.com",
//!  "jkt": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I",
//!  "iat": 1700000000, "exp": 1700000030, "jti": "3TQxNvVYK0eQ1zyBbDpu9w"}
//! ```
//!
//! The header says `typ`, `alg` and `kid`. Method, target (as a proof has it: the normal form of what the client aimed at, without
//! its query) and `ath` are those of the request. Without `jkt`, the token is bound to no key and nobody proved one, which
//! `mode = "optional"` alone lets through. Whoever checks it looks at signature, `typ`, `aud`, `exp`, `htm` and `htu`; it says nothing
//! of query, body and other fields, and may come more than once: the upstream that cares remembers `jti` until `exp`.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use http::Method;
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::jwk::Thumbprint;
use keybound::jws::encode_base64url;
use keybound::time::UnixTime;
use keybound::token::TokenFacts;
use serde_json::{Map, Value, json};

use crate::answer::Problem;
use crate::config::Config;
use crate::engine::EngineError;
use crate::signing_key;

/// The `typ` of a statement, which no token of an issuer and no proof has.
pub const TYPE: &str = "keybound-attestation+jwt";

/// Where its key set is, at every declared origin.
pub const WELL_KNOWN: &str = "/.well-known/keybound-attestation-jwks";

/// The key that signs, and the one before it, whose statements are still on their way.
#[derive(Clone)]
pub(crate) struct Keys {
    file: Option<PathBuf>,
    current: Arc<SoftwareKey>,
    earlier: Option<Arc<SoftwareKey>>,
}

impl Keys {
    /// Of the file that the configuration names, or for the life of this process; `kept` are those of the configuration before.
    pub(crate) fn open(config: &Config, kept: Option<Self>) -> Result<Self, EngineError> {
        let file = config.attestation.signing_key.clone();
        let current = match (&file, &kept) {
            (None, Some(kept)) if kept.file.is_none() => return Ok(kept.clone()),
            (None, _) => {
                let made = SoftwareKey::generate(Alg::Es256);
                made.map_err(|error| EngineError::new("attestation key", error))?
            }
            (Some(path), _) => signing_key::open("attestation.signing_key", path)?,
        };
        Ok(match kept {
            Some(kept) if kept.current.thumbprint() == current.thumbprint() => Self { file, ..kept },
            kept => Self { file, current: Arc::new(current), earlier: kept.map(|kept| kept.current) },
        })
    }

    /// The JWK set (RFC 7517 section 5).
    fn jwks(&self) -> String {
        let keys: Vec<Value> =
            [Some(&self.current), self.earlier.as_ref()].into_iter().flatten().map(published).collect();
        json!({ "keys": keys }).to_string()
    }
}

fn published(key: &Arc<SoftwareKey>) -> Value {
    let jwk = key.public_jwk();
    let mut members: Map<String, Value> = serde_json::from_str(&jwk.to_json()).expect("a key is written as JSON");
    for (name, value) in
        [("kid", jwk.thumbprint().to_string()), ("use", "sig".into()), ("alg", key.alg().name().into())]
    {
        members.insert(name.to_owned(), value.into());
    }
    members.into()
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys")
            .field("file", &self.file)
            .field("kid", &self.current.thumbprint())
            .finish_non_exhaustive()
    }
}

/// Whoever makes the statements of one configuration.
pub(crate) struct Attestor {
    key: Arc<SoftwareKey>,
    /// The first segment of each: nothing in it changes.
    header: Box<str>,
    lifetime: Duration,
    jwks: Bytes,
}

/// What a statement is about.
pub(crate) struct Statement<'s> {
    /// The public origin.
    pub(crate) issuer: &'s str,
    pub(crate) audience: &'s [String],
    pub(crate) method: &'s Method,
    pub(crate) target: &'s str,
    pub(crate) token_hash: [u8; 32],
    pub(crate) facts: &'s TokenFacts,
    pub(crate) jkt: Option<&'s Thumbprint>,
}

impl Attestor {
    pub(crate) fn new(keys: &Keys, lifetime: Duration) -> Self {
        let key = Arc::clone(&keys.current);
        let header = json!({ "typ": TYPE, "alg": key.alg().name(), "kid": key.thumbprint().to_string() });
        let header = encode_base64url(header.to_string().as_bytes()).into();
        Self { key, header, lifetime, jwks: keys.jwks().into() }
    }

    /// The key set, as it is served.
    pub(crate) fn jwks(&self) -> Bytes {
        self.jwks.clone()
    }

    /// The statement, of now.
    pub(crate) fn sign(&self, statement: &Statement<'_>) -> Result<String, Problem> {
        let failed = |error: &dyn fmt::Display| {
            tracing::error!(%error, "no statement could be signed for an upstream");
            Problem::AttestationFailed
        };
        let jti = random_array::<16>().map_err(|error| failed(&error))?;
        let claims = statement.claims(UnixTime::from(SystemTime::now()), self.lifetime, &jti);
        let mut text = [&*self.header, ".", &encode_base64url(claims.to_string().as_bytes())].concat();
        let signature = self.key.sign(text.as_bytes()).map_err(|error| failed(&error))?;
        text.push('.');
        text.push_str(&encode_base64url(&signature));
        Ok(text)
    }
}

impl Statement<'_> {
    fn claims(&self, now: UnixTime, lifetime: Duration, jti: &[u8]) -> Value {
        let scope = self.facts.scopes().collect::<Vec<_>>().join(" ");
        let texts = [
            ("iss", self.issuer),
            ("htm", self.method.as_str()),
            ("htu", self.target),
            ("ath", &encode_base64url(&self.token_hash)),
            ("sub", self.facts.subject()),
            ("client_id", self.facts.client_id()),
            ("scope", &scope),
            ("token_issuer", self.facts.issuer()),
            ("jti", &encode_base64url(jti)),
        ];
        let mut claims = Map::new();
        claims.extend(texts.into_iter().map(|(name, value)| (name.to_owned(), Value::from(value))));
        claims.insert(
            "aud".to_owned(),
            match self.audience {
                [one] => one.as_str().into(),
                several => several.into(),
            },
        );
        if let Some(jkt) = self.jkt {
            claims.insert("jkt".to_owned(), jkt.to_string().into());
        }
        claims.insert("iat".to_owned(), now.as_secs().into());
        claims.insert("exp".to_owned(), now.plus(lifetime).as_secs().into());
        claims.into()
    }
}

impl fmt::Debug for Attestor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Attestor").field("kid", &self.key.thumbprint()).finish_non_exhaustive()
    }
}
