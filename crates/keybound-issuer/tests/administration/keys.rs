//! The keys that the issuer signs with.

use keybound_issuer::keys::{KeySettings, SealingKeys};
use keybound_issuer::{Clock, Keys};
use serde_json::{Value, json};

use crate::support::{NOW, Scene};

/// With keys in its store, all of whose changes are noted.
fn kept() -> Scene {
    Scene::with_keys(|store, audit| {
        let audit = Some(audit.clone());
        let sealing = |_| SealingKeys::generate().map_err(|error| error.to_string());
        Keys::start(store, sealing, &KeySettings::new(), Clock::new(|| NOW), audit).unwrap()
    })
}

#[tokio::test]
async fn keys_are_listed_rotated_and_revoked() {
    let scene = kept();
    let kids = |answer: &Value| -> Vec<String> {
        answer["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    };
    let listed = scene.admin("GET", "/v1/keys", Value::Null).await;
    let first = listed.json();
    assert_eq!((&first["keys"][0]["state"], &first["keys"][1]["state"]), (&json!("signing"), &json!("next")));
    assert!(!listed.text.contains("\"d\""), "{listed:?}");

    let rotated = scene.admin("POST", "/v1/keys/rotation", Value::Null).await.json();
    assert_eq!(kids(&rotated), kids(&first));
    assert_eq!(rotated["keys"][1]["signs"], NOW.as_secs() + 3600, "an hour after it was published");

    let stolen = &kids(&first)[0];
    let after = scene.admin("DELETE", &format!("/v1/keys/{stolen}"), Value::Null).await.json();
    assert!(!kids(&after).contains(stolen) && kids(&after)[0] == kids(&first)[1], "{after}");
    assert_eq!(scene.admin("DELETE", &format!("/v1/keys/{stolen}"), Value::Null).await.status, 404);

    let entries = scene.entries("event=key.").await;
    let said: Vec<_> =
        entries.iter().map(|row| [&row["event"], &row["by"]].map(|text| text.as_str().unwrap())).collect();
    assert_eq!(said.iter().filter(|said| **said == ["key.made", "schedule"]).count(), 2, "{said:?}");
    assert!(said.contains(&["key.rotated", "api"]), "{said:?}");
    let revoked = entries.iter().find(|row| row["event"] == "key.revoked").unwrap();
    assert_eq!((&revoked["by"], &revoked["kid"]), (&json!("api"), &json!(stolen)));
}

#[tokio::test]
async fn a_key_of_somebody_elses_is_looked_after_there() {
    let scene = Scene::new();
    assert_eq!(scene.admin("GET", "/v1/keys", Value::Null).await.json()["keys"].as_array().unwrap().len(), 1);
    let answer = scene.admin("POST", "/v1/keys/rotation", Value::Null).await;
    assert_eq!((answer.status, &answer.json()["code"]), (409, &json!("keys.elsewhere")));
}
