//! Redirects: each hop has a proof of its own, and none leads to another server.

use http::Method;
use keybound_client::Error;

use crate::support::{Server, answer, with_token};

// R-CLI-18
#[tokio::test]
async fn each_hop_is_proved_anew() {
    for (status, method, expected) in [
        (301, Method::POST, "GET"),
        (302, Method::POST, "GET"),
        (303, Method::PUT, "GET"),
        (303, Method::HEAD, "HEAD"),
        (307, Method::POST, "POST"),
        (308, Method::PUT, "PUT"),
        (301, Method::GET, "GET"),
    ] {
        let server = Server::start(move |seen, _| match &*seen.target {
            "/from/here" => answer(status, &[("location", "../to?x=1")], ""),
            _ => answer(200, &[], ""),
        })
        .await;
        let client = with_token().build().unwrap();
        let request = client.request(method.clone(), &server.url("/from/here")).body("body");
        let response = request.send().await.unwrap();
        assert_eq!((response.status().as_u16(), response.tries()), (200, 2), "{status} {method}");
        let [first, second] = &server.seen()[..] else { panic!("{:?}", server.seen()) };
        assert_eq!(second.target, "/to?x=1");
        assert_eq!(second.method.as_str(), expected, "{status} {method}");
        assert_eq!(second.body.is_empty(), second.method != method, "what is rewritten has no body");
        assert_eq!(second.proof()["htu"], server.url("/to"));
        assert_eq!(second.proof()["htm"], expected);
        assert_ne!(second.proof()["jti"], first.proof()["jti"]);
    }
}

// R-CLI-18
#[tokio::test]
async fn token_and_proof_never_go_to_another_server() {
    let thief = Server::start(|_, _| answer(200, &[], "")).await;
    for location in
        [thief.url("/"), format!("//{}/", thief.address), format!("http://localhost:{}/", thief.address.port())]
    {
        let to = location.clone();
        let server = Server::start(move |_, _| answer(307, &[("location", &to)], "")).await;
        let error = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap_err();
        assert!(matches!(error, Error::RedirectAcross { .. }), "{location}: {error:?}");
    }
    assert_eq!(thief.seen().len(), 0);
}

// R-CLI-18: the caller may keep them closer
#[tokio::test]
async fn redirects_stay_where_the_caller_wants_them() {
    let server = Server::start(|seen, _| match &*seen.target {
        "/v1/in" => answer(302, &[("location", "/v1/out")], ""),
        _ => answer(302, &[("location", "/admin")], ""),
    })
    .await;
    let request = with_token().build().unwrap().get(&server.url("/v1/in"));
    let response = request.redirects_within(|url| url.path().starts_with("/v1/")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (302, 2));
    assert_eq!(response.headers()["location"], "/admin");
    let targets: Vec<_> = server.seen().iter().map(|seen| seen.target.clone()).collect();
    assert_eq!(targets, ["/v1/in", "/v1/out"]);
}

#[tokio::test]
async fn redirects_end() {
    let server = Server::start(|_, before| answer(302, &[("location", &format!("/{before}"))], "")).await;
    let error = with_token().redirects(3).build().unwrap().get(&server.url("/")).send().await.unwrap_err();
    assert!(matches!(error, Error::Redirects { limit: 3, .. }), "{error:?}");
    assert_eq!(server.seen().len(), 4);
    let response = with_token().redirects(0).build().unwrap().get(&server.url("/")).send().await.unwrap();
    assert_eq!(response.status(), 302);
}

#[tokio::test]
async fn redirects_to_nowhere() {
    for fields in [&[][..], &[("location", "/a"), ("location", "/b")], &[("location", "http://[")]] {
        let server = Server::start(move |_, _| answer(302, fields, "")).await;
        let error = with_token().build().unwrap().get(&server.url("/")).send().await.unwrap_err();
        assert!(matches!(error, Error::RedirectNowhere(_)), "{fields:?}: {error:?}");
    }
}
