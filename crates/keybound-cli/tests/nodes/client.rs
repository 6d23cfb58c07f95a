//! A client with a token, as RFC 9449 has it. The tests of `cli` use it too.

use std::time::SystemTime;

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, Signer as _};
use keybound::jws::encode_base64url;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use serde_json::json;

/// Whose tokens they are.
pub(crate) const ISSUER: &str = "https://id.example.com";

/// What they are for.
pub(crate) const ORIGIN: &str = "https://api.example.com";

pub(crate) struct Client {
    key: SoftwareKey,
    prover: Prover,
    token: String,
}

impl Client {
    /// With a key of its own, and a token that is signed by this one.
    pub(crate) fn new(issuer: &SoftwareKey) -> Self {
        let key = SoftwareKey::generate(Alg::Es256).unwrap();
        let (now, jkt) = (now().as_secs(), key.thumbprint().to_string());
        let claims = json!({
            "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "app", "jti": jkt,
            "iat": now, "exp": now + 12 * 3600, "cnf": {"jkt": jkt},
        });
        let header = json!({"typ": "at+jwt", "alg": issuer.alg().name()}).to_string();
        let signed = [header, claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
        let signature = encode_base64url(&issuer.sign(signed.as_bytes()).unwrap());
        let prover = Prover::of(&key).unwrap();
        Self { key, prover, token: format!("{signed}.{signature}") }
    }

    /// The fields of a GET of `/a`, with a proof of its own.
    pub(crate) fn fields(&self, nonce: Option<&str>) -> String {
        self.fields_with(&self.token, nonce)
    }

    /// The same with another token.
    pub(crate) fn fields_with(&self, token: &str, nonce: Option<&str>) -> String {
        let target = TargetUri::parse(&format!("{ORIGIN}/a")).unwrap();
        let credentials = Credentials::new(token).unwrap();
        let nonce = nonce.and_then(Nonce::parse);
        let mut claims =
            ProofClaims::new(&Method::GET, &target, random_array().unwrap(), now()).credentials(&credentials);
        if let Some(nonce) = &nonce {
            claims = claims.nonce(nonce);
        }
        let proof = self.prover.prepare(&claims).sign(&self.key).unwrap();
        format!("Authorization: DPoP {token}\r\nDPoP: {}\r\n", proof.as_str())
    }
}

pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}
