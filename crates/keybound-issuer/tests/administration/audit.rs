//! The audit log, as an administrator reads it.

use keybound_issuer::audit::Count;
use serde_json::{Value, json};

use crate::support::{NOW, SECRET, Scene};

#[tokio::test]
async fn what_was_done_is_found_by_what_it_says() {
    let scene = Scene::new();
    let client = json!({ "client_id": "orders", "grant_types": ["client_credentials"], "scope": "a" });
    scene.admin("POST", "/v1/clients", client).await;
    scene.token("app", SECRET, "grant_type=client_credentials").await.tokens();
    assert_eq!(scene.token("app", "wrong", "grant_type=client_credentials").await.status, 401);
    assert_eq!(scene.token("app", SECRET, "grant_type=password").await.status, 400);

    let all = scene.entries("").await;
    let events: Vec<_> = all.iter().map(|row| row["event"].as_str().unwrap()).collect();
    assert_eq!(events, ["request.refused", "request.refused", "token.issued", "client.registered"]);
    let issued = &all[2];
    assert_eq!(
        (&issued["client"], &issued["subject"], &issued["grant_type"], &issued["token_type"], &issued["peer"]),
        (&json!("app"), &json!("app"), &json!("client_credentials"), &json!("DPoP"), &json!("127.0.0.1:50000"))
    );
    assert_eq!((&all[3]["by"], &all[3]["client"]), (&json!("api"), &json!("orders")));

    for (query, found) in [
        ("event=token.issued", 1),
        ("event=token.", 1),
        ("client=app", 3),
        ("client=orders", 1),
        ("subject=app", 1),
        ("reason=client.authentication", 1),
        ("reason=grant.unsupported&client=app", 1),
        ("reason=grant.unsupported&client=orders", 0),
        (&format!("since={}", NOW.as_secs()), 4),
        (&format!("since={}", NOW.as_secs() + 1), 0),
        (&format!("until={}", NOW.as_secs() - 1), 0),
    ] {
        assert_eq!(scene.entries(query).await.len(), found, "{query}");
    }
    for event in ["nothing", "client", "c", "."] {
        let refused = scene.admin("GET", &format!("/v1/audit?event={event}"), Value::Null).await;
        assert_eq!(refused.status, 400, "{event}");
        let detail = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.starts_with("event: not an event; there are token.issued, "), "{detail}");
    }
    assert_eq!(scene.admin("GET", "/v1/audit?since=yesterday", Value::Null).await.status, 400);

    let mut paged = Vec::new();
    let mut after = String::new();
    loop {
        let page = scene.admin("GET", &format!("/v1/audit?limit=1&after={after}"), Value::Null).await.json();
        paged.extend(page["entries"].as_array().unwrap().clone());
        match page["next"].as_str() {
            Some(next) => after = next.to_owned(),
            None => break,
        }
    }
    assert_eq!(paged, all);
}

/// Whoever guesses at the secret is seen.
#[tokio::test]
async fn who_does_not_know_the_secret_leaves_a_trace() {
    let scene = Scene::new();
    scene.admin_with("GET", "/v1/clients", &[("authorization", "Bearer guess")], Value::Null).await;
    scene.admin_with("DELETE", "/v1/users/alice", &[("authorization", "Bearer guess")], Value::Null).await;
    let entries = scene.entries("event=admin.refused").await;
    assert_eq!(entries.len(), 2);
    for entry in &entries {
        assert_eq!((&entry["endpoint"], &entry["reason"]), (&json!("admin"), &json!("secret.wrong")));
        assert!(!entry.to_string().contains("guess"), "{entry}");
    }
    let counted = Count::Refused { endpoint: "admin".into(), reason: "secret.wrong".into(), count: 2 };
    assert!(scene.issuer.audit().counts().contains(&counted), "{:?}", scene.issuer.audit().counts());
}
