//! `[issuer.introspection]`: a token that only its issuer can read.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http::Method;
use serde_json::{Value, json};

use crate::scene::{ISSUER, ORIGIN, Running, Scene, now, route};
use crate::support::{Upstream, nobody};

const TOKEN: &str = "opaque-1";

/// An issuer that knows one token, and writes down what it was asked.
struct Endpoint {
    upstream: Upstream,
    questions: Arc<Mutex<Vec<String>>>,
}

impl Endpoint {
    fn knowing(answer: Value) -> Self {
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);
        let upstream = Upstream::doing(move |mut client| {
            while let Some(head) = client.head() {
                let (body, _) = client.body(&head);
                let form = String::from_utf8(body).unwrap();
                let known = form.split('&').any(|pair| pair == format!("token={TOKEN}"));
                let answer = if known { answer.to_string() } else { json!({"active": false}).to_string() };
                asked.lock().unwrap().push([head, form].concat());
                let mut response = String::from("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n");
                write!(response, "Content-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
                client.send(response);
            }
        });
        Self { upstream, questions }
    }
}

fn gateway(scene: &Scene, endpoint: SocketAddr, upstream: &Upstream) -> Running {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"{ORIGIN}\"\n\
         [[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\n[issuer.introspection]\n\
         endpoint = \"http://{endpoint}/introspect\"\nclient_id = \"gateway\"\nclient_secret = \"as the issuer has it\"\n{}",
        route("/", upstream.address, "upstream_authorization = \"pass\"")
    );
    Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")))
}

fn credentials(scene: &Scene, token: &str, nonce: Option<&str>) -> String {
    let proof = scene.proof(Method::GET, "/orders", token, nonce);
    format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n")
}

// R-RS-21, R-RS-22
#[test]
fn an_opaque_token_is_asked_about_and_bound() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let endpoint = Endpoint::knowing(json!({
        "active": true, "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "orders-app",
        "exp": now().as_secs() + 600, "token_type": "DPoP", "cnf": {"jkt": scene.thumbprint()},
    }));
    let gateway = gateway(&scene, endpoint.upstream.address, &upstream);
    let barrier = gateway.get("/orders", &credentials(&scene, TOKEN, None));
    assert_eq!((barrier.status, &*barrier.reason()), (401, "nonce.barrier"));
    let nonce = barrier.field("dpop-nonce").unwrap().to_owned();

    let admitted = gateway.get("/orders", &credentials(&scene, TOKEN, Some(&nonce)));
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    assert!(admitted.text().contains("alice"), "{}", admitted.text());
    let stolen = gateway.get("/orders", &format!("Authorization: Bearer {TOKEN}\r\n"));
    assert_eq!((stolen.status, &*stolen.reason()), (401, "token.downgrade"));
    let other = Scene::new();
    let foreign = gateway.get("/orders", &credentials(&other, TOKEN, Some(&nonce)));
    assert_eq!((foreign.status, &*foreign.reason()), (401, "key.mismatch"));
    let inactive = gateway.get("/orders", &credentials(&scene, "opaque-2", Some(&nonce)));
    assert_eq!((inactive.status, &*inactive.reason()), (401, "token.inactive"));

    let questions = endpoint.questions.lock().unwrap();
    assert_eq!(questions.len(), 2, "each token is asked about once: {questions:?}");
    for question in &*questions {
        assert!(question.starts_with("POST /introspect HTTP/1.1\r\n"), "{question}");
        assert!(question.to_ascii_lowercase().contains("\r\nauthorization: basic "), "{question}");
        assert!(
            !question.to_ascii_lowercase().contains("\r\ndpop:"),
            "a proof is not the issuer's business: {question}"
        );
    }
}

// R-RS-25
#[test]
fn an_issuer_that_cannot_be_asked_costs_a_503() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = gateway(&scene, nobody(), &upstream);
    // The barrier comes first, for it asks nobody.
    let barrier = gateway.get("/orders", &credentials(&scene, TOKEN, None));
    let nonce = barrier.field("dpop-nonce").unwrap();
    let answer = gateway.get("/orders", &credentials(&scene, TOKEN, Some(nonce)));
    assert_eq!((answer.status, &*answer.reason()), (503, "introspection.unavailable"));
    assert_eq!(upstream.connections(), 0);
}
