//! The Grafana dashboard asks for metrics that there are, by labels that they have.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::ready::{issuer, until_ready, up};
use crate::scene::{DECIDING, Scene, ask, folder};
use crate::support::{Answer, Client, Upstream, nobody};

/// Every `expr` in it, however deep, with what its lines are called.
fn queries(value: &Value, found: &mut Vec<(String, String)>) {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    match value {
        Value::Object(members) => {
            found.extend(members.get("expr").map(|expr| (text(expr), text(&members["legendFormat"]))));
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

/// What stands between each `before` and the next `after`.
fn between<'t>(text: &'t str, before: &str, after: &str) -> impl Iterator<Item = &'t str> {
    text.split(before).skip(1).map(move |rest| rest.split(after).next().unwrap())
}

/// The labels by which a query has its lines: what it groups by, or all there are, with those of whoever scrapes.
fn labels_of<'q>(query: &'q str, labels: &BTreeMap<&'q str, BTreeSet<&'q str>>) -> BTreeSet<&'q str> {
    let grouped: BTreeSet<_> = between(query, "by (", ")").flat_map(|names| names.split(", ")).collect();
    for label in &grouped {
        for name in names(query) {
            assert!(labels[name].contains(label), "{name} of {query} has no label {label}");
        }
    }
    match (grouped.is_empty(), query.contains("sum (") || query.contains("count(")) {
        (true, true) => BTreeSet::new(),
        (true, false) => names(query).flat_map(|name| labels[name].clone()).chain(["job", "instance"]).collect(),
        (false, _) => grouped,
    }
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
    let scene = Scene::new(DECIDING, &(issuer(address) + asked + &checked + EMBEDDED));
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
    let mut labels: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (name, rest) = line.split_at(line.find(['{', ' ']).unwrap());
        let parts: Vec<_> = rest.split("=\"").collect();
        let own = parts[..parts.len() - 1].iter().map(|part| part.rsplit(['{', ',']).next().unwrap());
        labels.entry(name).or_default().extend(own);
    }
    for (query, line) in &found {
        assert!(names(query).next().is_some(), "{query} asks for nothing of ours");
        for name in names(query) {
            assert!(samples.contains(name), "{name} of {query} is not among {samples:?}");
        }
        let there = labels_of(query, &labels);
        for label in between(line, "{{", "}}") {
            assert!(there.contains(label), "lines of {query} are called {line:?}, and have no label {label}");
        }
        for matched in between(query, "{", "}").flat_map(|all| all.split("\",")) {
            assert!(matched.starts_with("job=~\"$job") || matched.starts_with("instance=~\"$instance"), "{query}");
        }
    }
    // What an operator has to see is on it.
    let shown: BTreeSet<_> = found.iter().flat_map(|(query, _)| names(query)).collect();
    for name in samples
        .iter()
        .filter(|name| name.starts_with("keybound_") && !name.ends_with("_sum") && !name.ends_with("_count"))
    {
        assert!(shown.contains(name), "{name} is on no panel");
    }
}

#[test]
fn connections_of_proxies_that_ask_are_counted_by_their_listener() {
    let scene = Scene::new(DECIDING, "");
    let open = |listener: &str| scene.metric(&format!("keybound_decision_connections{{listener=\"{listener}\"}}"));
    assert_eq!([open("decisions"), open("ext_authz")], [Some(0.0); 2]);
    let mut proxy = Client::to(scene.decisions.unwrap());
    proxy.send("GET /ask HTTP/1.1\r\nHost: keybound\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /open/x\r\n\r\n");
    assert_eq!(proxy.answer().status, 200);
    assert_eq!([open("decisions"), open("ext_authz")], [Some(1.0), Some(0.0)]);
    assert_eq!(scene.metric("keybound_connections"), Some(0.0));
}
