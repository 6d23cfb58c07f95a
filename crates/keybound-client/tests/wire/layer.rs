//! The layer, over the HTTP client of hyper.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::Full;
use hyper_util::client::legacy::Client as Hyper;
use hyper_util::rt::TokioExecutor;
use keybound::client::ServerMemory;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::nonce::Role;
use keybound_client::{Access, Error, Once, ProveError, ProveLayer, Token};
use serde_json::json;
use tower::{Layer as _, Service as _, ServiceExt as _};

use crate::support::{
    METADATA, Server, USE_NONCE, answer, challenge, key, metadata, part, token_response, with_issuer, with_token, world,
};
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

// R-CLI-09, R-CLI-16, R-NONCE-17: an unbound token that is kept by leave is renewed as well, and its answers are learnt from
#[tokio::test]
async fn an_unbound_token_is_renewed() {
    let server = world(
        |_, before| {
            let body = json!({"access_token": format!("t{before}"), "token_type": "Bearer", "expires_in": 300});
            answer(200, &[], body.to_string())
        },
        |seen, _| match seen.field("authorization") {
            Some("Bearer t1") => answer(200, &[("dpop-nonce", "newest")], ""),
            _ => answer(401, &[("www-authenticate", "Bearer error=\"invalid_token\"")], ""),
        },
    )
    .await;
    let servers = Arc::new(ServerMemory::new());
    let client = with_issuer(&server.url("")).danger_accept_unbound().servers(Arc::clone(&servers)).build().unwrap();
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let request = request(&server, "/r", Full::new(Bytes::new()));
    assert_eq!(ProveLayer::new(client).layer(hyper).oneshot(request).await.unwrap().status(), 200);
    let newest = servers.newest(&server.url(""), Role::ResourceServer).unwrap();
    assert_eq!((newest.as_str(), server.count("/token"), server.count("/r")), ("newest", 2, 2));
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

// R-CLI-13, R-CLI-24: the issuer that the resource names, and the key that it takes
#[tokio::test]
async fn what_the_resource_says_is_heeded() {
    const ABOUT: &str = "/.well-known/oauth-protected-resource/r";

    let server = Server::start(|seen, _| {
        let own = format!("http://{}", seen.field("host").unwrap());
        let alg = || part(seen.field("dpop").unwrap(), 0)["alg"].as_str().unwrap().to_owned();
        match &*seen.target {
            METADATA => {
                let mut metadata = metadata(&own);
                metadata["dpop_signing_alg_values_supported"] = json!(["ES256", "Ed25519"]);
                answer(200, &[], metadata.to_string())
            }
            ABOUT => {
                let about = json!({"resource": format!("{own}/r"), "authorization_servers": [own]});
                answer(200, &[], about.to_string())
            }
            "/token" => token_response(&alg(), 300),
            _ if seen.field("authorization") == Some("DPoP Ed25519") && alg() == "Ed25519" => answer(200, &[], "in"),
            _ => {
                let field = format!(r#"DPoP error="invalid_token", algs="Ed25519", resource_metadata="{own}{ABOUT}""#);
                answer(401, &[("www-authenticate", &field)], "")
            }
        }
    })
    .await;
    let second = Arc::new(SoftwareKey::generate(Alg::Ed25519).unwrap());
    let choose =
        |issuer: &str| issuer.starts_with("http://127.0.0.1").then(|| Access::client_credentials(issuer, "job"));
    let client = key().or_key(second).discover(choose).build().unwrap();
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let mut service = ProveLayer::new(client).layer(hyper);
    for tries in [3, 1] {
        let before = server.count("/r");
        let body = Full::new(Bytes::from("body"));
        let response = service.ready().await.unwrap().call(request(&server, "/r", body)).await.unwrap();
        assert_eq!(response.status(), 200);
        assert_eq!(server.count("/r") - before, tries, "{:?}", server.seen());
    }
    // A client without such a key gets that answer.
    let client = key().token(Token::new("t").unwrap()).build().unwrap();
    let hyper = Hyper::builder(TokioExecutor::new()).build_http();
    let request = request(&server, "/r", Full::new(Bytes::new()));
    let response = ProveLayer::new(client).layer(hyper).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers()["www-authenticate"].to_str().unwrap().contains("algs=\"Ed25519\""));
}
