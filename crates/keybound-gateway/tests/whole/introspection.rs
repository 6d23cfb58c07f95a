//! `[issuer.introspection]`: a token that only its issuer can read.

use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::{Arc, Mutex};

use http::Method;
use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
use keybound::crypto::{Alg, Crypto as _, Signer as _};
use keybound::jws::decode_base64url;
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
        Self::saying(
            "application/json",
            move |known| if known { answer.to_string() } else { r#"{"active":false}"#.to_owned() },
        )
    }

    /// What it says of the token that it knows, and of another one.
    fn saying(media_type: &'static str, answer: impl Fn(bool) -> String + Send + Sync + 'static) -> Self {
        let questions = Arc::new(Mutex::new(Vec::new()));
        let asked = Arc::clone(&questions);
        let upstream = Upstream::doing(move |mut client| {
            while let Some(head) = client.head() {
                let (body, _) = client.body(&head);
                let form = String::from_utf8(body).unwrap();
                let known = form.split('&').any(|pair| pair == format!("token={TOKEN}"));
                let answer = answer(known);
                asked.lock().unwrap().push([head, form].concat());
                let mut response = format!("HTTP/1.1 200 OK\r\nContent-Type: {media_type}\r\n");
                write!(response, "Content-Length: {}\r\n\r\n{answer}", answer.len()).unwrap();
                client.send(response);
            }
        });
        Self { upstream, questions }
    }
}

fn gateway(scene: &Scene, endpoint: SocketAddr, upstream: &Upstream) -> Running {
    gateway_with(scene, "", "", endpoint, upstream)
}

/// With more settings of the issuer, and of asking it.
fn gateway_with(scene: &Scene, issuer: &str, asking: &str, endpoint: SocketAddr, upstream: &Upstream) -> Running {
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"{ORIGIN}\"\n\
         [[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\n{issuer}[issuer.introspection]\n{asking}\
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

/// The key that asks, in a file that nobody else may read.
fn asking_key(scene: &Scene) -> SoftwareKey {
    let key = SoftwareKey::generate(Alg::Es256).unwrap();
    scene.write("asking.json", &key.to_private_jwk().unwrap());
    fs::set_permissions(scene.path("asking.json"), fs::Permissions::from_mode(0o600)).unwrap();
    key
}

/// What stands in an assertion that this key signed: header and claims.
fn opened(assertion: &str, key: &SoftwareKey) -> [Value; 2] {
    let (signed, signature) = assertion.rsplit_once('.').unwrap();
    let public = AwsLc.prepare(key.public_jwk(), Alg::Es256).unwrap();
    public
        .verify(signed.as_bytes(), &decode_base64url(signature).unwrap())
        .expect("it is signed with the key of the file");
    let (header, claims) = signed.split_once('.').unwrap();
    [header, claims].map(|part| serde_json::from_slice(&decode_base64url(part).unwrap()).unwrap())
}

// R-RS-23, RFC 7523 section 3
#[test]
fn who_asks_may_say_so_by_an_assertion() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let key = asking_key(&scene);
    let endpoint = Endpoint::knowing(said_of_token(&scene)["token_introspection"].clone());
    let text = format!(
        "[listen]\naddress = \"127.0.0.1:0\"\nworkers = 1\n[[origin]]\nurl = \"{ORIGIN}\"\n\
         [[issuer]]\nurl = \"{ISSUER}\"\naudience = [\"{ORIGIN}\"]\n[issuer.introspection]\n\
         endpoint = \"http://{}/introspect\"\nclient_id = \"gateway\"\nauthentication = \"private_key_jwt\"\n\
         private_key = \"asking.json\"\nkey_id = \"asking-1\"\n{}",
        endpoint.upstream.address,
        route("/", upstream.address, "")
    );
    let gateway = Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")));
    let nonce = scene.nonce(&gateway, "/orders");
    let before = now().as_secs();
    assert_eq!(gateway.get("/orders", &credentials(&scene, TOKEN, Some(&nonce))).status, 200);
    assert_eq!(gateway.get("/orders", &credentials(&scene, "opaque-2", Some(&nonce))).reason(), "token.inactive");
    let after = now().as_secs();

    let questions = endpoint.questions.lock().unwrap();
    let assertions: Vec<[Value; 2]> = questions
        .iter()
        .map(|question| {
            let (head, form) = question.split_once("\r\n\r\n").unwrap();
            assert!(!head.to_ascii_lowercase().contains("\r\nauthorization:"), "{head}");
            let values = |name: &str| -> Vec<&str> {
                form.split('&').filter_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).collect()
            };
            assert_eq!(values("client_id"), ["gateway"]);
            let kind = "urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer";
            assert_eq!(values("client_assertion_type"), [kind]);
            let [assertion] = values("client_assertion")[..] else { panic!("{form}") };
            opened(assertion, &key)
        })
        .collect();
    assert_eq!(assertions.len(), 2);
    for [header, claims] in &assertions {
        assert_eq!(*header, json!({"typ": "JWT", "alg": "ES256", "kid": "asking-1"}));
        // Of the issuer alone: somebody else could use what names the endpoint of another.
        assert_eq!(
            (&claims["iss"], &claims["sub"], &claims["aud"]),
            (&json!("gateway"), &json!("gateway"), &json!(ISSUER))
        );
        let [iat, exp] = ["iat", "exp"].map(|name| claims[name].as_u64().unwrap());
        assert!((before..=after).contains(&iat) && (iat + 1..=iat + 300).contains(&exp), "{claims}");
    }
    assert_ne!(assertions[0][1]["jti"], assertions[1][1]["jti"], "each is made for one question");
}

const SIGNED: &str = "token-introspection+jwt";

/// What an issuer that knows the token signs about it.
fn said_of_token(scene: &Scene) -> Value {
    json!({"iss": ISSUER, "aud": "gateway", "iat": now().as_secs(), "token_introspection": {
        "active": true, "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "orders-app",
        "exp": now().as_secs() + 600, "token_type": "DPoP", "cnf": {"jkt": scene.thumbprint()},
    }})
}

/// What a request gets whose token this is the answer about, where answers have to be signed.
fn status_with(scene: &Scene, answer: String) -> (u16, String) {
    let upstream = Upstream::echo();
    let endpoint = Endpoint::saying("application/token-introspection+jwt", move |_| answer.clone());
    let keys = "jwks_file = \"issuer.jwks.json\"\n";
    let gateway = gateway_with(scene, keys, "signed = true\n", endpoint.upstream.address, &upstream);
    let barrier = gateway.get("/orders", &credentials(scene, TOKEN, None));
    let answer = gateway.get("/orders", &credentials(scene, TOKEN, barrier.field("dpop-nonce")));
    let question = endpoint.questions.lock().unwrap()[0].to_ascii_lowercase();
    assert!(question.contains("\r\naccept: application/token-introspection+jwt\r\n"), "{question}");
    (answer.status, answer.reason())
}

// R-RS-25: of the issuer, for us, and of now
#[test]
fn signed_answers_are_taken_and_no_others() {
    let scene = Scene::new();
    let now = now().as_secs();
    let unavailable = (503, "introspection.unavailable");
    for (change, expected) in [
        (json!({}), (200, "")),
        (json!({"token_introspection": {"active": false}}), (401, "token.inactive")),
        (json!({"iat": now - 600}), unavailable),
        (json!({"iat": now + 600}), unavailable),
        (json!({"exp": now - 600}), unavailable),
        (json!({"aud": "another"}), unavailable),
        (json!({"iss": "https://other.example.com"}), unavailable),
    ] {
        let mut said = said_of_token(&scene);
        said.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        let (status, reason) = status_with(&scene, scene.sign_as(SIGNED, &said));
        assert_eq!((status, &*reason), expected, "{change}");
    }
    let said = said_of_token(&scene);
    let plain = said["token_introspection"].to_string();
    for answer in [plain, scene.sign_as("at+jwt", &said), Scene::new().sign_as(SIGNED, &said)] {
        let (status, reason) = status_with(&scene, answer.clone());
        assert_eq!((status, &*reason), unavailable, "{answer}");
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

/// A route takes both, each from its issuer.
#[test]
fn opaque_tokens_and_jwts_on_one_route() {
    const OPAQUE: &str = "https://opaque.example";
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let endpoint = Endpoint::knowing(json!({
        "active": true, "iss": OPAQUE, "aud": ORIGIN, "sub": "bob", "client_id": "orders-app",
        "exp": now().as_secs() + 600, "token_type": "DPoP", "cnf": {"jkt": scene.thumbprint()},
    }));
    let asked = format!(
        "[[issuer]]\nurl = \"{OPAQUE}\"\naudience = [\"{ORIGIN}\"]\n[issuer.introspection]\n\
         endpoint = \"http://{}/introspect\"\nclient_id = \"gateway\"\nclient_secret = \"as the issuer has it\"\n",
        endpoint.upstream.address
    );
    let gateway = scene.gateway(&[asked, route("/", upstream.address, "")].concat());
    let nonce = scene.nonce(&gateway, "/orders");
    for (token, issuer, subject) in [(scene.token(), ISSUER, "alice"), (TOKEN.to_owned(), OPAQUE, "bob")] {
        let answer = gateway.get("/orders", &credentials(&scene, &token, Some(&nonce)));
        assert_eq!(answer.status, 200, "{}", answer.text());
        let seen = answer.text().to_ascii_lowercase();
        assert!(seen.contains(&format!("keybound-issuer: {issuer}\r\n")), "{seen}");
        assert!(seen.contains(&format!("keybound-subject: {subject}\r\n")), "{seen}");
    }
    assert_eq!(endpoint.questions.lock().unwrap().len(), 1, "a JWT is shown to nobody");
}

/// A stranger's tokens, whatever the issuer says of them, keep nobody else out.
#[test]
fn tokens_that_the_issuer_chokes_on_cost_no_other_client() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let known = json!({
        "active": true, "iss": ISSUER, "aud": ORIGIN, "sub": "alice", "client_id": "orders-app",
        "exp": now().as_secs() + 600, "token_type": "DPoP", "cnf": {"jkt": scene.thumbprint()},
    });
    let endpoint = Endpoint::saying("application/json", move |is_known| {
        if is_known { known.to_string() } else { "<html>Internal Server Error</html>".to_owned() }
    });
    let gateway = gateway(&scene, endpoint.upstream.address, &upstream);
    let barrier = gateway.get("/orders", &credentials(&scene, TOKEN, None));
    let nonce = barrier.field("dpop-nonce").unwrap();
    let stranger = Scene::new();
    for number in 0..20 {
        let answer = gateway.get("/orders", &credentials(&stranger, &format!("rubbish{number}"), Some(nonce)));
        assert_eq!((answer.status, &*answer.reason()), (503, "introspection.unavailable"));
    }
    let admitted = gateway.get("/orders", &credentials(&scene, TOKEN, Some(nonce)));
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    assert_eq!(endpoint.questions.lock().unwrap().len(), 21);
}
