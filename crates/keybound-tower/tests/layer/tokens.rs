//! Tokens: who is admitted, and what the others are told.

use super::*;

// R-RS-01, R-RS-04
#[tokio::test]
async fn the_holder_of_the_key_is_admitted() {
    let scene = Scene::new();
    let answer = scene.ask_with(&Policy::required(), &scene.token()).await;
    assert_eq!((answer.status.as_u16(), &*answer.body), (200, "alice Recorded"));
    assert!(answer.lines("dpop-nonce").is_empty(), "nonces are off");
}

// R-RS-03, -06, -07, -08, -13 to -18, -20, -32; R-ERR-04 to -07, -10 to -13
#[tokio::test]
async fn what_is_wrong_and_what_is_said() {
    let scene = Scene::new();
    let token = scene.token();
    let with = |claim: &str, value: Value| {
        let token = scene.token_with(claim, &value);
        let proof = scene.proof(&token);
        dpop(&token, &proof)
    };
    let thief = Client::new().unwrap();
    let by_thief = thief.prove(&Method::GET, ORDERS, &token, None, START).unwrap();
    let elsewhere = scene.client.prove(&Method::GET, ORIGIN, &token, None, START).unwrap();
    let posted = scene.client.prove(&Method::POST, ORDERS, &token, None, START).unwrap();
    let early = START.plus(core::time::Duration::from_secs(61));
    let early = scene.client.prove(&Method::GET, ORDERS, &token, None, early).unwrap();
    let forged = format!("{}AAAA", &token[..token.len() - 4]);
    let proof = || scene.proof(&token);
    for (fields, status, error, reason) in [
        (dpop(&token, &by_thief), 401, "invalid_token", Reason::KeyMismatch),
        (dpop(&token, &elsewhere), 401, "invalid_dpop_proof", Reason::HtuMismatch),
        (dpop(&token, &posted), 401, "invalid_dpop_proof", Reason::HtmMismatch),
        (dpop(&token, &early), 401, "invalid_dpop_proof", Reason::IatFuture),
        (dpop(&token, "a.b.c"), 401, "invalid_dpop_proof", Reason::ProofEncoding),
        (dpop(&scene.token_with("jti", &json!("t-2")), &proof()), 401, "invalid_dpop_proof", Reason::AthMismatch),
        (dpop(&forged, &scene.proof(&forged)), 401, "invalid_token", Reason::TokenSignature),
        (dpop("opaque", &scene.proof("opaque")), 401, "invalid_token", Reason::TokenMalformed),
        (with("iss", json!("https://id.example.com/")), 401, "invalid_token", Reason::TokenIssuer),
        (with("aud", json!(["https://other.example"])), 401, "invalid_token", Reason::TokenAudience),
        (with("exp", json!(START.as_secs() - 6)), 401, "invalid_token", Reason::TokenExpired),
        (with("nbf", json!(START.as_secs() + 6)), 401, "invalid_token", Reason::TokenEarly),
        (with("sub", Value::Null), 401, "invalid_token", Reason::TokenClaims),
        (with("cnf", Value::Null), 401, "invalid_token", Reason::TokenUnbound),
        (with("cnf", json!({"kid": "1"})), 401, "invalid_token", Reason::TokenConfirmation),
        (with("cnf", json!({"jkt": thief.jkt()})), 401, "invalid_token", Reason::KeyMismatch),
        (with("scope", json!("orders:write")), 403, "insufficient_scope", Reason::ScopeInsufficient),
    ] {
        for policy in [Policy::required(), Policy::optional()] {
            let answer = scene.ask(&policy.scope("orders:read").unwrap(), &fields.fields()).await;
            assert_eq!((answer.status.as_u16(), answer.reason()), (status, reason.code()));
            let challenge = answer.lines("www-authenticate")[0];
            assert!(challenge.starts_with("DPoP "), "DPoP first: {challenge}");
            assert!(challenge.contains(&format!("error=\"{error}\"")), "{reason}: {challenge}");
            assert!(challenge.contains("scope=\"orders:read\""), "{challenge}");
        }
    }
    assert_eq!(scene.server.replays().entries(), 0, "R-SEC-06: nothing was recorded");
}

// R-RS-06, R-ERR-07: enforcement follows the token's cnf, never the scheme or the mode.
#[tokio::test]
async fn bearer_tokens_by_mode() {
    let scene = Scene::new();
    let bound = scene.token();
    let unbound = scene.token_with("cnf", &Value::Null);
    let mutual_tls = scene.token_with("cnf", &json!({"x5t#S256": scene.client.jkt()}));
    let expired = scene.token_with("exp", &json!(START.as_secs() - 60));
    let (required, optional) = (Policy::required(), Policy::optional());
    for (policy, token, status, expected, challenges) in [
        (&required, &bound, 401, "token.downgrade", &["DPoP error="][..]),
        (&optional, &bound, 401, "token.downgrade", &["DPoP algs=", "Bearer error="]),
        (&required, &unbound, 401, "token.unbound", &["DPoP error="]),
        (&optional, &unbound, 200, "", &[]),
        (&required, &mutual_tls, 401, "token.confirmation", &["DPoP error="]),
        (&optional, &mutual_tls, 401, "token.confirmation", &["DPoP algs=", "Bearer error="]),
        (&required, &expired, 401, "token.expired", &["DPoP error="]),
        (&optional, &expired, 401, "token.expired", &["DPoP algs=", "Bearer error="]),
    ] {
        for scheme in ["Bearer", "bearer", "BEARER"] {
            let credentials = format!("{scheme} {token}");
            // A perfect proof beside it changes nothing.
            let proof = scene.proof(token);
            for fields in
                [&[("authorization", &*credentials)][..], &[("authorization", &*credentials), ("dpop", &*proof)]]
            {
                let answer = scene.ask(policy, fields).await;
                assert_eq!((answer.status.as_u16(), answer.reason()), (status, expected));
                let lines = answer.lines("www-authenticate");
                assert_eq!(lines.len(), challenges.len(), "{lines:?}");
                assert!(lines.iter().zip(challenges).all(|(line, start)| line.starts_with(start)), "{lines:?}");
            }
        }
    }
    let credentials = format!("Bearer {unbound}");
    let answer = scene.ask(&optional, &[("authorization", &credentials)]).await;
    assert_eq!(answer.body, "alice bearer");
    let scoped = optional.scope("orders:write").unwrap();
    let answer = scene.ask(&scoped, &[("authorization", &credentials)]).await;
    assert_eq!((answer.status.as_u16(), answer.reason()), (403, "scope.insufficient"));
}

// R-ERR-05, R-SEC-10: a proof alone grants nothing.
#[tokio::test]
async fn no_credentials_no_error() {
    let scene = Scene::new();
    let proof = scene.proof(&scene.token());
    for fields in [&[][..], &[("dpop", &*proof)]] {
        let answer = scene.ask(&Policy::required(), fields).await;
        assert_eq!(answer.status, 401);
        assert!(answer.line("www-authenticate").starts_with("DPoP algs="));
        assert!(!answer.line("www-authenticate").contains("error"));
    }
}

// R-RS-15
#[tokio::test]
async fn a_route_narrows_the_audience() {
    let scene = Scene::new();
    let token = scene.token();
    let narrow = Policy::required().audience(["https://api.example.com/admin"]);
    assert_eq!(scene.ask_with(&narrow, &token).await.reason(), "token.audience");
    let both = scene.token_with("aud", &json!([ORIGIN, "https://api.example.com/admin"]));
    assert_eq!(scene.ask_with(&narrow, &both).await.status, 200);
}

// R-RS-17: what changes with time is judged for remembered tokens too, and memory ends with its key.
#[tokio::test]
async fn a_remembered_token_is_judged_again() {
    let scene = Scene::new();
    let token = scene.token_with("exp", &json!(START.as_secs() + 100));
    let policy = Policy::required();
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200);
    scene.clock.turn(104);
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200, "5 s of leeway");
    scene.clock.turn(1);
    assert_eq!(scene.ask_with(&policy, &token).await.reason(), "token.expired");

    let token = scene.token();
    assert_eq!(scene.ask_with(&policy, &token).await.status, 200);
    scene.keys.replace(Issuer::new().unwrap().keys().unwrap());
    assert_eq!(scene.ask_with(&policy, &token).await.reason(), "token.signature");
}
