//! Every vector of the roles `as-endpoint` and `as-flow`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

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
use keybound_issuer::users::NewUser;
use keybound_issuer::{Authentication, Client, Clock, Connection, Issuer, IssuerConfig, Keys, Registration, Secret};
use serde_json::Value;

use super::support::{Answer, send};

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
        .filter(|(_, vector)| vector["role"] == "as-endpoint" || vector["role"] == "as-flow")
        .collect();
    found.sort_by(|left, right| left.0.cmp(&right.0));
    found
}

/// An issuer whose clock shows these seconds.
fn issuer(vector: &Value, seconds: &Arc<AtomicU64>) -> Issuer {
    let policy = &vector["policy"];
    let mut resources = texts(&policy["resources"]);
    let config = IssuerConfig::new(text(&policy["issuer"]), resources.next().expect("a resource"));
    let config = resources.fold(config, IssuerConfig::audience);
    let clients = policy["clients"].as_array().expect("clients");
    let config = clients.iter().map(client).fold(config, IssuerConfig::client);
    let config = match policy["auto_approve"].as_str() {
        Some(user) => config.auto_approve(user),
        None => config,
    };
    let users = policy.get("users").and_then(Value::as_array).into_iter().flatten();
    let config = users.fold(config, |config, user| {
        let hash = text(&user["password_hash"]).parse().expect("a hash");
        config.user(NewUser::new(text(&user["username"])).password(hash))
    });
    let config = match policy["registration"].as_str() {
        Some("open") => config.registration(Registration::Open, "orders:read"),
        Some(_) => config.registration(Registration::WithToken(Secret::new("a token".into()).expect("one")), ""),
        None => config,
    };
    let algs = texts(&policy["algorithms"]).map(|name| Alg::from_name(name).expect("an algorithm")).collect();
    let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, [1; 32])));
    let verifier = Verifier::builder(Arc::new(AwsLc), nonces).algorithms(algs).build().expect("settings that hold");
    let number = |value: &Value| value.as_u64().expect("a number");
    let epoch = &policy["epoch"];
    let epoch = Epoch::new(number(&epoch["id"]), UnixTime::from_secs(number(&epoch["opened"])));
    let store = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], epoch).expect("room"));
    let seconds = Arc::clone(seconds);
    let clock = Clock::new(move || UnixTime::from_secs(seconds.load(Ordering::SeqCst)));
    let keys = Keys::generate().expect("keys");
    Issuer::new(config, keys, AuthorizationServer::new(verifier), store, clock).expect("an issuer")
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
    for grant in texts(&registered["grant_types"]) {
        client = client.grant_type(grant.parse().expect("a grant type"));
    }
    for uri in registered.get("redirect_uris").into_iter().flat_map(texts) {
        client = client.redirect_uri(uri);
    }
    if registered["dpop_bound_access_tokens"] == true { client.dpop_bound_access_tokens() } else { client }
}

/// The request, with what was learnt in place of its name in braces.
fn request(request: &Value, learnt: &[(String, String)]) -> Request<Body> {
    let fill = |text: &str| {
        learnt.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value))
    };
    let mut built = Request::builder().method(text(&request["method"])).uri(fill(text(&request["target"])));
    for field in request["headers"].as_array().expect("fields") {
        built = built.header(text(&field[0]), fill(text(&field[1])));
    }
    let here = "127.0.0.1:8090".parse().expect("an address");
    built = built.extension(Connection::new(here, here));
    built.body(Body::from(fill(request["body"].as_str().unwrap_or_default()))).expect("a request")
}

/// What an answer gives: the members of its JSON, the parameters its browser takes back to the client, its cookies, where it
/// sends the browser, and what the form of its page holds.
fn given(answer: &Answer) -> Vec<(String, String)> {
    let location = answer.headers.get("location").map_or("", |location| location.to_str().expect("text"));
    let query = location.split_once('?').map_or("", |(_, query)| query);
    let query = query.split('&').filter_map(|pair| pair.split_once('='));
    let query = query.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let json = answer.body.as_object().into_iter().flatten();
    let json = json.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    let cookies = answer.headers.get_all("set-cookie").iter().filter_map(|field| {
        let (name, value) = field.to_str().expect("text").split(';').next()?.split_once('=')?;
        Some((name.to_owned(), value.to_owned()))
    });
    let path = location.strip_prefix("http://localhost:8090").map(|path| ("location".to_owned(), path.to_owned()));
    let fields = answer.text.split("<input type=\"hidden\" name=\"").skip(1).filter_map(|field| {
        let (name, rest) = field.split_once("\" value=\"")?;
        Some((name.to_owned(), rest.split('"').next()?.to_owned()))
    });
    query.chain(json).chain(cookies).chain(path).chain(fields).collect()
}

/// The code that stands in a page.
fn told(page: &str) -> Option<&str> {
    page.rsplit_once('(')?.1.split_once(')').map(|(code, _)| code)
}

#[tokio::test]
async fn every_token_request_is_answered_as_its_vector_says() {
    let (mut wrong, mut agree) = (Vec::new(), BTreeSet::new());
    for (name, vector) in vectors() {
        let seconds = Arc::new(AtomicU64::new(0));
        let issuer = issuer(&vector, &seconds);
        let turn = |at: &Value| seconds.store(at.as_u64().expect("a time"), Ordering::SeqCst);
        let mut learnt = Vec::new();
        for earlier in vector["before"].as_array().expect("requests") {
            turn(&earlier["now"]);
            let answer = send(&issuer, request(&earlier["request"], &learnt)).await;
            assert_eq!(answer.status >= 400, earlier["refused"] == true, "{name}: {answer:?}");
            learnt.extend(given(&answer));
        }
        turn(&vector["now"]);
        let answer = send(&issuer, request(&vector["request"], &learnt)).await;
        let said = given(&answer);
        let said = |member: &str| said.iter().find(|(name, _)| name == member).map(|(_, value)| value.as_str());
        let code = said("error_description").or_else(|| told(&answer.text)).unwrap_or("admit");
        let expected = (&vector["answer"]["status"], vector["answer"]["error"].as_str(), text(&vector["expect"]));
        let found = (&Value::from(answer.status), said("error"), code);
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
    assert!(wrong.is_empty(), "{wrong:#?}");
}
