//! What strangers send to the token endpoint: it must answer, and give nothing away. The fuzz target and the test that
//! replays its corpus call the same function.

use std::sync::{Arc, LazyLock};

use axum::body::Body;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderName, HeaderValue, Request};
use http_body_util::BodyExt as _;
use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::aws_lc::AwsLc;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::time::UnixTime;
use keybound::verify::Verifier;
use keybound_issuer::{Authentication, Client, Clock, GrantType, Issuer, IssuerConfig, Keys, Secret};
use tower::ServiceExt as _;

static ISSUER: LazyLock<Issuer> = LazyLock::new(issuer);

static RUNTIME: LazyLock<tokio::runtime::Runtime> =
    LazyLock::new(|| tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime"));

fn issuer() -> Issuer {
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [7; 32])));
    let verifier = Verifier::builder(Arc::new(AwsLc), nonces).build().expect("settings that hold");
    let epoch = Epoch::new(7, UnixTime::from_secs(1_600_000_000));
    let replays = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).expect("room"));
    let client = |id: &str, authentication| {
        Client::new(id, authentication).grant_type(GrantType::ClientCredentials).scope("read write")
    };
    let secret = || Secret::new("secret".to_owned()).expect("a secret");
    let config = IssuerConfig::new("https://id.example.com", "https://api.example.com")
        .client(client("basic", Authentication::SecretBasic(secret())))
        .client(client("post", Authentication::SecretPost(secret())))
        .client(client("bound", Authentication::SecretPost(secret())).dpop_bound_access_tokens());
    let keys = Keys::generate().expect("keys");
    Issuer::new(config, keys, AuthorizationServer::new(verifier), replays, Clock::system()).expect("an issuer")
}

/// Fields of a POST to the token endpoint, one a line, and after an empty line the body.
pub(crate) fn token_request(data: &[u8]) {
    let end = data.windows(2).position(|pair| pair == b"\n\n").unwrap_or(data.len());
    let (head, body) = data.split_at(end);
    let mut request = Request::post("/token").header("host", "id.example.com");
    let mut proofs = 0;
    for line in head.split(|octet| *octet == b'\n') {
        let colon = line.iter().position(|octet| *octet == b':').unwrap_or(line.len());
        let (name, value) = line.split_at(colon);
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value.get(1..).unwrap_or_default()))
        {
            proofs += usize::from(name == "dpop");
            request = request.header(name, value);
        }
    }
    let Ok(request) = request.body(Body::from(body.get(2..).unwrap_or_default().to_vec())) else { return };
    let response = RUNTIME.block_on(ISSUER.router().oneshot(request)).expect("an answer");
    let status = response.status().as_u16();
    assert!(matches!(status, 200 | 400 | 401 | 408 | 413 | 421 | 429), "{status}");
    if status == 421 {
        return; // Another host's endpoint.
    }
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store"); // R-AS-28
    assert!(response.headers()[CONTENT_TYPE].to_str().expect("text").starts_with("application/json"));
    let body = RUNTIME.block_on(response.into_body().collect()).expect("a body").to_bytes();
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    // Nobody who does not hold a key gets a bound token; and a proof that is there is never passed over.
    if status == 200 {
        assert_eq!((answer["token_type"].as_str(), proofs), (Some("Bearer"), 0));
    } else {
        assert!(answer["error"].is_string(), "{answer}");
    }
}
