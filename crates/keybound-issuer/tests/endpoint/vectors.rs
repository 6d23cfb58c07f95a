//! Every vector of the role `as-endpoint`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::body::Body;
use http::Request;
use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::AwsLc;
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::time::UnixTime;
use keybound::verify::Verifier;
use keybound_issuer::{Authentication, Client, Clock, Issuer, IssuerConfig, Keys, Secret};
use serde_json::Value;

use super::support::send;

/// What the issuer answers otherwise as yet, with the reason.
const GAPS: [(&str, &str); 2] = [
    ("client.forbidden/grant-not-registered", "no grant of refresh tokens yet"),
    ("grant.invalid/refresh-token-unknown", "no grant of refresh tokens yet"),
];

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    value.as_array().expect("a list").iter().map(|text| text.as_str().expect("a text"))
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value} is no text"))
}

fn vectors() -> Vec<(String, Value)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let entries = |folder: &Path| -> Vec<PathBuf> {
        fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry").path()).collect()
    };
    let folders = entries(&root.join("refuse")).into_iter().chain([root.join("accept")]);
    let mut found: Vec<(String, Value)> = folders
        .flat_map(|folder| entries(&folder))
        .map(|path| {
            let vector: Value = serde_json::from_slice(&fs::read(&path).expect("a file")).expect("JSON");
            let stem = path.file_stem().expect("a name").to_string_lossy().into_owned();
            (format!("{}/{stem}", text(&vector["expect"])), vector)
        })
        .filter(|(_, vector)| vector["role"] == "as-endpoint")
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

fn issuer(vector: &Value) -> Issuer {
    let policy = &vector["policy"];
    let mut resources = texts(&policy["resources"]);
    let config = IssuerConfig::new(text(&policy["issuer"]), resources.next().expect("a resource"));
    let config = resources.fold(config, IssuerConfig::audience);
    let clients = policy["clients"].as_array().expect("clients");
    let config = clients.iter().map(client).fold(config, IssuerConfig::client);
    let algs = texts(&policy["algorithms"]).map(|name| Alg::from_name(name).expect("an algorithm")).collect();
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [1; 32])));
    let verifier = Verifier::builder(Arc::new(AwsLc), nonces).algorithms(algs).build().expect("settings that hold");
    let number = |value: &Value| value.as_u64().expect("a number");
    let epoch = &policy["epoch"];
    let epoch = Epoch::new(number(&epoch["id"]), UnixTime::from_secs(number(&epoch["opened"])));
    let store = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).expect("room"));
    let now = UnixTime::from_secs(number(&vector["now"]));
    let keys = Keys::generate().expect("keys");
    Issuer::new(config, keys, AuthorizationServer::new(verifier), store, Clock::new(move || now)).expect("an issuer")
}

fn client(registered: &Value) -> Client {
    let secret = || Secret::new(text(&registered["client_secret"]).to_owned()).expect("a secret");
    let authentication = match text(&registered["token_endpoint_auth_method"]) {
        "client_secret_basic" => Authentication::SecretBasic(secret()),
        "client_secret_post" => Authentication::SecretPost(secret()),
        "none" => Authentication::None,
        other => panic!("{other} is no method of these vectors"),
    };
    let mut client = Client::new(text(&registered["client_id"]), authentication).scope(text(&registered["scope"]));
    // Grants this issuer does not know are never asked for by way of a registration.
    for grant in texts(&registered["grant_types"]).filter_map(|name| name.parse().ok()) {
        client = client.grant_type(grant);
    }
    if registered["dpop_bound_access_tokens"] == true { client.dpop_bound_access_tokens() } else { client }
}

fn request(vector: &Value) -> Request<Body> {
    let request = &vector["request"];
    let mut built = Request::builder().method(text(&request["method"])).uri(text(&request["target"]));
    for field in request["headers"].as_array().expect("fields") {
        built = built.header(text(&field[0]), text(&field[1]));
    }
    built.body(Body::from(request["body"].as_str().unwrap_or_default().to_owned())).expect("a request")
}

#[tokio::test]
async fn every_token_request_is_answered_as_its_vector_says() {
    let (mut wrong, mut agree) = (Vec::new(), BTreeSet::new());
    for (name, vector) in vectors() {
        let answer = send(&issuer(&vector), request(&vector)).await;
        let code = answer.body["error_description"].as_str().unwrap_or("admit");
        let expected = (&vector["answer"]["status"], &vector["answer"]["error"], text(&vector["expect"]));
        let found = (&Value::from(answer.status), &answer.body["error"], code);
        if found == expected {
            if expected.2 == "admit" {
                assert_eq!(answer.body["token_type"], "DPoP", "{name}");
            }
            agree.insert(name);
        } else {
            wrong.push((name, format!("{answer:?}")));
        }
    }
    assert!(agree.len() >= 20, "{agree:?}");
    wrong.retain(|(name, _)| !GAPS.iter().any(|(gap, _)| gap == name));
    assert!(wrong.is_empty(), "{wrong:#?}");
    let closed: Vec<_> = GAPS.iter().filter(|(gap, _)| agree.contains(*gap)).collect();
    assert!(closed.is_empty(), "these gaps are closed, take them out: {closed:?}");
}
