//! Refresh, token exchange and registration.

use std::sync::Arc;

use keybound::client::ServerMemory;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::files::TokenFiles;
use keybound_client::{Access, Client, Error, PlainHttp, Registration, Secret, TokenExchange};
use serde_json::{Value, json};

use crate::support::{METADATA, Seen, Server, answer, challenge, key, metadata, world};
use crate::tokens::{INVALID_TOKEN, value};

/// A token response with a refresh token.
fn session(token: &str, lifetime: u64, refresh: Option<&str>) -> http::Response<axum::body::Body> {
    let mut body = json!({"access_token": token, "token_type": "DPoP", "expires_in": lifetime});
    if let Some(refresh) = refresh {
        body["refresh_token"] = json!(refresh);
    }
    answer(200, &[], body.to_string())
}

fn refreshed_with(seen: &Seen) -> String {
    value(&seen.body, "refresh_token").unwrap()
}

// R-CLI-07, R-CLI-16: the newest refresh token is used, and the old one where there is no newer
#[tokio::test]
async fn the_newest_refresh_token_is_used() {
    let server = world(
        |seen, before| match (before, &*refreshed_with(seen)) {
            (0, "r0") => session("t0", 300, Some("r1")),
            (1, "r1") => session("t1", 300, None),
            (2, "r1") => session("t2", 300, Some("r2")),
            _ => answer(400, &[], json!({"error": "invalid_grant"}).to_string()),
        },
        |seen, before| match before {
            1 | 3 => challenge(INVALID_TOKEN, &[]),
            _ => answer(200, &[], seen.field("authorization").unwrap().to_owned()),
        },
    )
    .await;
    let access = Access::refresh(server.url(""), "app", Secret::new("r0"));
    let client = key().access(access).build().unwrap();
    for expected in ["DPoP t0", "DPoP t1", "DPoP t2"] {
        let response = client.get(&server.url("/r")).send().await.unwrap();
        assert_eq!(response.bytes(100).await.unwrap(), expected.as_bytes());
    }
    for seen in server.seen().iter().filter(|seen| seen.target == "/token") {
        assert!(seen.proof().get("ath").is_none());
        assert_eq!(value(&seen.body, "client_id").as_deref(), Some("app"));
    }
}

// A later run goes on with the refresh token that the earlier one kept.
#[tokio::test]
async fn a_refresh_token_outlives_the_run() {
    let server = world(
        |seen, _| match &*refreshed_with(seen) {
            "r0" => session("t0", 0, Some("r1")),
            "r1" => session("t1", 300, Some("r2")),
            _ => answer(400, &[], json!({"error": "invalid_grant"}).to_string()),
        },
        |_, _| answer(200, &[], ""),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let own = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    let run = || {
        let access = Access::refresh(server.url(""), "app", Secret::new("r0"));
        let store = Arc::new(TokenFiles::new(folder.path().join("tokens")));
        Client::builder(Arc::clone(&own)).plain_http(PlainHttp::Loopback).access(access).store(store).build().unwrap()
    };
    for expected in ["t0", "t1", "t1"] {
        assert_eq!(run().token().await.unwrap().secret(), expected);
    }
    assert_eq!(server.count("/token"), 2);
}

// Issuers take the second use of a refresh token for theft: programs that share a store use it one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn programs_that_share_a_session_renew_it_once() {
    let server = world(
        |seen, before| match (before, &*refreshed_with(seen)) {
            (0, "r0") => session("t0", 0, Some("r1")),
            (1, "r1") => session("t1", 300, Some("r2")),
            _ => answer(400, &[], json!({"error": "invalid_grant"}).to_string()),
        },
        |_, _| answer(200, &[], ""),
    )
    .await;
    let folder = tempfile::tempdir().unwrap();
    let own = Arc::new(SoftwareKey::generate(Alg::Es256).unwrap());
    let program = || {
        let access = Access::refresh(server.url(""), "app", Secret::new("r0"));
        let store = Arc::new(TokenFiles::new(folder.path()));
        Client::builder(Arc::clone(&own)).plain_http(PlainHttp::Loopback).access(access).store(store).build().unwrap()
    };
    assert_eq!(program().token().await.unwrap().secret(), "t0");
    let all = (0..8).map(|_| program()).map(|program| tokio::spawn(async move { program.token().await.unwrap() }));
    for one in all.collect::<Vec<_>>() {
        assert_eq!(one.await.unwrap().secret(), "t1");
    }
    assert_eq!(server.count("/token"), 2);
}

#[tokio::test]
async fn a_used_up_session_is_said_to_be() {
    let server = world(
        |_, _| answer(400, &[], json!({"error": "invalid_grant", "error_description": "revoked"}).to_string()),
        |_, _| answer(200, &[], ""),
    )
    .await;
    let client = key().access(Access::refresh(server.url(""), "app", Secret::new("s3cret"))).build().unwrap();
    let error = client.token().await.unwrap_err();
    assert_eq!(error.to_string(), format!("{} gave no token: 400 invalid_grant revoked", server.url("")));
    assert!(!format!("{error:?} {client:?}").contains("s3cret"));
}

// RFC 8693
#[tokio::test]
async fn a_token_is_exchanged() {
    let server = world(|_, _| session("t", 300, None), |_, _| answer(200, &[], "")).await;
    let exchange =
        TokenExchange::of_access_token(Secret::new("sub")).audience("orders").actor(Secret::new("act"), "urn:x");
    let access =
        Access::token_exchange(server.url(""), "app", exchange).scope("a b").resource("https://api.example.com");
    let client = key().access(access).build().unwrap();
    assert_eq!(client.token().await.unwrap().secret(), "t");
    let seen = server.seen().pop().unwrap();
    for (name, expected) in [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", "sub"),
        ("subject_token_type", TokenExchange::ACCESS_TOKEN),
        ("actor_token", "act"),
        ("actor_token_type", "urn:x"),
        ("audience", "orders"),
        ("scope", "a b"),
        ("resource", "https://api.example.com"),
    ] {
        assert_eq!(value(&seen.body, name).as_deref(), Some(expected), "{name}");
    }
}

// R-CLI-23, R-NONCE-17
#[tokio::test]
async fn registers_as_a_client_of_bound_tokens() {
    let server = Server::start(|seen, _| match &*seen.target {
        METADATA => {
            let issuer = format!("http://{}", seen.field("host").unwrap());
            let mut metadata = metadata(&issuer);
            metadata["registration_endpoint"] = json!(format!("{issuer}/register"));
            answer(200, &[], metadata.to_string())
        }
        "/register" if seen.body.contains("evil") => {
            answer(400, &[], json!({"error": "invalid_client_metadata"}).to_string())
        }
        "/register" => {
            let fields = [("dpop-nonce", "newest")];
            answer(201, &fields, json!({"client_id": "c-17", "client_secret": "s"}).to_string())
        }
        _ => session("t", 300, None),
    })
    .await;
    let servers = Arc::new(ServerMemory::new());
    let client = key().servers(Arc::clone(&servers)).build().unwrap();
    let registration = Registration::native("orders", ["http://127.0.0.1/callback"]).scope("read");
    let registered = client.register(&server.url(""), &registration).await.unwrap();
    assert_eq!(&*registered.client_id, "c-17");
    let sent: Value = serde_json::from_str(&server.seen().pop().unwrap().body).unwrap();
    assert_eq!(sent["dpop_bound_access_tokens"], json!(true));
    assert_eq!(sent["redirect_uris"], json!(["http://127.0.0.1/callback"]));
    assert_eq!(sent["token_endpoint_auth_method"], "none");
    // R-NONCE-17: on whichever answer a nonce comes, the next proof has it
    let access = Access::client_credentials(server.url(""), registered.client_id);
    key().servers(servers).access(access).build().unwrap().token().await.unwrap();
    assert_eq!(server.seen().pop().unwrap().nonce().as_deref(), Some("newest"));

    let registration = Registration::native("evil", ["http://127.0.0.1/callback"]);
    let error = client.register(&server.url(""), &registration).await.unwrap_err();
    assert!(matches!(error, Error::TokenRefused { .. }), "{error:?}");
}
