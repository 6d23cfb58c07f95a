//! Resources that say where their tokens come from (RFC 9728).

use std::sync::Arc;

use axum::response::Response;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::{Access, Client, Error, ResourceFault};
use parking_lot::Mutex;
use serde_json::{Value, json};

use crate::support::{METADATA, Seen, Server, answer, key, metadata, part, token_response};
use crate::tokens::value;

const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// Issuer and resource on one address; `about` is the resource's metadata, `field` its challenge.
async fn world(
    about: impl Fn(&str) -> Option<Value> + Send + Sync + 'static,
    field: impl Fn(&str) -> String + Send + Sync + 'static,
) -> Server {
    Server::start(move |seen, _| {
        let own = format!("http://{}", seen.field("host").unwrap());
        match &*seen.target {
            METADATA => {
                let mut metadata = metadata(&own);
                metadata["dpop_signing_alg_values_supported"] = json!(["ES256", "Ed25519"]);
                answer(200, &[], metadata.to_string())
            }
            "/token" => token_response("t", 300),
            path if path.starts_with(WELL_KNOWN) => {
                let wanted = format!("{WELL_KNOWN}/api");
                match about(&own).filter(|_| path == wanted || path == WELL_KNOWN) {
                    Some(about) => answer(200, &[], about.to_string()),
                    None => answer(404, &[], ""),
                }
            }
            _ => resource(seen, &field(&own)),
        }
    })
    .await
}

fn resource(seen: &Seen, challenge: &str) -> Response {
    match seen.field("authorization") {
        Some("DPoP t") => answer(200, &[], ""),
        _ => answer(401, &[("www-authenticate", challenge)], ""),
    }
}

fn about(own: &str) -> Option<Value> {
    Some(json!({
        "resource": format!("{own}/api"), "authorization_servers": ["https://other.example", own],
        "scopes_supported": ["read", "write"],
    }))
}

fn challenge(own: &str) -> String {
    format!(r#"Bearer, DPoP algs="ES256", resource_metadata="{own}{WELL_KNOWN}/api", scope="read""#)
}

fn client(offered: Arc<Mutex<Vec<String>>>) -> Client {
    key()
        .discover(move |issuer: &str| {
            offered.lock().push(issuer.to_owned());
            issuer.starts_with("http://127.0.0.1").then(|| Access::client_credentials(issuer, "job"))
        })
        .build()
        .unwrap()
}

fn quiet() -> Client {
    client(Arc::default())
}

// R-CLI-24: issuer, scope and resource are found by themselves, once for the resource
#[tokio::test]
async fn a_resource_names_its_issuer() {
    let server = world(about, challenge).await;
    let offered = Arc::default();
    let client = client(Arc::clone(&offered));
    let response = client.get(&server.url("/api/orders?page=1")).send().await.unwrap();
    assert_eq!((response.status().as_u16(), response.tries()), (200, 2));
    assert_eq!(client.get(&server.url("/api")).send().await.unwrap().tries(), 1);
    assert_eq!(*offered.lock(), ["https://other.example".to_owned(), server.url("")]);
    let seen = server.seen();
    let first = seen.iter().find(|seen| seen.target.starts_with("/api")).unwrap();
    assert_eq!((first.field("authorization"), first.field("dpop")), (None, None));
    let asked = seen.iter().find(|seen| seen.target == "/token").unwrap();
    assert_eq!(value(&asked.body, "scope").as_deref(), Some("read"));
    assert_eq!(value(&asked.body, "resource"), Some(server.url("/api")));
    assert_eq!(server.count("/token"), 1);
}

// Without a hint it looks where the metadata would be.
#[tokio::test]
async fn a_resource_that_gives_no_hint() {
    let server = world(about, |_| "DPoP".to_owned()).await;
    assert_eq!(quiet().get(&server.url("/api")).send().await.unwrap().status(), 200);
    let asked = server.seen().into_iter().find(|seen| seen.target == "/token").unwrap();
    assert_eq!(value(&asked.body, "scope").as_deref(), Some("read write"));
    let silent = world(|_| None, |_| "DPoP".to_owned()).await;
    assert_eq!(quiet().get(&silent.url("/api")).send().await.unwrap().status(), 401, "the answer is the caller's");
}

// The issuer knows a resource by its name as it is spelled: a slash that a URL would have gained makes another of it.
#[tokio::test]
async fn a_resource_is_asked_for_by_its_own_name() {
    let named = |own: &str| Some(json!({"resource": own, "authorization_servers": [own]}));
    let server = world(named, |own| format!(r#"DPoP resource_metadata="{own}{WELL_KNOWN}""#)).await;
    assert_eq!(quiet().get(&server.url("/orders")).send().await.unwrap().status(), 200);
    let asked = server.seen().into_iter().find(|seen| seen.target == "/token").unwrap();
    assert_eq!(value(&asked.body, "resource"), Some(server.url("")));
}

// R-CLI-13: the key of the token is one that the resource takes proofs by, as far as its metadata says
#[tokio::test]
async fn a_resource_says_which_algorithms_it_takes() {
    let named = |own: &str| {
        Some(json!({
            "resource": format!("{own}/api"), "authorization_servers": [own], "dpop_signing_alg_values_supported": ["Ed25519"],
        }))
    };
    let choose = |issuer: &str| Some(Access::client_credentials(issuer, "job"));
    let server = world(named, challenge).await;
    let second = Arc::new(SoftwareKey::generate(Alg::Ed25519).unwrap());
    let client = key().or_key(second).discover(choose).build().unwrap();
    assert_eq!(client.get(&server.url("/api")).send().await.unwrap().status(), 200);
    for seen in server.seen().iter().filter(|seen| seen.field("dpop").is_some()) {
        assert_eq!(part(seen.field("dpop").unwrap(), 0)["alg"], "Ed25519", "{}", seen.target);
    }
    let server = world(named, challenge).await;
    let error = key().discover(choose).build().unwrap().get(&server.url("/api")).send().await.unwrap_err();
    assert!(matches!(error, Error::NoCommonAlg { .. }), "{error:?}");
    assert!(error.to_string().starts_with(&server.url("")), "it is the resource that does not take it: {error}");
    assert_eq!((server.count(METADATA), server.count("/token")), (0, 0), "no issuer is asked");
}

// R-CLI-24
#[tokio::test]
async fn metadata_of_another_resource_is_not_used() {
    type About = fn(&str) -> Option<Value>;
    let cases: [(&str, About); 5] = [
        ("another server", |own| Some(json!({"resource": "https://api.example.com", "authorization_servers": [own]}))),
        ("another path", |own| Some(json!({"resource": format!("{own}/admin"), "authorization_servers": [own]}))),
        ("the whole server", |own| Some(json!({"resource": format!("{own}/"), "authorization_servers": [own]}))),
        ("none at all", |own| Some(json!({"authorization_servers": [own]}))),
        ("a longer name", |own| Some(json!({"resource": format!("{own}/apis"), "authorization_servers": [own]}))),
    ];
    for (name, about) in cases {
        let server = world(about, challenge).await;
        let error = quiet().get(&server.url("/api/orders")).send().await.unwrap_err();
        let other = matches!(error, Error::Resource { fault: ResourceFault::OtherResource(_), .. });
        assert!(other, "{name}: {error:?}");
        assert_eq!(server.count("/token"), 0, "{name}");
    }
}

#[tokio::test]
async fn metadata_elsewhere_is_not_asked_for() {
    let thief = Server::start(|_, _| answer(200, &[], "{}")).await;
    let place = thief.url(WELL_KNOWN);
    let server = world(about, move |_| format!(r#"DPoP resource_metadata="{place}""#)).await;
    let error = quiet().get(&server.url("/api")).send().await.unwrap_err();
    assert!(matches!(error, Error::Resource { fault: ResourceFault::Elsewhere, .. }), "{error:?}");
    assert!(thief.seen().is_empty());
}

#[tokio::test]
async fn issuers_that_are_not_trusted_are_not_asked() {
    let named =
        |own: &str| Some(json!({"resource": format!("{own}/api"), "authorization_servers": ["https://evil.example"]}));
    let server = world(named, challenge).await;
    let error = quiet().get(&server.url("/api")).send().await.unwrap_err();
    assert!(error.to_string().ends_with("but [https://evil.example]"), "{error}");
}
