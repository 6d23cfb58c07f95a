//! The layer, over the HTTP client of hyper.

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::rt::TokioExecutor;
use keybound_client::{Error, Once, ProveError, ProveLayer};
use serde_json::json;
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::support::{Server, USE_NONCE, answer, challenge, token_response, with_issuer, with_token, world};
use crate::tokens::INVALID_TOKEN;

fn request<B>(server: &Server, path: &str, body: B) -> Request<B> {
    Request::builder().method(Method::PUT).uri(server.url(path)).header("x-own", "1").body(body).unwrap()
}

// R-NONCE-16, R-NONCE-17, R-NONCE-19, R-CLI-16: nonces of both roles, and a token that is refused
#[tokio::test]
async fn any_client_gets_token_proof_and_retries() {
    let server = world(
        |seen, before| match seen.nonce() {
            None => answer(400, &[("dpop-nonce", "as")], json!({"error": "use_dpop_nonce"}).to_string()),
            Some(_) => token_response(&format!("t{before}"), 300),
        },
        |seen, _| match (seen.nonce().as_deref(), seen.field("authorization")) {
            (None, _) => challenge(USE_NONCE, &["rs"]),
            (Some("rs"), Some("DPoP t1")) => challenge(INVALID_TOKEN, &[]),
            (Some("rs"), Some("DPoP t2")) => answer(200, &[], seen.body.clone()),
            _ => answer(500, &[], ""),
        },
    )
    .await;
    let client = with_issuer(&server.url("")).build().unwrap();
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let mut service = ProveLayer::new(client).layer(hyper);
    for tries in [3, 1] {
        let before = server.count("/r");
        let response =
            service.ready().await.unwrap().call(request(&server, "/r", Full::new(Bytes::from("body")))).await;
        assert_eq!(response.unwrap().status(), 200);
        assert_eq!(server.count("/r") - before, tries);
    }
    for seen in server.seen().iter().filter(|seen| seen.target == "/r") {
        assert_eq!((seen.field("x-own"), &*seen.body), (Some("1"), "body"));
        assert_eq!((&seen.proof()["htm"], &seen.proof()["htu"]), (&json!("PUT"), &json!(server.url("/r"))));
    }
}

// R-CLI-17, R-NONCE-20
#[tokio::test]
async fn what_cannot_be_sent_again_is_not() {
    let server = Server::start(|_, _| challenge(USE_NONCE, &["n"])).await;
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let service = ProveLayer::new(with_token().build().unwrap()).layer(hyper);
    let body = Once::new(Full::new(Bytes::from("stream")));
    let response = service.oneshot(request(&server, "/", body)).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert_eq!(server.seen().len(), 1);
}

// R-CLI-12
#[tokio::test]
async fn plain_http_is_for_loopback() {
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let service = ProveLayer::new(with_token().build().unwrap()).layer(hyper);
    let request = Request::get("http://192.0.2.1/").body(Full::new(Bytes::new())).unwrap();
    let error = service.oneshot(request).await.unwrap_err();
    assert!(matches!(error, ProveError::Client(Error::PlainHttp(_))), "{error:?}");
}
