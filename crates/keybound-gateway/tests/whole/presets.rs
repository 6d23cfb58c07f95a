//! `proof.preset`: what each sets, as clients meet it.

use core::time::Duration;

use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::{SoftwareKey, random_array};
use keybound::crypto::{Alg, AlgSet};
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;

use crate::scene::{ORIGIN, Running, Scene, now, route};
use crate::support::{Answer, Upstream};

fn gateway(scene: &Scene, upstream: &Upstream, proof: &str) -> Running {
    scene.gateway(&format!("[proof]\n{proof}\n{}", route("/", upstream.address, "")))
}

/// With a proof whose `iat` is off by so many seconds.
fn off_by(gateway: &Running, scene: &Scene, seconds: i64, nonce: Option<&str>) -> Answer {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    let iat =
        if seconds < 0 { UnixTime::from_secs(now().as_secs() - distance.as_secs()) } else { now().plus(distance) };
    let token = scene.token();
    let proof = scene.proof_at(iat, Method::GET, "/", &token, nonce);
    gateway.get("/", &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"))
}

// R-PRF-35, R-PRF-36
#[test]
fn windows() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for (preset, table) in [
        // A nonce tells the time, so that a client with a wrong clock gets on.
        ("default", &[(-290, None), (-400, None), (50, None), (400, None)][..]),
        ("fapi", &[(-50, None), (-70, Some("iat.past")), (5, None), (20, Some("iat.future"))]),
        ("mcp", &[(-290, None), (-310, Some("iat.past")), (50, None), (70, Some("iat.future"))]),
    ] {
        let gateway = gateway(&scene, &upstream, &format!("preset = \"{preset}\""));
        let first = gateway.get("/", &scene.credentials(Method::GET, "/", None));
        let nonce = first.field("dpop-nonce").unwrap();
        for (seconds, refused) in table {
            let answer = off_by(&gateway, &scene, *seconds, Some(nonce));
            let found = (answer.status == 401).then(|| answer.reason());
            assert_eq!(found.as_deref(), *refused, "{preset} {seconds}: {answer:?}");
            // No nonce would help.
            assert!(refused.is_none() || answer.text().contains("\"invalid_dpop_proof\""), "{}", answer.text());
        }
    }
}

// Who has none is asked for one, in fapi always, else by what the gateway remembers.
#[test]
fn nonces() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for (preset, expected) in [("default", "nonce.barrier"), ("fapi", "nonce.missing"), ("mcp", "nonce.barrier")] {
        let gateway = gateway(&scene, &upstream, &format!("preset = \"{preset}\""));
        let answer = off_by(&gateway, &scene, 0, None);
        assert_eq!((answer.status, &*answer.reason()), (401, expected), "{preset}");
        assert!(
            answer.field("www-authenticate").unwrap().contains("use_dpop_nonce")
                && answer.field("dpop-nonce").is_some()
        );
    }
    // One key is as it is written, the others as the preset has them.
    let gateway = gateway(&scene, &upstream, "preset = \"fapi\"\nnonce = \"offer\"");
    assert_eq!(off_by(&gateway, &scene, 0, None).reason(), "nonce.barrier");
    assert_eq!(off_by(&gateway, &scene, -70, None).reason(), "iat.past");
}

// R-RS-27: what is not accepted is not advertised either.
#[test]
fn algorithms() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let keys: Vec<_> = AlgSet::ALL.iter().map(|alg| SoftwareKey::generate(alg).unwrap()).collect();
    let fapi = [Alg::Es256, Alg::Ed25519, Alg::Ps256, Alg::EdDsa].into_iter().collect::<AlgSet>();
    for (preset, accepted) in [("default", AlgSet::ALL), ("fapi", fapi), ("mcp", AlgSet::ALL)] {
        let gateway = gateway(&scene, &upstream, &format!("preset = \"{preset}\""));
        let first = off_by(&gateway, &scene, 0, None);
        let nonce = Nonce::parse(first.field("dpop-nonce").unwrap()).unwrap();
        let advertised = format!("algs=\"{accepted}\"");
        assert!(first.field("www-authenticate").unwrap().contains(&advertised), "{preset}: {first:?}");
        let described = gateway.get("/.well-known/oauth-protected-resource", "");
        let described: serde_json::Value = serde_json::from_slice(&described.body).unwrap();
        let names: Vec<_> = accepted.iter().map(Alg::name).collect();
        assert_eq!(described["dpop_signing_alg_values_supported"], serde_json::json!(names));
        for (alg, key) in AlgSet::ALL.iter().zip(&keys) {
            let token = scene.token();
            let (target, credentials) = (TargetUri::parse(ORIGIN).unwrap(), Credentials::new(&token).unwrap());
            let claims = ProofClaims::new(&Method::GET, &target, random_array().unwrap(), now());
            let claims = claims.credentials(&credentials).nonce(&nonce);
            let proof = Prover::of(key).unwrap().prepare(&claims).sign(key).unwrap();
            let answer = gateway.get("/", &format!("Authorization: DPoP {token}\r\nDPoP: {}\r\n", proof.as_str()));
            // The token is bound to another key: an accepted proof comes as far as that.
            let expected = if accepted.contains(alg) { "key.mismatch" } else { "alg.unsupported" };
            assert_eq!((answer.status, &*answer.reason()), (401, expected), "{preset} {}", alg.name());
        }
    }
}

// R-RS-31 of the MCP profile: whatever is wrong with a proof, the answer is 401 with a DPoP challenge.
#[test]
fn every_fault_of_a_proof_is_a_challenge_in_mcp() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = gateway(&scene, &upstream, "preset = \"mcp\"");
    let nonce = scene.nonce(&gateway, "/");
    let token = scene.token();
    let with = |proof: &str| format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    let good = || scene.proof(Method::GET, "/", &token, Some(&nonce));
    let used = with(&good());
    assert_eq!(gateway.get("/", &used).status, 200);
    for (fields, reason) in [
        (format!("Authorization: DPoP {token}\r\n"), "proof.missing"),
        (with(""), "proof.malformed"),
        (with(&[&*good(), "\r\nDPoP: ", &good()].concat()), "proof.repeated"),
        (with(&"x".repeat(9000)), "proof.oversized"),
        (with("a.b.c"), "proof.encoding"),
        (with(&token), "typ.invalid"),
        (with(&scene.proof(Method::PUT, "/", &token, Some(&nonce))), "htm.mismatch"),
        (with(&scene.proof(Method::GET, "/x", &token, Some(&nonce))), "htu.mismatch"),
        (with(&scene.proof(Method::GET, "/", &token, Some("x"))), "nonce.unknown"),
        (with(&scene.proof(Method::GET, "/", &scene.unbound_token(), Some(&nonce))), "ath.mismatch"),
        (used.clone(), "replay.seen"),
    ] {
        let answer = gateway.get("/", &fields);
        assert_eq!((answer.status, &*answer.reason()), (401, reason));
        assert!(answer.field("www-authenticate").is_some_and(|challenge| challenge.starts_with("DPoP ")), "{reason}");
    }
    // R-RS-15: the audience is checked, however good the proof is.
    let other = scene.token_with(&serde_json::json!({ "aud": "https://other.example" }));
    let proof = scene.proof(Method::GET, "/", &other, Some(&nonce));
    let answer = gateway.get("/", &format!("Authorization: DPoP {other}\r\nDPoP: {proof}\r\n"));
    assert_eq!((answer.status, &*answer.reason()), (401, "token.audience"));
}
