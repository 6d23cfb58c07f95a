//! The Grafana dashboard asks for metrics that there are.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::ready::{issuer, until_ready, up};
use crate::scene::{Scene, ask, folder};
use crate::support::{Answer, Upstream, nobody};

/// Every `expr` in it, however deep.
fn queries(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").and_then(Value::as_str).map(str::to_owned));
            members.values().for_each(|member| queries(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| queries(item, found)),
        _ => {}
    }
}

/// The names in a query that are metrics: ours, and those of the process.
fn names(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    words.filter(|word| word.starts_with("keybound_") || word.starts_with("process_"))
}

/// An issuer of its own, with a client of it.
pub(crate) const EMBEDDED: &str = "[authorization_server]\nurl = \"https://as.example.com\"\n\
    [[authorization_server.client]]\nclient_id = \"app\"\nclient_secret = \"0123456789abcdef\"\n\
    token_endpoint_auth_method = \"client_secret_post\"\ngrant_types = [\"client_credentials\"]\n\
    dpop_bound_access_tokens = false\n";

/// A token request of that client.
pub(crate) fn at_the_embedded(scene: &Scene, form: &str) -> Answer {
    let fields = [("Content-Type", "application/x-www-form-urlencoded")];
    ask(scene.front, "POST", "/token", "as.example.com", &fields, &format!("client_id=app&{form}"))
}

/// What `/metrics` says of a gateway with something of everything.
pub(crate) fn metrics() -> String {
    let address = nobody();
    up(address);
    let upstream = Upstream::echo();
    let checked = format!(
        "[[route]]\npath = \"/checked\"\nmode = \"open\"\nupstream = [\"http://{}\"]\nhealth = {{ path = \"/healthz\" }}\n",
        upstream.address
    );
    let asked = "[[issuer]]\nurl = \"https://opaque.example\"\naudience = [\"x\"]\n[issuer.introspection]\n\
                 endpoint = \"https://opaque.example/introspect\"\nclient_id = \"gateway\"\nclient_secret = \"secret\"\n";
    let scene = Scene::new("", &(issuer(address) + asked + &checked + EMBEDDED));
    until_ready(&scene);
    assert_eq!(at_the_embedded(&scene, "grant_type=client_credentials&client_secret=0123456789abcdef").status, 200);
    assert_eq!(at_the_embedded(&scene, "grant_type=client_credentials").status, 401);
    // Metrics with a reason are there once there was one.
    assert_eq!(scene.get("/", &[]).status, 401);
    assert_eq!(scene.get("/report", &[]).status, 200);
    scene.look("/metrics").text()
}

#[test]
fn every_query_of_the_dashboard_is_about_metrics_that_there_are() {
    let text = metrics();
    let samples: BTreeSet<_> =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split([' ', '{']).next()).collect();

    let file = folder().join("../../docs/grafana-dashboard.json");
    let dashboard: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    let mut found = Vec::new();
    queries(&dashboard, &mut found);
    assert!(found.len() >= 10, "{found:?}");
    for query in &found {
        assert!(names(query).next().is_some(), "{query} asks for nothing of ours");
        for name in names(query) {
            assert!(samples.contains(name), "{name} of {query} is not among {samples:?}");
        }
    }
    // What an operator has to see is on it.
    let shown: BTreeSet<_> = found.iter().flat_map(|query| names(query)).collect();
    for name in samples
        .iter()
        .filter(|name| name.starts_with("keybound_") && !name.ends_with("_sum") && !name.ends_with("_count"))
    {
        assert!(shown.contains(name), "{name} is on no panel");
    }
}
