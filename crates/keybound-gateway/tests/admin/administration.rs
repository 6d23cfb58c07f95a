//! The administration of the embedded issuer, beside the console.

use serde_json::{Value, json};

use crate::dashboard::{EMBEDDED, at_the_embedded};
use crate::scene::{Scene, ask};

const SECRET: [(&str, &str); 2] = [("Authorization", "Bearer 0123456789abcdef"), ("Content-Type", "application/json")];

#[test]
fn takes_a_secret_and_an_issuer() {
    let none = Scene::new("admin_secret = \"0123456789abcdef\"", "");
    assert_eq!(ask(none.admin, "GET", "/v1/clients", "localhost", &SECRET, "").status, 404);
    let open = Scene::new("", EMBEDDED);
    assert_eq!(ask(open.admin, "GET", "/v1/clients", "localhost", &SECRET, "").status, 403, "nobody set a secret");
    assert_eq!(open.look("/status.json").status, 200);
}

#[test]
fn looks_after_the_embedded_issuer() {
    let scene = Scene::new("admin_secret = \"0123456789abcdef\"", EMBEDDED);
    let administer = |method: &str, path: &str, body: &str| ask(scene.admin, method, path, "localhost", &SECRET, body);
    let client = json!({ "client_id": "orders", "grant_types": ["client_credentials"], "scope": "read" }).to_string();
    let added = administer("POST", "/v1/clients", &client);
    assert_eq!((added.status, added.field("cache-control")), (201, Some("no-store")));
    assert!(added.field("content-security-policy").is_some(), "as every answer here");
    assert_eq!(administer("POST", "/v1/clients", &client).status, 409);
    assert_eq!(ask(scene.admin, "GET", "/v1/clients", "localhost", &[], "").status, 401);
    assert_eq!(ask(scene.admin, "GET", "/v1/clients", "evil.example", &SECRET, "").status, 421);
    let page = [SECRET[0], ("Origin", "https://evil.example")];
    assert_eq!(ask(scene.admin, "GET", "/v1/clients", "localhost", &page, "").status, 403);

    assert_eq!(at_the_embedded(&scene, "grant_type=client_credentials&client_secret=0123456789abcdef").status, 200);
    let entries: Value = serde_json::from_slice(&administer("GET", "/v1/audit", "").body).unwrap();
    let events: Vec<_> = entries["entries"].as_array().unwrap().iter().map(|row| row["event"].clone()).collect();
    assert_eq!(events, ["token.issued", "admin.refused", "client.registered", "key.made", "key.made"]);
    // What was counted outlives the configuration it was counted under.
    scene.reload("mode = \"report\"", "mode = \"required\"");
    let text = ask(scene.admin, "GET", "/metrics", "localhost", &SECRET, "").text();
    assert!(
        text.contains("keybound_issuer_tokens_total{grant=\"client_credentials\",token_type=\"Bearer\"} 1"),
        "{text}"
    );
    assert_eq!(administer("GET", "/v1/clients/orders", "").status, 200);
}
