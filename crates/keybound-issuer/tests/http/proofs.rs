//! Proofs that are hostile, wrong or merely unusual at the token endpoint: 400 and JSON, never 401, and never a token.

use std::thread;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound::verify::NoncePolicy;
use serde_json::{Value, json};

use crate::support::{ENDPOINT, HOLDER, Jws, MARK, Request, SECRET, START, Server, Setup, THIEF};

/// What stands in the `DPoP` field, and the code of its refusal.
fn hostile(server: &Server) -> Vec<(&'static str, String, &'static str)> {
    let proof = || server.proof();
    let good = proof().text();
    let segments: Vec<&str> = good.split('.').collect();
    let (header, payload, signature) = (segments[0], segments[1], segments[2]);
    let jwk = |name: &str| proof().jwk(name, MARK).text();
    let mut cases = vec![
        // (1), (2): one compact JWS.
        ("empty", String::new(), "proof.malformed"),
        ("no JWS", MARK.to_owned(), "proof.malformed"),
        ("two segments", format!("{header}.{payload}"), "proof.malformed"),
        ("four segments", format!("{good}.{signature}"), "proof.malformed"),
        ("two in one field", format!("{good},{}", proof().text()), "proof.repeated"),
        ("inner space", format!("{header}. {payload}.{signature}"), "proof.malformed"),
        ("padding inside", format!("{header}==.{payload}.{signature}"), "proof.malformed"),
        ("padding", format!("{good}=="), "proof.encoding"),
        ("header is no JSON", proof().text_of(MARK, "{}"), "proof.json"),
        ("payload is an array", proof().text_of(&proof().header.to_string(), "[]"), "proof.json"),
        ("too long", proof().claim("x", "y".repeat(9000)).text(), "proof.oversized"),
        ("too deep", proof().claim("x", deep(100)).text(), "proof.json"),
        // (4) to (7): type, algorithm, key, signature.
        ("another type", proof().header("typ", "JWT").text(), "typ.invalid"),
        ("type in capitals", proof().header("typ", "DPOP+JWT").text(), "typ.invalid"),
        ("no type", proof().without("typ").text(), "typ.invalid"),
        ("alg none", proof().header("alg", "none").text(), "alg.forbidden"),
        ("alg none in capitals", proof().header("alg", "NONE").text(), "alg.forbidden"),
        ("MAC", proof().header("alg", "HS256").text(), "alg.forbidden"),
        ("unknown algorithm", proof().header("alg", MARK).text(), "alg.invalid"),
        ("algorithm is a number", proof().header("alg", 256).text(), "alg.invalid"),
        ("algorithm of another key", proof().header("alg", "ES384").text(), "alg.mismatch"),
        ("no key", proof().without("jwk").text(), "key.missing"),
        ("key is a string", proof().header("jwk", MARK).text(), "key.missing"),
        ("symmetric key", proof().header("jwk", json!({"kty": "oct", "k": MARK})).text(), "key.private"),
        ("unknown kind of key", proof().header("jwk", json!({"kty": MARK})).text(), "key.unsupported"),
        ("private key", jwk("d"), "key.private"),
        ("point off the curve", jwk_off_curve(server), "key.invalid"),
        ("key of another", proof().signed_by(&THIEF).text(), "signature.invalid"),
        ("no signature", format!("{header}.{payload}."), "signature.invalid"),
        ("crit", proof().header("crit", json!(["zebra7"])).text(), "crit.unsupported"),
        ("payload not encoded", proof().header("b64", false).text(), "b64.unsupported"),
        // (3), (8), (9): claims, method, target.
        ("no jti", proof().without("jti").text(), "jti.invalid"),
        ("empty jti", proof().claim("jti", "").text(), "jti.invalid"),
        ("long jti", proof().claim("jti", MARK.repeat(100)).text(), "jti.oversized"),
        ("no htm", proof().without("htm").text(), "htm.invalid"),
        ("method GET", proof().claim("htm", "GET").text(), "htm.mismatch"),
        ("method in small letters", proof().claim("htm", "post").text(), "htm.mismatch"),
        ("no htu", proof().without("htu").text(), "htu.invalid"),
        ("no absolute htu", proof().claim("htu", "/token").text(), "htu.invalid"),
        ("htu with user", proof().claim("htu", "https://zebra7@id.example.com/token").text(), "htu.invalid"),
        ("proof for the issuer", proof().claim("htu", "https://id.example.com").text(), "htu.mismatch"),
        ("proof for the keys", proof().claim("htu", "https://id.example.com/jwks").text(), "htu.mismatch"),
        ("proof for a slash more", proof().claim("htu", "https://id.example.com/token/").text(), "htu.mismatch"),
        ("proof for plain http", proof().claim("htu", "http://id.example.com/token").text(), "htu.mismatch"),
        ("proof for a resource", proof().claim("htu", "https://api.example.com/token").text(), "htu.mismatch"),
        // (11): time. Nonces are off here, so that a proof outside the window is refused for good.
        ("no iat", proof().without("iat").text(), "iat.invalid"),
        ("iat is a string", proof().claim("iat", START.to_string()).text(), "iat.invalid"),
        ("smallest iat", proof().claim("iat", i64::MIN).text(), "iat.invalid"),
        ("old", proof().claim("iat", START - 301).text(), "iat.past"),
        ("from the future", proof().claim("iat", START + 61).text(), "iat.future"),
        ("in milliseconds", proof().claim("iat", START * 1000).text(), "iat.invalid"),
        ("expired", proof().claim("exp", START - 61).text(), "exp.past"),
        ("not yet", proof().claim("nbf", START + 61).text(), "nbf.future"),
        ("nonce is a number", proof().claim("nonce", 7).text(), "claim.invalid"),
    ];
    let twice = proof().claims.to_string().replacen('{', r#"{"\u0068tm":"POST","#, 1);
    cases.push(("htm twice", proof().text_of(&proof().header.to_string(), &twice), "proof.json"));
    cases
}

fn deep(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

fn jwk_off_curve(server: &Server) -> String {
    let y = server.proof().header["jwk"]["x"].clone();
    server.proof().jwk("y", y).text()
}

// R-AS-01, R-AS-02, R-ERR-15, R-ERR-18: also for a client that would get a bearer token without any proof.
#[test]
fn a_hostile_proof_is_refused_and_never_passed_over() {
    let server = Setup::new().nonces(NoncePolicy::Off).start();
    for (name, proof, code) in hostile(&server) {
        for client in ["basic", "bound"] {
            let request = Request::token().basic(client, SECRET).field(format!("DPoP: {proof}"));
            let answer = server.token(&request);
            let expected = (400, ("invalid_dpop_proof".to_owned(), code.to_owned()));
            assert_eq!((answer.status, answer.error()), expected, "{name} of {client}");
            assert_eq!(answer.field("dpop-nonce"), None, "{name}");
        }
    }
    assert_eq!(server.token(&Request::of_basic().dpop(&server.proof())).status, 200);
}

// R-ERR-20: what is wrong with the proof comes before what is wrong with the client.
#[test]
fn the_proof_is_judged_before_the_client() {
    let server = Setup::new().start();
    let spoilt = server.proof().claim("htm", "GET");
    for request in [Request::token(), Request::token().basic("basic", MARK), Request::of_basic().body("grant_type=x")] {
        assert_eq!(server.token(&request.dpop(&spoilt)).error().1, "htm.mismatch");
    }
}

// R-PRF-01, R-PRF-02: twice is refused, the same one too, however the name is spelled.
#[test]
fn two_dpop_fields_are_refused() {
    let server = Setup::new().start();
    let (one, other) = (server.proof().text(), server.proof().text());
    for (first, second) in [
        (format!("DPoP: {one}"), format!("DPoP: {one}")),
        (format!("DPoP: {one}"), format!("dpop: {other}")),
        (format!("DPoP: {one}"), "DPOP:".to_owned()),
        ("DPoP:".to_owned(), format!("DPoP: {one}")),
    ] {
        let answer = server.token(&Request::of_basic().field(&first).field(&second));
        assert_eq!((answer.status, answer.error().1.as_str()), (400, "proof.repeated"), "{first} {second}");
    }
}

// R-PRF-03, R-PRF-21, R-PRF-28, R-URI-01, R-URI-02, R-URI-04, R-URI-05: unusual, and right.
#[test]
fn unusual_proofs_pass() {
    let server = Setup::new().start();
    let proof = || server.proof();
    let htu = |htu: &str| format!("DPoP: {}", proof().claim("htu", htu).text());
    let cases = [
        ("small letters", format!("dpop: {}", proof().text())),
        ("capitals", format!("DPOP: {}", proof().text())),
        ("blanks around", format!("DPoP: \t {} \t", proof().text())),
        ("no blank", format!("DPoP:{}", proof().text())),
        ("query", htu("https://id.example.com/token?x=y#z")),
        ("capital host", htu("HTTPS://ID.Example.COM/token")),
        ("port", htu("https://id.example.com:443/token")),
        ("dot segments", htu("https://id.example.com/a/../token")),
        ("encoded letter", htu("https://id.example.com/%74oken")),
        ("fraction", format!("DPoP: {}", proof().claim("iat", START as f64 + 0.5).text())),
        ("oldest", format!("DPoP: {}", proof().claim("iat", START - 300).text())),
        ("most ahead", format!("DPoP: {}", proof().claim("iat", START + 60).text())),
        ("unknown claim", format!("DPoP: {}", proof().claim("zebra7", json!({"a": [1]})).text())),
        ("binding of its own", format!("DPoP: {}", proof().claim("cnf", json!({"jkt": "zebra7"})).text())),
        ("unknown parameter", format!("DPoP: {}", proof().header("zebra7", 1).text())),
        ("named key", format!("DPoP: {}", proof().jwk("kid", MARK).text())),
    ];
    for (name, field) in cases {
        let answer = server.token(&Request::of_basic().field(field));
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert_eq!(answer.access_token().claims["cnf"]["jkt"], HOLDER.thumbprint().to_string(), "{name}");
    }
}

// R-URI-09: what the request says of its host is not what proofs are compared with.
#[test]
fn no_host_makes_a_foreign_proof_match() {
    let server = Setup::new().start();
    let foreign = server.proof().claim("htu", "https://evil.example/token");
    for field in ["Host: evil.example", "Forwarded: host=evil.example;proto=https", "X-Forwarded-Host: evil.example"] {
        let answer = server.token(&Request::of_basic().only_field(field).dpop(&foreign));
        assert_eq!(answer.error().1, "htu.mismatch", "{field}");
        let own = server.proof().claim("htu", ENDPOINT);
        assert_eq!(server.token(&Request::of_basic().only_field(field).dpop(&own)).status, 200, "{field}");
    }
}

// R-PRF-40
#[test]
fn a_proof_gets_one_token() {
    let server = Setup::new().start();
    let request = Request::of_basic().dpop(&server.proof());
    assert_eq!(server.token(&request).status, 200);
    for seconds in [0, 1, 150, 149] {
        server.turn(seconds);
        let answer = server.token(&request);
        assert_eq!((answer.status, answer.error().1.as_str()), (400, "replay.seen"));
    }
    // A moment later it is too old.
    server.turn(1);
    assert_eq!(server.token(&request).error().0, "use_dpop_nonce");
}

// R-SEC-02
#[test]
fn of_many_at_once_one_gets_the_token() {
    let server = Setup::new().start();
    for _ in 0..20 {
        let request = Request::of_basic().dpop(&server.proof());
        let statuses: Vec<u16> = thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(|| server.token(&request).status)).collect();
            all.into_iter().map(|one| one.join().unwrap()).collect()
        });
        assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 1, "{statuses:?}");
        assert_eq!(statuses.iter().filter(|status| **status == 400).count(), 7, "{statuses:?}");
    }
}

// R-AS-12: what is advertised is accepted, and nothing else is.
#[test]
fn the_advertised_algorithms_are_the_accepted_ones() {
    let keys: Vec<&'static SoftwareKey> =
        Alg::ALL.into_iter().map(|alg| &*Box::leak(Box::new(SoftwareKey::generate(alg).unwrap()))).collect();
    for allowed in [AlgSet::ALL, AlgSet::FAPI] {
        let server = Setup::new().algorithms(allowed).start();
        let metadata = server.raw(Request::new("GET /.well-known/oauth-authorization-server").octets()).json();
        let advertised: Vec<&str> = metadata["dpop_signing_alg_values_supported"]
            .as_array()
            .unwrap()
            .iter()
            .filter_map(Value::as_str)
            .collect();
        assert!(!advertised.is_empty() && advertised.iter().all(|alg| *alg != "none" && !alg.starts_with("HS")));
        for key in &keys {
            let answer = server.token(&Request::of_basic().dpop(&Jws::proof(key, server.now())));
            if advertised.contains(&key.alg().name()) {
                assert_eq!(answer.status, 200, "{key:?}: {answer:?}");
                assert_eq!(answer.access_token().claims["cnf"]["jkt"], key.thumbprint().to_string());
            } else {
                assert_eq!(answer.error(), ("invalid_dpop_proof".into(), "alg.unsupported".into()), "{key:?}");
            }
        }
    }
}

/// RFC 6585 section 4: one key may have so many live proofs, and is told to wait.
#[test]
fn a_key_over_its_quota_waits() {
    let server = Setup::new().quota(2).start();
    for _ in 0..2 {
        assert_eq!(server.token(&Request::of_basic().dpop(&server.proof())).status, 200);
    }
    let answer = server.token(&Request::of_basic().dpop(&server.proof()));
    assert_eq!((answer.status, answer.error().1.as_str()), (429, "replay.quota"));
    assert!(answer.field("retry-after").unwrap().parse::<u32>().unwrap() > 0);
    // Others are not held up.
    assert_eq!(server.token(&Request::of_basic().dpop(&Jws::proof(&THIEF, server.now()))).status, 200);
}
