//! Users that an administrator looks after, and what they granted.

use std::sync::Arc;

use keybound::time::UnixTime;
use keybound_issuer::store::{Change, Kind, NEVER, Written};
use serde_json::{Value, json};

use crate::support::{NOW, Place, SECRET, Scene};

#[tokio::test]
async fn a_user_from_first_to_last() {
    let scene = Scene::new();
    let bob = json!({ "name": "Bob", "password": "correct horse battery", "email": "bob@example.com" });
    let added = scene.admin("POST", "/v1/users", bob.clone()).await;
    assert_eq!((added.status, added.field("location")), (201, Some("/v1/users/bob")), "{added:?}");
    let user = added.json();
    assert_eq!(
        (&user["has_password"], &user["disabled"], &user["full_name"]),
        (&json!(true), &json!(false), &Value::Null)
    );
    assert!(!added.text.contains("argon2") && !added.text.contains("correct"), "{added:?}");
    assert_eq!(scene.admin("POST", "/v1/users", bob).await.status, 409);
    let changed = scene.admin("PATCH", "/v1/users/BOB", json!({ "full_name": "Bob B", "disabled": true })).await.json();
    assert_eq!(
        (&changed["full_name"], &changed["email"], &changed["disabled"]),
        (&json!("Bob B"), &json!("bob@example.com"), &json!(true))
    );
    let changed = scene.admin("PATCH", "/v1/users/bob", json!({ "email": null, "disabled": false })).await.json();
    assert_eq!((&changed["email"], &changed["disabled"]), (&Value::Null, &json!(false)));
    assert_eq!(scene.admin("PUT", "/v1/users/bob/password", json!({ "password": "another one" })).await.status, 204);
    assert_eq!(scene.admin("DELETE", "/v1/users/bob/password", Value::Null).await.status, 204);
    assert_eq!(scene.admin("GET", "/v1/users/bob", Value::Null).await.json()["has_password"], false);
    let listed = scene.admin("GET", "/v1/users?limit=1", Value::Null).await.json();
    assert_eq!((&listed["users"][0]["name"], &listed["next"]), (&json!("Bob"), &json!("bob")));
    assert_eq!(scene.admin("DELETE", "/v1/users/bob", Value::Null).await.status, 204);
    assert_eq!(scene.admin("GET", "/v1/users/bob", Value::Null).await.status, 404);
    let subject = user["subject"].as_str().unwrap();
    let events: Vec<_> =
        scene.entries(&format!("subject={subject}")).await.iter().map(|row| row["event"].clone()).collect();
    let expected = [
        "user.deleted",
        "user.password",
        "user.password",
        "user.enabled",
        "user.changed",
        "user.disabled",
        "user.changed",
        "user.added",
    ];
    assert_eq!(events, expected);
}

#[tokio::test]
async fn one_thing_wrong_in_each() {
    let scene = Scene::new();
    for (body, detail) in [
        (json!({}), "name is missing"),
        (json!({ "name": "a b" }), "a user name is of letters, digits and"),
        (json!({ "name": 7 }), "name is neither a text nor null"),
        (json!({ "name": "bob", "password": "" }), "a password has between 1 and 1024 octets"),
        (json!({ "name": "bob", "password": "x".repeat(1025) }), "a password has between 1 and 1024 octets"),
        (json!({ "name": "bob", "password": 7 }), "password is not a text"),
        (json!({ "name": "bob", "email": "a\nb" }), "a full name or an address is a line"),
        (json!({ "name": "bob", "is_admin": true }), "a member in the body that nobody knows"),
    ] {
        let answer = scene.admin("POST", "/v1/users", body.clone()).await;
        let problem = answer.json();
        assert_eq!((answer.status, &problem["code"]), (400, &json!("request.unfit")), "{body}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{body}: {problem}");
    }
    for (method, path, body) in [
        ("GET", "/v1/users/nobody", Value::Null),
        ("PATCH", "/v1/users/nobody", json!({ "disabled": true })),
        ("PUT", "/v1/users/nobody/password", json!({ "password": "x" })),
        ("DELETE", "/v1/users/nobody/password", Value::Null),
        ("DELETE", "/v1/users/nobody", Value::Null),
        ("GET", "/v1/users/nobody/grants", Value::Null),
        ("DELETE", "/v1/users/nobody/grants", Value::Null),
        ("DELETE", "/v1/users/nobody/grants/x", Value::Null),
        ("GET", "/v1/users/nobody/sessions", Value::Null),
        ("DELETE", "/v1/users/nobody/sessions", Value::Null),
    ] {
        assert_eq!(scene.admin(method, path, body).await.status, 404, "{method} {path}");
    }
    assert_eq!(scene.admin("PATCH", "/v1/users/nobody", json!({ "disabled": "yes" })).await.status, 400);
}

#[tokio::test]
async fn what_was_granted_can_be_revoked() {
    let scene = Scene::new();
    let (first, refresh) = scene.redeemed("app", SECRET).await;
    let (second, _) = scene.redeemed("app", SECRET).await;
    let grants = scene.admin("GET", "/v1/users/alice/grants", Value::Null).await.json();
    let grants = grants["grants"].as_array().unwrap().clone();
    assert_eq!(grants.len(), 2);
    assert_eq!((&grants[0]["client_id"], &grants[0]["scope"]), (&json!("app"), &json!("read write")));
    let page = scene.admin("GET", "/v1/users/alice/grants?limit=1", Value::Null).await.json();
    let next = page["next"].as_str().unwrap();
    let rest = scene.admin("GET", &format!("/v1/users/alice/grants?limit=2&after={next}"), Value::Null).await.json();
    assert_eq!((rest["grants"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));

    let id = jti(&first).split('.').next().unwrap().to_owned();
    assert_eq!(scene.admin("DELETE", &format!("/v1/users/alice/grants/{id}"), Value::Null).await.status, 204);
    assert_eq!(scene.admin("DELETE", &format!("/v1/users/alice/grants/{id}"), Value::Null).await.status, 404);
    let form = format!("grant_type=refresh_token&refresh_token={}", refresh.unwrap());
    assert_eq!(scene.token("app", SECRET, &form).await.json()["error_description"], "grant.invalid");
    assert!(!active(&scene, &first).await && active(&scene, &second).await);

    let revoked = scene.admin("DELETE", "/v1/users/alice/grants", Value::Null).await.json();
    assert_eq!(revoked, json!({ "revoked": 1 }));
    assert!(!active(&scene, &second).await);
    assert_eq!(scene.admin("DELETE", "/v1/users/alice/grants", Value::Null).await.json(), json!({ "revoked": 0 }));
    assert_eq!(scene.entries("event=grant.revoked&subject=alice").await.len(), 2);
}

#[tokio::test]
async fn who_is_signed_in_can_be_signed_out() {
    let place = Place::new();
    let store = place.open(UnixTime::from_secs(1_699_000_000));
    let scene = Scene::over(Arc::clone(&store), |config| config);
    let bob = scene.admin("POST", "/v1/users", json!({ "name": "bob" })).await.json();
    // As the pages keep it.
    for (id, subject) in [("a", &bob["subject"]), ("b", &json!("somebody")), ("c", &bob["subject"])] {
        let family = format!("sessions:{}", subject.as_str().unwrap()).into();
        let body = json!({ "subject": subject, "auth_time": 7 }).to_string().into();
        let insert = Change::Insert { kind: Kind::SESSION, id: id.into(), family, expires: NEVER, body };
        assert_eq!(store.write(vec![insert], NOW).await, Ok(Written::Done));
    }
    let page = scene.admin("GET", "/v1/users/bob/sessions?limit=1", Value::Null).await.json();
    assert_eq!((&page["sessions"][0]["since"], &page["next"]), (&json!(7), &json!("a")));
    let rest = scene.admin("GET", "/v1/users/bob/sessions?after=a", Value::Null).await.json();
    assert_eq!((rest["sessions"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    assert_eq!(scene.admin("DELETE", "/v1/users/bob/sessions", Value::Null).await.status, 204);
    let none = scene.admin("GET", "/v1/users/bob/sessions", Value::Null).await.json();
    assert_eq!(none["sessions"], json!([]));
    assert!(store.read(Kind::SESSION, "b", NOW).await.unwrap().is_some());
    assert_eq!(scene.entries("event=user.signed_out").await.len(), 1);
}

fn jti(token: &str) -> String {
    let claims = keybound::jws::decode_base64url(token.split('.').nth(1).unwrap()).unwrap();
    serde_json::from_slice::<Value>(&claims).unwrap()["jti"].as_str().unwrap().to_owned()
}

async fn active(scene: &Scene, token: &str) -> bool {
    let basic = data_encoding::BASE64.encode(format!("app:{SECRET}").as_bytes());
    let request = http::Request::post("/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", format!("Basic {basic}"));
    let answer = scene.issuer(request.body(format!("token={token}").into()).unwrap()).await;
    answer.json()["active"] == true
}
