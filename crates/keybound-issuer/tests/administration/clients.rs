//! Clients that an administrator looks after.

use std::sync::Arc;

use keybound::time::UnixTime;
use keybound_issuer::{Authentication, Client, GrantType, IssuerConfig, Secret};
use serde_json::{Value, json};

use crate::support::{Place, REDIRECT, SECRET, Scene};

fn machine() -> Value {
    json!({ "client_id": "orders", "grant_types": ["client_credentials"], "scope": "orders:read orders:write" })
}

const FORM: &str = "grant_type=client_credentials";

#[tokio::test]
async fn what_is_changed_holds_for_the_next_request() {
    let scene = Scene::new();
    let added = scene.admin("POST", "/v1/clients", machine()).await;
    assert_eq!((added.status, added.field("location")), (201, Some("/v1/clients/orders")), "{added:?}");
    let client = added.json();
    assert_eq!(
        (&client["dpop_bound_access_tokens"], &client["registered_by"]),
        (&json!(true), &json!("administrator"))
    );
    let secret = client["client_secret"].as_str().unwrap().to_owned();
    assert!(secret.len() >= 43, "256 bits");
    let (token, _) = scene.token("orders", &secret, FORM).await.tokens();
    assert_eq!(token.split('.').count(), 3);

    let patch = json!({ "scope": "orders:read", "client_name": "Orders" });
    let changed = scene.admin("PATCH", "/v1/clients/orders", patch).await;
    assert_eq!((&changed.json()["scope"], &changed.json()["client_name"]), (&json!("orders:read"), &json!("Orders")));
    assert_eq!(changed.json().get("client_secret"), None, "told once");
    let narrowed = scene.token("orders", &secret, FORM).await;
    assert_eq!(narrowed.json()["scope"], "orders:read");

    let other = scene.admin("POST", "/v1/clients/orders/secret", Value::Null).await.json();
    assert_eq!(scene.token("orders", &secret, FORM).await.status, 401);
    let secret = other["client_secret"].as_str().unwrap();
    assert_eq!(scene.token("orders", secret, FORM).await.status, 200);

    assert_eq!(scene.admin("DELETE", "/v1/clients/orders", Value::Null).await.status, 204);
    assert_eq!(scene.token("orders", secret, FORM).await.status, 401);
    assert_eq!(scene.admin("DELETE", "/v1/clients/orders", Value::Null).await.status, 404);
}

/// What came of its grants ends with a client, and does not come back with its name.
#[tokio::test]
async fn grants_die_with_their_client() {
    let place = Place::new();
    let store = place.open(UnixTime::from_secs(1_699_000_000));
    let configured = |config: IssuerConfig| {
        let secret = Secret::new(SECRET.to_owned()).unwrap();
        let web = Client::new("web", Authentication::SecretBasic(secret)).scope("read").redirect_uri(REDIRECT);
        config.client(web.grant_type(GrantType::AuthorizationCode).grant_type(GrantType::RefreshToken))
    };
    // `auto_approve` is for clients of the configuration: so it stands there, and then it does not.
    let before = Scene::over(Arc::clone(&store), configured);
    let (_, of_web) = before.redeemed("web", SECRET).await;
    let (_, of_app) = before.redeemed("app", SECRET).await;
    let refresh = |token: Option<String>| format!("grant_type=refresh_token&refresh_token={}", token.unwrap());
    let scene = Scene::over(store, |config| config);
    let web = json!({
        "client_id": "web", "grant_types": ["authorization_code", "refresh_token"], "scope": "read", "redirect_uris": [REDIRECT],
    });
    let add = async || {
        let added = scene.admin("POST", "/v1/clients", web.clone()).await.json();
        added["client_secret"].as_str().unwrap().to_owned()
    };
    let secret = add().await;
    let of_web = scene.token("web", &secret, &refresh(of_web)).await.tokens().1;
    assert_eq!(scene.admin("DELETE", "/v1/clients/web", Value::Null).await.status, 204);
    assert_eq!(scene.token("web", &secret, &refresh(of_web.clone())).await.status, 401);
    let secret = add().await;
    let again = scene.token("web", &secret, &refresh(of_web)).await;
    assert_eq!(again.json()["error_description"], "grant.invalid");
    assert_eq!(scene.token("app", SECRET, &refresh(of_app)).await.status, 200, "those of others live");
    let revoked = scene.entries("event=grant.revoked&client=web").await;
    assert_eq!(revoked.iter().map(|row| row["count"].clone()).collect::<Vec<_>>(), [json!(1)]);
}

#[tokio::test]
async fn one_thing_wrong_in_each() {
    let scene = Scene::new();
    let with = |name: &str, value: Value| {
        let mut client = machine();
        client[name] = value;
        client
    };
    let mut no_grants = machine();
    no_grants.as_object_mut().unwrap().remove("grant_types");
    for (body, detail) in [
        (no_grants, "grant_types is missing"),
        (with("grant_types", json!(["implicit"])), "grant_types has one that this issuer does not know"),
        (with("grant_types", json!("client_credentials")), "grant_types is not an array"),
        (with("grant_types", json!(["authorization_code"])), "redirect_uris is missing"),
        (
            with("redirect_uris", json!(["javascript:alert(1)"])),
            "redirect_uris has one that is neither https, nor http on loopback",
        ),
        (with("token_endpoint_auth_method", json!("none")), "machines, which have to authenticate"),
        (with("token_endpoint_auth_method", json!("private_key_jwt")), "jwks is missing"),
        (with("token_endpoint_auth_method", json!("tls_client_auth")), "is not one of client_secret_basic, "),
        (with("jwks", json!({ "keys": [{ "kty": "oct", "k": "AA" }] })), "jwks is no set of public keys"),
        (with("scope", json!("a  b")), "scope is not a list of names with one space between them"),
        (with("scope", json!("a\"b")), "scope is not a list of names with one space between them"),
        (with("client_id", json!(" orders")), "client_id is not printable ASCII, or has a space"),
        (with("client_id", json!("ord\u{e9}rs")), "client_id is not printable ASCII, or has a space"),
        (with("client_id", json!(7)), "client_id is not a text"),
        (with("client_name", json!("a\nb")), "client_name is not one line of text"),
        (with("client_name", json!("x".repeat(20_000))), "too long"),
        (with("response_types", json!(["token"])), "response_types is not [\"code\"]"),
        (with("dpop_bound_access_tokens", json!("yes")), "neither true nor false"),
    ] {
        let answer = scene.admin("POST", "/v1/clients", body.clone()).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("request.unfit")), "{body}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
    }
    for (body, status, code) in [
        (json!("{\"grant_types\":[],\"grant_types\":[]}"), 400, "request.body"),
        (json!("x".repeat(70_000)), 400, "request.body"),
        (json!({ "client_name": "x".repeat(70_000) }), 413, "request.body"),
        (json!([]), 400, "request.unfit"),
    ] {
        let answer = scene.admin("POST", "/v1/clients", body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(code)));
    }
    assert_eq!(scene.admin("GET", "/v1/clients", Value::Null).await.json(), json!({ "clients": [], "next": null }));
}

#[tokio::test]
async fn names_are_nobody_elses() {
    let scene = Scene::new();
    assert_eq!(scene.admin("POST", "/v1/clients", machine()).await.status, 201);
    let again = scene.admin("POST", "/v1/clients", machine()).await;
    assert_eq!((again.status, &again.json()["code"]), (409, &json!("name.taken")), "a retry adds nothing");
    for name in ["app", "alice"] {
        let mut client = machine();
        client["client_id"] = json!(name);
        // One of the configuration, and one whose tokens would have the sub of a user.
        assert_eq!(scene.admin("POST", "/v1/clients", client).await.status, 409, "{name}");
    }
    for (method, path, body) in [
        ("GET", "/v1/clients/app", Value::Null),
        ("PATCH", "/v1/clients/app", json!({ "scope": "read" })),
        ("POST", "/v1/clients/app/secret", Value::Null),
        ("DELETE", "/v1/clients/app", Value::Null),
    ] {
        let answer = scene.admin(method, path, body).await;
        assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("name.configured")), "{method} {path}");
    }
    let odd = json!({ "client_id": "odd:id & co/x%", "grant_types": ["client_credentials"], "scope": "a" });
    let added = scene.admin("POST", "/v1/clients", odd).await;
    let at = added.field("location").unwrap().to_owned();
    assert_eq!(scene.admin("GET", &at, Value::Null).await.json()["client_id"], "odd:id & co/x%");
}

#[tokio::test]
async fn nobody_overwrites_what_they_have_not_seen() {
    let scene = Scene::new();
    let added = scene.admin("POST", "/v1/clients", machine()).await;
    let first = added.field("etag").unwrap().to_owned();
    let change = async |version: &str, name: &str| {
        scene.admin_with("PATCH", "/v1/clients/orders", &[("if-match", version)], json!({ "client_name": name })).await
    };
    let changed = change(&first, "a").await;
    assert_eq!(changed.status, 200);
    assert_eq!(change(&first, "b").await.status, 412);
    assert_eq!(change(changed.field("etag").unwrap(), "c").await.status, 200);
    assert_eq!(change("*", "d").await.status, 200);
    assert_eq!(change("W/\"1\"", "e").await.status, 400);
    let shown = scene.admin("GET", "/v1/clients/orders", Value::Null).await;
    assert_eq!((&shown.json()["client_name"], shown.field("etag")), (&json!("d"), Some("\"4\"")));
    // RFC 7396: null takes away.
    scene.admin("PATCH", "/v1/clients/orders", json!({ "client_name": null })).await;
    assert_eq!(scene.admin("GET", "/v1/clients/orders", Value::Null).await.json().get("client_name"), None);
    let patch = json!({ "client_id": "other" });
    assert_eq!(scene.admin("PATCH", "/v1/clients/orders", patch).await.status, 400);
}

#[tokio::test]
async fn a_client_without_a_secret_gets_none() {
    let scene = Scene::new();
    let app = json!({
        "client_id": "spa", "grant_types": ["authorization_code"], "redirect_uris": [REDIRECT],
        "token_endpoint_auth_method": "none",
    });
    assert_eq!(scene.admin("POST", "/v1/clients", app).await.json().get("client_secret"), None);
    let answer = scene.admin("POST", "/v1/clients/spa/secret", Value::Null).await;
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("secret.none")));
    let patch = json!({ "token_endpoint_auth_method": "client_secret_post" });
    let changed = scene.admin("PATCH", "/v1/clients/spa", patch).await.json();
    assert!(changed["client_secret"].is_string(), "it begins to authenticate by one: {changed}");
}

/// A store that others have open as well.
#[tokio::test]
async fn lists_in_pages_and_over_a_restart() {
    let place = Place::that_lasts();
    let opened = UnixTime::from_secs(1_699_000_000);
    let scene = Scene::over(place.open(opened), |config| config);
    for number in 0..7 {
        let client = json!({ "client_id": format!("c{number}"), "grant_types": ["client_credentials"], "scope": "a" });
        assert_eq!(scene.admin("POST", "/v1/clients", client).await.status, 201);
    }
    let other = Scene::over(place.open(opened), |config| config);
    let mut names = Vec::new();
    let mut after = String::new();
    loop {
        let page = other.admin("GET", &format!("/v1/clients?limit=3&after={after}"), Value::Null).await.json();
        names.extend(
            page["clients"].as_array().unwrap().iter().map(|client| client["client_id"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(names, ["c0", "c1", "c2", "c3", "c4", "c5", "c6"]);
    let secret = other.admin("POST", "/v1/clients/c3/secret", Value::Null).await.json()["client_secret"].clone();
    assert_eq!(scene.token("c3", secret.as_str().unwrap(), FORM).await.status, 200, "the running one sees it");
}
