//! One retry for a nonce, and none beyond it.

use std::collections::HashSet;
use std::convert::Infallible;

use bytes::Bytes;
use futures_util::stream;
use http::Method;
use http_body::Frame;
use http_body_util::StreamBody;
use keybound::challenge::ErrorCode;
use keybound_client::{Body, Demand, Error};

use crate::support::{Server, USE_NONCE, answer, challenge, with_token};

// R-CLI-01, R-CLI-03, R-CLI-10, R-NONCE-16, R-NONCE-17, R-NONCE-19
#[tokio::test]
async fn a_demanded_nonce_costs_one_retry_and_the_newest_is_kept() {
    let server = Server::start(|seen, before| match (before, seen.nonce().as_deref()) {
        (0, None) => challenge(USE_NONCE, &["n-1"]),
        (1, Some("n-1")) => answer(200, &[("dpop-nonce", "n-2")], "first"),
        (2, Some("n-2")) => answer(404, &[("dpop-nonce", "n-3")], "second"),
        (3, Some("n-3")) => answer(200, &[], "third"),
        _ => answer(500, &[], "the client lost count"),
    })
    .await;
    let client = with_token().build().unwrap();
    for (status, tries) in [(200, 2), (404, 1), (200, 1)] {
        let response = client.get(&server.url("/a?q=1#f")).send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.tries()), (status, tries));
    }
    let seen = server.seen();
    let jtis: HashSet<String> = seen.iter().map(|seen| seen.proof()["jti"].as_str().unwrap().to_owned()).collect();
    assert_eq!(jtis.len(), seen.len(), "every request has a proof of its own");
    for seen in seen {
        assert_eq!(seen.field("authorization"), Some("DPoP tok.en"));
        assert_eq!(seen.target, "/a?q=1");
        let proof = seen.proof();
        assert_eq!(proof["htu"], server.url("/a"));
        assert_eq!(proof["htm"], "GET");
        assert!(proof["ath"].is_string());
    }
}

// R-NONCE-19, R-NONCE-20, R-CLI-15, R-CLI-16, R-ERR-22: everything that is no reason to send again
#[tokio::test]
async fn no_retry_without_one_clear_nonce() {
    let quoted = r#"Bearer realm="DPoP error=\"use_dpop_nonce\"", DPoP algs="ES256""#;
    for (name, status, field, nonces, tries) in [
        ("no nonce", 401, USE_NONCE, &[][..], 1),
        ("two nonces", 401, USE_NONCE, &["a", "b"], 1),
        ("twice the same", 401, USE_NONCE, &["a", "a"], 1),
        ("malformed", 401, USE_NONCE, &["a\"b"], 1),
        ("empty", 401, USE_NONCE, &[""], 1),
        ("endless", 401, USE_NONCE, &["a"], 2),
        ("in a string of another challenge", 401, quoted, &["a"], 1),
        ("of another scheme", 401, r#"Bearer error="use_dpop_nonce""#, &["a"], 1),
        ("with another status", 403, USE_NONCE, &["a"], 1),
        ("another error", 401, r#"DPoP error="invalid_dpop_proof", algs="ES256""#, &["a"], 1),
    ] {
        let nonces: Vec<String> = nonces.iter().map(|nonce| (*nonce).to_owned()).collect();
        let server = Server::start(move |_, _| {
            let nonces: Vec<&str> = nonces.iter().map(String::as_str).collect();
            let mut response = challenge(field, &nonces);
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        })
        .await;
        let _any = with_token().build().unwrap().get(&server.url("/")).send().await;
        assert_eq!(server.seen().len(), tries, "{name}");
    }
}

// R-CLI-14: the challenge is found wherever it stands
#[tokio::test]
async fn the_challenge_is_found_wherever_it_stands() {
    for fields in [
        &[r#"Bearer realm="a, b", DPoP algs="ES256 RS256", error=use_dpop_nonce, x=y"#][..],
        &[r#"Basic YTpi"#, r#"dpop Error="use_dpop_nonce", algs="ES256""#],
        &[r#"Negotiate, DPoP   error = "use_dpop\_nonce" , algs="ES256""#],
    ] {
        let server = Server::start(move |seen, _| {
            if seen.nonce().is_some() {
                return answer(200, &[], "");
            }
            let mut all: Vec<(&str, &str)> = fields.iter().map(|field| ("www-authenticate", *field)).collect();
            all.push(("dpop-nonce", "n"));
            answer(401, &all, "")
        })
        .await;
        let response = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap();
        assert_eq!(response.status(), 200, "{fields:?}");
    }
}

// R-CLI-17
#[tokio::test]
async fn a_stream_is_sent_once() {
    let server = Server::start(|_, _| challenge(USE_NONCE, &["n"])).await;
    let client = with_token().build().unwrap();
    let frames = ["one", "two"].map(|text| Ok::<_, Infallible>(Frame::data(Bytes::from_static(text.as_bytes()))));
    let body = Body::stream(StreamBody::new(stream::iter(frames)));
    let error = client.request(Method::POST, &server.url("/")).body(body).send().await.unwrap_err();
    let Error::Refused(refused) = error else { panic!("{error:?}") };
    assert!(matches!(refused.demand(), Demand::Nonce(_)));
    assert_eq!(refused.challenge().unwrap().error(), Some(ErrorCode::UseDpopNonce));
    assert_eq!(server.seen().len(), 1);
    assert_eq!(server.seen()[0].body, "onetwo");
}

#[tokio::test]
async fn octets_are_sent_again() {
    let server = Server::start(|seen, _| match seen.nonce() {
        None => challenge(USE_NONCE, &["n"]),
        Some(_) => answer(200, &[], ""),
    })
    .await;
    let client = with_token().build().unwrap();
    let response = client.request(Method::PUT, &server.url("/")).body("whole").send().await.unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(server.seen().iter().map(|seen| &*seen.body).collect::<Vec<_>>(), ["whole", "whole"]);
}

// R-CLI-26: one stale nonce costs each request at most one retry
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_crowd_shares_the_nonce() {
    let server = Server::start(|seen, _| match seen.nonce().as_deref() {
        Some("n-2") => answer(200, &[], ""),
        _ => challenge(USE_NONCE, &["n-2"]),
    })
    .await;
    let client = with_token().build().unwrap();
    let url = server.url("/");
    let crowd = (0..200).map(|_| {
        let (client, url) = (client.clone(), url.clone());
        tokio::spawn(async move { client.get(&url).send().await.unwrap() })
    });
    for one in crowd.collect::<Vec<_>>() {
        let response = one.await.unwrap();
        assert_eq!(response.status(), 200);
        assert!(response.tries() <= 2);
    }
    let response = client.get(&url).send().await.unwrap();
    assert_eq!(response.tries(), 1);
}

// R-CLI-13
#[tokio::test]
async fn an_algorithm_the_server_does_not_take() {
    let server = Server::start(|_, _| challenge(r#"DPoP error="use_dpop_nonce", algs="PS256 EdDSA""#, &["n"])).await;
    let error = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap_err();
    assert!(matches!(error, Error::NoCommonAlg { .. }), "{error:?}");
    assert_eq!(server.seen().len(), 1);
}
