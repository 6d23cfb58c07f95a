//! An issuer under a clock that stands still, and a client of it.

use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt as _;
use keybound::authorization_server::AuthorizationServer;
use keybound::client::{ProofClaims, Prover};
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, AlgSet};
use keybound::nonce::{Nonce, NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_issuer::audit::Query;
use keybound_issuer::{Authentication, Client, Clock, GrantType, Issuer, IssuerConfig, Keys, Secret};
use serde_json::Value;
use tower::ServiceExt as _;

pub(crate) const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
pub(crate) const SECRET: &str = "7Fjfp0ZBr1KtDRbnfVdmIw";

/// An answer, its body read to the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// What is not JSON.
    pub(crate) text: String,
}

pub(crate) fn secret() -> Secret {
    Secret::new(SECRET.to_owned()).expect("a secret")
}

pub(crate) fn config(url: &str) -> IssuerConfig {
    let client = Client::new("app", Authentication::SecretPost(secret()))
        .grant_type(GrantType::ClientCredentials)
        .scope("orders:read orders:write");
    IssuerConfig::new(url, "https://api.example.com").client(client)
}

pub(crate) fn issuer(config: IssuerConfig, policy: NoncePolicy, algs: AlgSet) -> Issuer {
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [1; 32])));
    let verifier = Verifier::builder(Arc::new(AwsLc), nonces).nonce_policy(policy).algorithms(algs);
    let epoch = Epoch::new(42, UnixTime::from_secs(1_699_000_000));
    let store = MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).expect("room");
    let server = AuthorizationServer::new(verifier.build().expect("settings that hold"));
    Issuer::new(config, Keys::generate().expect("keys"), server, Arc::new(store), Clock::new(|| NOW))
        .expect("an issuer")
}

pub(crate) async fn send(issuer: &Issuer, request: Request<Body>) -> Answer {
    let (parts, body) = issuer.router().oneshot(request).await.expect("an answer").into_parts();
    let octets = body.collect().await.expect("a body").to_bytes();
    let body = serde_json::from_slice(&octets);
    if let Ok(Value::String(reason)) = body.as_ref().map(|body: &Value| body["error_description"].clone()) {
        // Every refusal is the latest entry of the audit log.
        let page = issuer.administration().entries(&Query::default()).await.expect("a store that works");
        let latest = page.entries.first().and_then(|noted| noted.entry.reason.clone());
        assert_eq!(latest.as_deref(), Some(&*reason));
    }
    let text = if body.is_ok() { String::new() } else { String::from_utf8_lossy(&octets).into_owned() };
    Answer { status: parts.status.as_u16(), headers: parts.headers, body: body.unwrap_or(Value::Null), text }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header("host", "id.example.com").body(Body::empty()).expect("a request")
}

/// A token request of the client `app`, with or without a proof.
pub(crate) fn post(proof: Option<&str>, more: &str) -> Request<Body> {
    let mut request = Request::post("/token")
        .header("host", "id.example.com")
        .header("content-type", "application/x-www-form-urlencoded");
    if let Some(proof) = proof {
        request = request.header("dpop", proof);
    }
    let body = format!("grant_type=client_credentials&client_id=app&client_secret={SECRET}{more}");
    request.body(Body::from(body)).expect("a request")
}

pub(crate) fn key() -> SoftwareKey {
    SoftwareKey::generate(Alg::Es256).expect("a key")
}

pub(crate) fn proof(key: &SoftwareKey, jti: u8, nonce: Option<&Nonce>) -> String {
    let endpoint = TargetUri::parse("https://id.example.com/token").expect("a URI");
    let mut claims = ProofClaims::new(&Method::POST, &endpoint, [jti; 16], NOW);
    if let Some(nonce) = nonce {
        claims = claims.nonce(nonce);
    }
    Prover::of(key).expect("a prover").prepare(&claims).sign(key).expect("a proof").as_str().to_owned()
}
