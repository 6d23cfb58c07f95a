//! `proof = "attest"`: the upstream gets a statement that it can check by itself, about this very request.

use std::collections::HashSet;

use http::Method;
use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, Crypto as _};
use keybound::jwk::PublicJwk;
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::request::AccessToken;
use keybound_gateway::attestation::{TYPE, WELL_KNOWN};
use serde_json::{Value, json};

use crate::scene::{ISSUER, ORIGIN, Running, Scene, now, route};
use crate::support::{Answer, Upstream};

const FIELD: &str = "keybound-attestation";

/// What an upstream does with a statement: the key by its `kid`, the signature, `typ`, `aud`, the times, method and target.
pub(crate) fn check(
    jwks: &Value,
    statement: &str,
    audience: &str,
    method: &str,
    target: &str,
) -> Result<Value, &'static str> {
    let (signed, signature) = statement.rsplit_once('.').ok_or("form")?;
    let (header, claims) = signed.split_once('.').ok_or("form")?;
    let json = |text: &str| serde_json::from_slice::<Value>(&decode_base64url(text).unwrap()).unwrap();
    let (header, claims) = (json(header), json(claims));
    let key = jwks["keys"].as_array().unwrap().iter().find(|key| key["kid"] == header["kid"]).ok_or("kid")?;
    let alg = Alg::from_name(key["alg"].as_str().unwrap()).unwrap();
    let public = PublicJwk::from_json(key.to_string().as_bytes()).unwrap();
    let key = AwsLc.prepare(&public, alg).unwrap();
    key.verify(signed.as_bytes(), &decode_base64url(signature).unwrap()).map_err(|_| "signature")?;
    let now = now().as_secs();
    let until = claims["exp"].as_u64().unwrap();
    assert_eq!(until - claims["iat"].as_u64().unwrap(), 30);
    let checks = [
        ("typ", header["typ"] == TYPE && header["alg"] == alg.name()),
        ("aud", claims["aud"] == audience),
        ("exp", now <= until && claims["iat"].as_u64().unwrap() <= now + 1),
        ("htm", claims["htm"] == method),
        ("htu", claims["htu"] == target),
    ];
    checks.iter().find(|(_, passed)| !passed).map_or(Ok(claims), |(name, _)| Err(name))
}

pub(crate) fn jwks(gateway: &Running) -> Value {
    let answer = gateway.get(WELL_KNOWN, "");
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/jwk-set+json")));
    serde_json::from_slice(&answer.body).unwrap()
}

/// The one statement among what the upstream got.
fn statement(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    let text = answer.text();
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("keybound-attestation: "));
    let found = lines.next().expect("a statement").to_owned();
    assert_eq!(lines.next(), None);
    found
}

fn attesting(scene: &Scene, upstream: &Upstream, settings: &str) -> Running {
    scene.gateway(&route("/", upstream.address, &format!("proof = \"attest\"\n{settings}")))
}

#[test]
fn the_upstream_can_check_what_it_is_told() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = attesting(&scene, &upstream, "rewrite = \"/v2\"");
    let nonce = scene.nonce(&gateway, "/orders");
    let token = scene.token();
    let mut seen = HashSet::new();
    // The target is in the normal form of what the client aimed at, without the query, whatever the upstream sees.
    for path in ["/orders/17", "/orders/17?page=2", "/orders/%7e17", "/"] {
        let proof = scene.proof(Method::GET, path, &token, Some(&nonce));
        let answer = gateway.get(path, &format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n"));
        let text = answer.text().to_ascii_lowercase();
        assert!(
            text.starts_with("get /v2/") && !text.contains("\r\ndpop:") && !text.contains("\r\nauthorization:"),
            "{text}"
        );
        let target = [ORIGIN, path.split('?').next().unwrap()].concat().replace("%7e", "~");
        let audience = format!("http://{}", upstream.address);
        let claims = check(&jwks(&gateway), &statement(&answer), &audience, "GET", &target).unwrap();
        let ath = encode_base64url(&AccessToken::parse(&token).unwrap().hash());
        assert_eq!(
            [
                &claims["iss"],
                &claims["ath"],
                &claims["sub"],
                &claims["client_id"],
                &claims["scope"],
                &claims["token_issuer"]
            ],
            [ORIGIN, &ath, "alice", "orders-app", "orders:read", ISSUER].map(Value::from).each_ref(),
        );
        assert_eq!(claims["jkt"], scene.thumbprint());
        assert!(seen.insert(claims["jti"].as_str().unwrap().to_owned()), "a name of its own");
    }
    // The proof is spent.
    let proof = scene.proof(Method::GET, "/orders", &token, Some(&nonce));
    let fields = format!("Authorization: DPoP {token}\r\nDPoP: {proof}\r\n");
    assert_eq!(gateway.get("/orders", &fields).status, 200);
    assert_eq!(gateway.get("/orders", &fields).reason(), "replay.seen");
}

/// One fault at a time, of the check above: what an upstream would refuse.
#[test]
fn a_statement_for_something_else_does_not_pass() {
    let (scene, upstream, other) = (Scene::new(), Upstream::echo(), Scene::new());
    let gateway = attesting(&scene, &upstream, "attestation_audience = [\"https://orders.internal\"]");
    let nonce = scene.nonce(&gateway, "/orders");
    let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
    let (good, keys) = (statement(&answer), jwks(&gateway));
    let target = format!("{ORIGIN}/orders");
    let judge = |statement: &str, audience, method, target| check(&keys, statement, audience, method, target).map(drop);
    let ours = "https://orders.internal";
    assert_eq!(judge(&good, ours, "GET", &target), Ok(()));
    assert_eq!(judge(&good, "https://bills.internal", "GET", &target), Err("aud"));
    assert_eq!(judge(&good, ours, "PUT", &target), Err("htm"));
    assert_eq!(judge(&good, ours, "GET", ORIGIN), Err("htu"));
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (header, _) = signed.split_once('.').unwrap();
    let forged = encode_base64url(json!({"aud": ours, "iat": 0, "exp": 30}).to_string().as_bytes());
    assert_eq!(judge(&format!("{header}.{forged}.{signature}"), ours, "GET", &target), Err("signature"));
    let elsewhere = attesting(&other, &upstream, "");
    assert_eq!(check(&jwks(&elsewhere), &good, ours, "GET", &target).map(drop), Err("kid"));
    // It is no access token and no proof.
    let fields = format!("Authorization: DPoP {good}\r\nDPoP: {good}\r\n");
    assert_eq!(
        (gateway.get("/orders", &fields).status, &*gateway.get("/orders", &fields).reason()),
        (401, "typ.invalid")
    );
    assert_eq!(gateway.get("/orders", &format!("Authorization: Bearer {good}\r\n")).status, 401);
}

/// Nobody but the gateway says it, by whatever spelling of the name, and nobody who is refused is told of.
#[test]
fn a_clients_own_statement_never_arrives() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for settings in ["proof = \"attest\"", "proof = \"consume\"", "mode = \"report\"", "mode = \"open\""] {
        let gateway =
            scene.gateway(&[route("/", upstream.address, settings), route("/required", upstream.address, "")].concat());
        let nonce = scene.nonce(&gateway, "/required");
        for name in ["Keybound-Attestation", "keybound_attestation", "KEYBOUND-ATTESTATION"] {
            let credentials = scene.credentials(Method::GET, "/a", Some(&nonce));
            let answer = gateway.get("/a", &format!("{name}: forged\r\nConnection: {name}\r\n{credentials}"));
            assert_eq!(answer.status, 200, "{settings}");
            assert!(!answer.text().contains("forged"), "{settings} {name}");
            let told = answer.text().matches(&format!("{FIELD}: ")).count();
            assert_eq!(told, usize::from(settings.contains("attest")), "{settings} {name}");
        }
    }
    let gateway = attesting(&scene, &upstream, "");
    assert!(gateway.get("/a", "").field(FIELD).is_none());
}

/// A bearer token, where one may come: nobody proved a key, and the statement names none.
#[test]
fn without_a_key_none_is_named() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = attesting(&scene, &upstream, "mode = \"optional\"");
    let answer = gateway.get("/a", &format!("Authorization: Bearer {}\r\n", scene.unbound_token()));
    let audience = format!("http://{}", upstream.address);
    let claims = check(&jwks(&gateway), &statement(&answer), &audience, "GET", &format!("{ORIGIN}/a")).unwrap();
    assert_eq!((claims.get("jkt"), &claims["sub"]), (None, &json!("alice")));
}

#[test]
fn the_key_set_is_public_and_only_there_where_it_is_needed() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = attesting(&scene, &upstream, "");
    let answer = gateway.get(WELL_KNOWN, "Origin: https://app.example\r\n");
    assert_eq!(answer.field("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    assert!(!answer.text().contains("\"d\""));
    assert_eq!(gateway.send(format!("POST {WELL_KNOWN} HTTP/1.1\r\nHost: a\r\n\r\n")).status, 405);
    let plain = scene.gateway(&route("/", upstream.address, "mode = \"open\""));
    assert!(plain.get(WELL_KNOWN, "").text().starts_with("GET /.well-known/"), "a path like any other");
}

/// A key in a file is that of every process that has it; one that is replaced is served beside its successor.
#[test]
fn keys_outlive_a_reload_and_a_process() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let kids = |gateway: &Running| {
        let keys = jwks(gateway)["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    let attest = route("/", upstream.address, "proof = \"attest\"");
    let gateway = scene.gateway(&attest);
    let own = kids(&gateway);
    let scoped = route("/", upstream.address, "proof = \"attest\"\nscope = [\"orders:read\"]");
    gateway.live.reload(scene.config(&scoped)).unwrap();
    assert_eq!(kids(&gateway), own);

    let filed = ["[attestation]\nsigning_key = \"attestation-key.json\"\nlifetime = \"10s\"\n", &attest].concat();
    gateway.live.reload(scene.config(&filed)).unwrap();
    let turned = kids(&gateway);
    assert_eq!((turned.len(), &turned[1]), (2, &own[0]));
    let elsewhere = scene.gateway(&filed);
    assert_eq!(kids(&elsewhere), turned[..1], "of the same file");
    gateway.live.reload(scene.config(&filed)).unwrap();
    assert_eq!(kids(&gateway), turned);

    std::fs::remove_file(scene.path("attestation-key.json")).unwrap();
    gateway.live.reload(scene.config(&filed)).unwrap();
    let after = kids(&gateway);
    assert_eq!((after.len(), &after[1]), (2, &turned[0]));
}

/// A proxy that asks gets it with the other fields that tell who called.
#[test]
fn decisions_bring_it_too() {
    let scene = Scene::new();
    let settings =
        "[[route]]\npath = \"/\"\nproof = \"attest\"\nattestation_audience = [\"https://orders.internal\"]\n";
    let service = scene.deciding(settings);
    let ask = |nonce: Option<&str>| {
        let credentials = scene.credentials(Method::PUT, "/orders", nonce);
        service.ask(&format!("X-Forwarded-Method: PUT\r\nX-Forwarded-Uri: /orders?a=1\r\n{credentials}"))
    };
    let refused = ask(None);
    assert_eq!((refused.status, refused.field(FIELD)), (401, None));
    let answer = ask(refused.field("dpop-nonce"));
    assert_eq!(answer.status, 200);
    let statement = answer.field(FIELD).unwrap();
    let claims: Value =
        serde_json::from_slice(&decode_base64url(statement.split('.').nth(1).unwrap()).unwrap()).unwrap();
    assert_eq!((&claims["htm"], &claims["aud"]), (&json!("PUT"), &json!("https://orders.internal")));
    assert_eq!(claims["htu"], format!("{ORIGIN}/orders"));
}
