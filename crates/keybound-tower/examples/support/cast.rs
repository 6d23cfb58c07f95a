//! The others of the play: an issuer that signs tokens, a client that proves its key, and the resource server's settings.

use std::sync::Arc;

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey, random_array};
use keybound::crypto::{Alg, AlgSet, Signer};
use keybound::jws::encode_base64url;
use keybound::nonce::{Nonce, NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::{Origins, TargetUri};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::jwt::KeySet;
use keybound::verify::{Verifier, VerifierBuilder};
use keybound_tower::{Clock, ResourceServer, ResourceServerBuilder, SystemClock};
use serde_json::{Value, json};

pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Whose tokens are accepted.
pub(crate) const ISSUER: &str = "https://id.example.com";

/// Signs access tokens. A real one is `keybound issuer`, or the one you have.
pub(crate) struct Issuer {
    key: SoftwareKey,
}

impl Issuer {
    pub(crate) fn new() -> Result<Self, Failure> {
        let key = SoftwareKey::generate(Alg::Es256)?;
        Ok(Self { key })
    }

    /// Its public keys, as it would serve them.
    pub(crate) fn jwks(&self) -> String {
        format!(r#"{{"keys":[{}]}}"#, self.key.public_jwk().to_json())
    }

    pub(crate) fn keys(&self) -> Result<KeySet, Failure> {
        Ok(KeySet::read_strictly(self.jwks().as_bytes(), &AwsLc, AlgSet::ALL)?)
    }

    /// A token that says this and nothing else.
    pub(crate) fn sign(&self, claims: &Value) -> Result<String, Failure> {
        let header = json!({"typ": "at+jwt", "alg": self.key.alg().name()}).to_string();
        let signed = [header, claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
        let signature = encode_base64url(&self.key.sign(signed.as_bytes())?);
        Ok(format!("{signed}.{signature}"))
    }

    /// What a token for this audience says that is bound to the key of `client` and good for ten minutes.
    pub(crate) fn claims(client: &Client, audience: &str, scope: &str, now: UnixTime) -> Value {
        json!({
            "iss": ISSUER, "aud": audience, "sub": "alice", "client_id": "orders-app", "scope": scope, "jti": "t-1",
            "iat": now.as_secs(), "exp": now.as_secs() + 600, "cnf": {"jkt": client.jkt()},
        })
    }
}

/// Holds a key and proves it. A real one is crate `keybound-client`.
pub(crate) struct Client {
    key: SoftwareKey,
    prover: Prover,
}

impl Client {
    pub(crate) fn new() -> Result<Self, Failure> {
        let key = SoftwareKey::generate(Alg::Es256)?;
        let prover = Prover::of(&key)?;
        Ok(Self { key, prover })
    }

    pub(crate) fn jkt(&self) -> String {
        self.key.thumbprint().to_string()
    }

    /// A proof for one request with this token.
    pub(crate) fn prove(
        &self,
        method: &Method,
        url: &str,
        token: &str,
        nonce: Option<&str>,
        now: UnixTime,
    ) -> Result<String, Failure> {
        let target = TargetUri::parse(url)?;
        let credentials = Credentials::new(token)?;
        let nonce = nonce.and_then(Nonce::parse);
        let mut claims = ProofClaims::new(method, &target, random_array()?, now).credentials(&credentials);
        if let Some(nonce) = &nonce {
            claims = claims.nonce(nonce);
        }
        Ok(self.prover.prepare(&claims).sign(&self.key)?.as_str().to_owned())
    }
}

// ANCHOR: resource_server
/// Checks signatures by AWS-LC, and makes nonces under a key of this process.
pub(crate) fn verifier() -> Result<VerifierBuilder, Failure> {
    let nonces = StatelessNonces::new(NonceKey::new(1, random_array()?));
    Ok(Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)))
}

/// An empty replay memory that has been there for an hour. A real one says `now`: then, for the first minutes, proofs
/// without a nonce are asked for one, because nobody knows what was accepted before.
pub(crate) fn replays(now: UnixTime) -> Result<MemoryStore, Failure> {
    let opened = now.minus(core::time::Duration::from_secs(3600));
    let epoch = Epoch::new(u64::from_ne_bytes(random_array()?), opened);
    Ok(MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?)
}

/// The settings of a resource server at `origin` that accepts the tokens of `issuer`.
pub(crate) fn resource_server(
    origin: &str,
    issuer: &Issuer,
    verifier: Verifier,
    now: UnixTime,
) -> Result<ResourceServerBuilder<MemoryStore>, Failure> {
    let origins = Origins::new(vec![origin.parse()?])?;
    let policy = TokenPolicy::new(ISSUER, [origin]);
    Ok(ResourceServer::builder(verifier, origins, replays(now)?).issuer(policy, issuer.keys()?))
}
// ANCHOR_END: resource_server

pub(crate) fn now() -> UnixTime {
    SystemClock::new().now()
}
