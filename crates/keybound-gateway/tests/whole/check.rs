//! `proof = "check"`: the proof is left to an upstream that speaks DPoP itself, with nonces of its own.

use std::net::SocketAddr;
use std::sync::Arc;
use std::thread;

use axum::Router;
use axum::routing::get;
use http::Method;
use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::Origins;
use keybound::token::TokenPolicy;
use keybound::token::jwt::KeySet;
use keybound::verify::{NoncePolicy, Verifier};
use keybound_tower::{Policy, ProtectLayer, ResourceServer};

use crate::scene::{ISSUER, ORIGIN, Scene, now, route};

/// An upstream that protects itself: it demands nonces of its own and records proofs.
fn upstream(scene: &Scene) -> SocketAddr {
    let nonces = StatelessNonces::new(NonceKey::new(1, random_array().unwrap()));
    let verifier = Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)).nonce_policy(NoncePolicy::Require);
    let epoch = Epoch::new(u64::from_be_bytes(random_array().unwrap()), now());
    let replays = MemoryStore::new(MemoryLimits::new(), random_array().unwrap(), epoch).unwrap();
    let origins = Origins::new(vec![ORIGIN.parse().unwrap()]).unwrap();
    let keys = KeySet::read_strictly(scene.jwks().as_bytes(), &AwsLc, AlgSet::ALL).unwrap();
    let server = ResourceServer::builder(verifier.build().unwrap(), origins, replays)
        .issuer(TokenPolicy::new(ISSUER, [ORIGIN]), keys)
        .build()
        .unwrap();
    let app =
        Router::new().route("/orders", get(async || "orders")).layer(ProtectLayer::new(server, Policy::required()));
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            axum::serve(listener, app).await.unwrap();
        });
    });
    address
}

// R-NONCE-02: one DPoP-Nonce comes back, and it is the upstream's, whatever the policy of the gateway.
#[test]
fn nonces_are_those_of_the_upstream() {
    let scene = Scene::new();
    let upstream = upstream(&scene);
    for policy in ["off", "offer", "require"] {
        let check = route("/", upstream, "proof = \"check\"\nupstream_authorization = \"pass\"");
        let gateway = scene.gateway(&format!("[proof]\nnonce = \"{policy}\"\n{check}"));
        // The gateway is new, and there is no barrier: it records nothing here.
        let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", None));
        assert_eq!((answer.status, &*answer.reason()), (401, "nonce.missing"), "{policy}");
        let nonce = answer.field("dpop-nonce").unwrap().to_owned();

        let credentials = scene.credentials(Method::GET, "/orders", Some(&nonce));
        let answer = gateway.get("/orders", &credentials);
        assert_eq!((answer.status, &*answer.text()), (200, "orders"), "{policy}");
        assert_eq!(answer.field("dpop-nonce"), None, "the upstream has none to give");

        // R-SEC-02: the upstream records.
        let answer = gateway.get("/orders", &credentials);
        assert_eq!((answer.status, &*answer.reason()), (401, "replay.seen"), "{policy}");

        let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some("made-up")));
        assert_eq!((answer.status, &*answer.reason()), (401, "nonce.unknown"), "{policy}");
        assert!(answer.field("dpop-nonce").is_some());
    }
}

// What the gateway can judge, it does: nothing of this reaches the upstream.
#[test]
fn everything_else_is_checked_here() {
    let scene = Scene::new();
    let echo = crate::support::Upstream::echo();
    let gateway = scene.gateway(&route("/", echo.address, "proof = \"check\"\nupstream_authorization = \"pass\""));
    let elsewhere = scene.credentials(Method::GET, "/bills", Some("of-the-upstream"));
    let answer = gateway.get("/orders", &elsewhere);
    assert_eq!((answer.status, &*answer.reason()), (401, "htu.mismatch"));
    assert_eq!(answer.field("dpop-nonce"), None);
    let answer = gateway.get("/orders", &format!("Authorization: Bearer {}\r\n", scene.token()));
    assert_eq!(answer.reason(), "token.downgrade");
    assert_eq!(echo.connections(), 0);
}
