//! The description tells of every operation and every answer, and of no other.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use keybound_issuer::admin::OPENAPI;
use keybound_issuer::audit::{Entry, Event};
use serde_json::{Value, json};

use crate::support::{SECRET, Scene, description, operations};

#[tokio::test]
async fn every_operation_is_there_and_wants_the_secret() {
    let scene = Scene::new();
    assert!(operations().len() >= 18);
    for (template, method) in operations() {
        let path =
            template.replace("{client_id}", "x").replace("{name}", "x").replace("{grant}", "x").replace("{kid}", "x");
        let answer = scene.admin(&method, &path, json!({})).await;
        assert!(!matches!(answer.status, 401 | 405), "{method} {path}: {answer:?}");
        if template == "/openapi.json" {
            continue;
        }
        for field in ["", "Bearer", "Bearer x", &format!("Basic {SECRET}"), &format!("Bearer {SECRET}x")] {
            let answer = scene.admin_with(&method, &path, &[("authorization", field)], json!({})).await;
            assert_eq!(
                (answer.status, &answer.json()["code"]),
                (401, &json!("secret.wrong")),
                "{method} {path}: {field}"
            );
        }
    }
    let twice = [("authorization", format!("Bearer {SECRET}")), ("authorization", "Bearer x".to_owned())];
    let twice: Vec<_> = twice.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(scene.admin_with("GET", "/v1/clients", &twice, Value::Null).await.status, 401);
    for (method, path, status) in [
        ("PUT", "/v1/clients", 405),
        ("GET", "/v1/clients/x/secret", 405),
        ("GET", "/v1", 404),
        ("GET", "/v2/clients", 404),
    ] {
        assert_eq!(scene.admin(method, path, Value::Null).await.status, status, "{method} {path}");
    }
    for query in ["limit=0", "limit=501", "limit=x", "afer=x", "limit=1&limit=2", "a=%zz"] {
        assert_eq!(scene.admin("GET", &format!("/v1/clients?{query}"), Value::Null).await.status, 400, "{query}");
        assert_eq!(scene.admin("GET", &format!("/v1/audit?{query}"), Value::Null).await.status, 400, "{query}");
    }
}

#[tokio::test]
async fn it_is_served_as_it_stands_in_the_book() {
    let scene = Scene::new();
    let served = scene.admin_with("GET", "/openapi.json", &[("authorization", "")], Value::Null).await;
    assert_eq!((served.status, served.json()), (200, serde_json::from_str(OPENAPI).unwrap()));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/admin-openapi.json");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, OPENAPI).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    let renew = "UPDATE=1 cargo test -p keybound-issuer --test administration";
    assert!(written == OPENAPI, "docs/admin-openapi.json is not what is served; renew it: {renew}");
}

#[test]
fn names_of_parts_lead_somewhere_and_are_all_used() {
    let mut named = BTreeSet::new();
    references(description(), &mut named);
    for name in &named {
        assert!(description().pointer(name).is_some(), "{name}");
    }
    for kind in ["parameters", "responses", "schemas"] {
        for name in description()["components"][kind].as_object().unwrap().keys() {
            assert!(named.contains(&format!("/components/{kind}/{name}")), "nobody names {kind}/{name}");
        }
    }
}

/// What the description says can be in an entry is what there is.
#[test]
fn entries_have_the_members_that_are_described() {
    let codes: Vec<&str> = Event::ALL.iter().map(|event| event.code()).collect();
    let unique: BTreeSet<_> = codes.iter().collect();
    assert_eq!(unique.len(), codes.len());
    // Members are read by their names: of an entry that has them all, each that is not known would be lost.
    let members = description()["components"]["schemas"]["Entry"]["properties"].as_object().unwrap();
    let of_number = |schema: &Value| schema["type"] == "integer";
    let all: serde_json::Map<_, _> = members
        .iter()
        .filter(|(name, _)| *name != "id")
        .map(|(name, schema)| (name.clone(), if of_number(schema) { json!(7) } else { json!("x") }))
        .collect();
    let read: Entry = serde_json::from_value(all.clone().into()).unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), Value::from(all), "described and not there");
    let debugged = format!("{read:#?}");
    let there = debugged.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": ")).map(|(name, _)| name);
    let there: BTreeSet<_> = there.filter(|name| !name.starts_with(' ')).collect();
    let described: BTreeSet<_> = members.keys().map(String::as_str).filter(|name| *name != "id").collect();
    assert_eq!(there, described, "there and not described");
}

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(members) => {
            if let Some(name) = members.get("$ref").and_then(Value::as_str) {
                found.insert(name.strip_prefix('#').unwrap().to_owned());
            }
            members.values().for_each(|value| references(value, found));
        }
        Value::Array(values) => values.iter().for_each(|value| references(value, found)),
        _ => {}
    }
}
