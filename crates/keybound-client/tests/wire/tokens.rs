//! Getting tokens, and getting new ones.

use std::sync::Arc;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Authentication, Demand, Error, Secret};
use serde_json::json;

use crate::support::{answer, challenge, key, part, token_response, with_issuer, world};

pub(crate) const INVALID_TOKEN: &str = r#"DPoP error="invalid_token", algs="ES256""#;

fn form(body: &str) -> Vec<(String, String)> {
    url::form_urlencoded::parse(body.as_bytes()).into_owned().collect()
}

pub(crate) fn value(body: &str, name: &str) -> Option<String> {
    form(body).into_iter().find_map(|(key, value)| (key == name).then_some(value))
}

// R-CLI-07, R-CLI-27, R-NONCE-18: one nonce for each role, and no ath for the token endpoint
#[tokio::test]
async fn roles_keep_their_nonces_apart() {
    let server = world(
        |seen, before| match (before, seen.nonce().as_deref()) {
            (0, None) => answer(400, &[("dpop-nonce", "as-1")], json!({"error": "use_dpop_nonce"}).to_string()),
            (1, Some("as-1")) => token_response("t1", 300),
            _ => answer(400, &[], json!({"error": "invalid_request"}).to_string()),
        },
        |seen, _| match seen.nonce().as_deref() {
            None => challenge(r#"DPoP error="use_dpop_nonce", algs="ES256""#, &["rs-1"]),
            Some("rs-1") => answer(200, &[], ""),
            _ => answer(500, &[], ""),
        },
    )
    .await;
    let client = with_issuer(&server.url("")).build().unwrap();
    assert_eq!(client.get(&server.url("/r")).send().await.unwrap().status(), 200);
    let asked: Vec<_> = server.seen().into_iter().filter(|seen| seen.target == "/token").collect();
    assert_eq!(asked.len(), 2);
    for seen in &asked {
        assert!(seen.proof().get("ath").is_none());
        assert_eq!(seen.proof()["htu"], server.url("/token"));
        assert_eq!(seen.proof()["htm"], "POST");
        assert_eq!(value(&seen.body, "grant_type").as_deref(), Some("client_credentials"));
    }
}

// R-CLI-16: one refresh and one retry
#[tokio::test]
async fn a_refused_token_is_renewed_once() {
    let server = world(
        |_, before| token_response(&format!("t{before}"), 300),
        |seen, _| match seen.field("authorization") {
            Some("DPoP t1") => answer(200, &[], ""),
            _ => challenge(INVALID_TOKEN, &[]),
        },
    )
    .await;
    let client = with_issuer(&server.url("")).build().unwrap();
    let response = client.get(&server.url("/r")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (200, 2));

    let stubborn =
        world(|_, before| token_response(&format!("t{before}"), 300), |_, _| challenge(INVALID_TOKEN, &[])).await;
    let error = with_issuer(&stubborn.url("")).build().unwrap().get(&stubborn.url("/r")).send().await.unwrap_err();
    let Error::Refused(refused) = error else { panic!("{error:?}") };
    assert_eq!(refused.demand(), Demand::Token);
    assert_eq!((stubborn.count("/token"), stubborn.count("/r")), (2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_asks_for_one_token() {
    let server = world(|_, before| token_response(&format!("t{before}"), 300), |_, _| answer(200, &[], "")).await;
    let client = with_issuer(&server.url("")).build().unwrap();
    let url = server.url("/r");
    let crowd = (0..100).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move { client.get(&url).send().await.unwrap() })
    });
    for one in crowd.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().status(), 200);
    }
    assert_eq!(server.count("/token"), 1);
}

// R-CLI-26: when the token has run out, and when a resource refuses it, one of those who wait for another asks for it
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_renews_its_token_once() {
    for (life, refused) in [(0, "none"), (300, "DPoP t0")] {
        let server = world(
            move |_, before| token_response(&format!("t{before}"), if before == 0 { life } else { 300 }),
            move |seen, _| match seen.field("authorization") {
                Some(token) if token == refused => challenge(INVALID_TOKEN, &[]),
                _ => answer(200, &[], ""),
            },
        )
        .await;
        let client = with_issuer(&server.url("")).build().unwrap();
        assert_eq!(client.token().await.unwrap().secret(), "t0");
        let url = server.url("/r");
        let crowd = (0..100).map(|_| {
            let (client, url) = (client.clone(), url.clone());
            tokio::spawn(async move { client.get(&url).send().await.unwrap() })
        });
        for one in crowd.collect::<Vec<_>>() {
            let response = one.await.unwrap();
            assert_eq!(response.status(), 200);
            assert!(response.tries() <= 2);
        }
        assert_eq!(server.count("/token"), 2, "{refused}");
        assert!(server.seen().iter().any(|seen| seen.field("authorization") == Some("DPoP t1")), "{refused}");
    }
}

// A fresh assertion on each try, by a key that is not the one of the proofs
#[tokio::test]
async fn each_try_has_an_assertion_of_its_own() {
    let server = world(
        |seen, _| match seen.nonce() {
            None => answer(400, &[("dpop-nonce", "n")], json!({"error": "use_dpop_nonce"}).to_string()),
            Some(_) => token_response("t", 300),
        },
        |_, _| answer(200, &[], ""),
    )
    .await;
    let own = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    let access = Access::client_credentials(server.url(""), "job")
        .authentication(Authentication::PrivateKeyJwt { key: own, kid: Some("k1".into()) });
    let client = key().access(access).build().unwrap();
    assert_eq!(client.token().await.unwrap().secret(), "t");
    let assertions: Vec<_> = server
        .seen()
        .iter()
        .filter(|seen| seen.target == "/token")
        .map(|seen| value(&seen.body, "client_assertion").unwrap())
        .collect();
    let [first, second] = &assertions[..] else { panic!("{assertions:?}") };
    assert_ne!(part(first, 1)["jti"], part(second, 1)["jti"]);
    for assertion in [first, second] {
        assert_eq!(part(assertion, 0)["kid"], "k1");
        let claims = part(assertion, 1);
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("job"), &json!("job"), &json!(server.url("")))
        );
    }
}

#[tokio::test]
async fn secrets_go_where_the_metadata_says() {
    for (authentication, basic) in [
        (Authentication::Secret(Secret::new("s3 cret")), true),
        (Authentication::SecretBasic(Secret::new("s3 cret")), true),
        (Authentication::SecretPost(Secret::new("s3 cret")), false),
    ] {
        let server = world(|_, _| token_response("t", 300), |_, _| answer(200, &[], "")).await;
        let access = Access::client_credentials(server.url(""), "job").authentication(authentication);
        key().access(access).build().unwrap().token().await.unwrap();
        let asked = server.seen().pop().unwrap();
        assert_eq!(asked.field("authorization"), basic.then_some("Basic am9iOnMzK2NyZXQ="));
        assert_eq!(value(&asked.body, "client_secret").as_deref(), (!basic).then_some("s3 cret"));
    }
}
