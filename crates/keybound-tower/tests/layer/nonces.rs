//! Nonces: when they are demanded and when they come along.

use super::*;

// R-NONCE-01, -02, -05, -06, -07, R-ERR-14
#[tokio::test]
async fn a_nonce_is_demanded_and_given() {
    let scene = Scene::with(NoncePolicy::Require, MemoryLimits::new());
    let token = scene.token();
    let answer = scene.ask_with(&Policy::required(), &token).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (401, "nonce.missing"));
    assert!(answer.line("www-authenticate").starts_with("DPoP error=\"use_dpop_nonce\""));
    assert_eq!(answer.line("cache-control"), "no-store"); // R-RS-29
    let nonce = answer.line("dpop-nonce").to_owned();

    let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(&nonce)));
    let answer = scene.ask(&Policy::required(), &fields.fields()).await;
    assert_eq!(answer.status, 200);
    assert!(answer.lines("dpop-nonce").is_empty(), "it is in the first half of its life");

    // R-NONCE-10: past half its life a new one comes along, whatever the answer is.
    scene.clock.turn(200);
    let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(&nonce)));
    for (policy, status) in [(Policy::required().scope("admin").unwrap(), 403), (Policy::required(), 200)] {
        let answer = scene.ask(&policy, &fields.fields()).await;
        assert_eq!(answer.status, status);
        assert_ne!(answer.line("dpop-nonce"), nonce);
    }
    scene.clock.turn(101);
    for (nonce, reason) in [(&*nonce, "nonce.stale"), ("made-up", "nonce.unknown")] {
        let fields = dpop(&token, &scene.proof_with_nonce(&token, Some(nonce)));
        let answer = scene.ask(&Policy::required(), &fields.fields()).await;
        assert_eq!(answer.reason(), reason);
        assert!(answer.line("www-authenticate").contains("use_dpop_nonce"));
        assert_eq!(answer.lines("dpop-nonce").len(), 1);
    }
}

// R-NONCE-12: a client with a wrong clock recovers.
#[tokio::test]
async fn a_wrong_clock_is_no_trouble_with_a_nonce() {
    let scene = Scene::with(NoncePolicy::Offer, MemoryLimits::new());
    let token = scene.token();
    let wrong = START.minus(core::time::Duration::from_secs(4000));
    let prove = |nonce| scene.client.prove(&Method::GET, ORDERS, &token, nonce, wrong).unwrap();
    let answer = scene.ask(&Policy::required(), &dpop(&token, &prove(None)).fields()).await;
    assert_eq!(answer.reason(), "iat.past");
    assert!(answer.line("www-authenticate").contains("use_dpop_nonce"));
    let nonce = answer.line("dpop-nonce");
    let answer = scene.ask(&Policy::required(), &dpop(&token, &prove(Some(nonce))).fields()).await;
    assert_eq!(answer.status, 200);
}

// R-NONCE-15: nobody is given a nonce for a proof that is not signed.
#[tokio::test]
async fn no_nonce_before_a_signature() {
    let scene = Scene::with(NoncePolicy::Require, MemoryLimits::new());
    let token = scene.token();
    let proof = scene.proof(&token);
    let forged = format!("{}AAAA", &proof[..proof.len() - 4]);
    let answer = scene.ask(&Policy::required(), &dpop(&token, &forged).fields()).await;
    assert_eq!(answer.reason(), "signature.invalid");
    assert!(answer.lines("dpop-nonce").is_empty());
}

// R-NONCE-02: where another service records the proof, the nonce is that service's, whatever the policy here.
#[tokio::test]
async fn nonces_of_the_service_behind_are_left_to_it() {
    let scene = Scene::with(NoncePolicy::Require, MemoryLimits::new());
    let token = scene.token();
    let policy = Policy::required().proof(ProofHandling::Check);
    for nonce in [None, Some("of-the-service-behind")] {
        let fields = dpop(&token, &scene.proof_with_nonce(&token, nonce));
        let answer = scene.ask(&policy, &fields.fields()).await;
        assert_eq!((answer.status.as_u16(), &*answer.body), (200, "alice LeftToUpstream"));
        assert!(answer.lines("dpop-nonce").is_empty());
    }
    // The time is that of iat, and no nonce of ours is the way out.
    let old = START.minus(core::time::Duration::from_secs(400));
    let proof = scene.client.prove(&Method::GET, ORDERS, &token, Some("of-the-service-behind"), old).unwrap();
    let answer = scene.ask(&policy, &dpop(&token, &proof).fields()).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (401, "iat.past"));
    assert!(answer.line("www-authenticate").contains("invalid_dpop_proof"));
    assert!(answer.lines("dpop-nonce").is_empty());
}

// Nothing was recorded here before a restart, so that no barrier stands for what another service records.
#[tokio::test]
async fn no_barrier_where_another_service_records() {
    let scene = Scene::with(NoncePolicy::Offer, MemoryLimits::new());
    scene.server.replays().raise(Epoch::new(8, START));
    let token = scene.token();
    let answer = scene.ask_with(&Policy::required(), &token).await;
    assert_eq!(answer.reason(), "nonce.barrier");
    let answer = scene.ask_with(&Policy::required().proof(ProofHandling::Check), &token).await;
    assert_eq!(answer.status, 200);
}
