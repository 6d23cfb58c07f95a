use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::challenge::{DPOP, ErrorCode};
use crate::crypto::{Alg, Signer, SigningFailed};
use crate::jwk::PublicJwk;
use crate::jws::decode_base64url;
use crate::nonce::{Nonce, Role};
use crate::request::TargetUri;
use crate::time::UnixTime;

const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
const TOKEN: &str = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU";
const ATH: &str = "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo";

/// Signs with the same octets always.
#[derive(Debug)]
struct Stamp {
    key: PublicJwk,
    signature: Vec<u8>,
}

impl Signer for Stamp {
    fn alg(&self) -> Alg {
        Alg::Ed25519
    }

    fn public_jwk(&self) -> &PublicJwk {
        &self.key
    }

    fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        Ok(self.signature.clone())
    }
}

fn stamp() -> Stamp {
    let jwk = br#"{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
    Stamp {
        key: PublicJwk::from_json(jwk).unwrap(),
        signature: vec![7; 64],
    }
}

/// The parts a try is made of, but for its method and target.
struct Pocket {
    key: Stamp,
    prover: Prover,
    servers: ServerMemory,
    token: Credentials,
}

impl Pocket {
    fn new() -> Self {
        let key = stamp();
        let (prover, token) = (Prover::of(&key).unwrap(), Credentials::new(TOKEN).unwrap());
        Self {
            key,
            prover,
            servers: ServerMemory::new(),
            token,
        }
    }

    fn send<'r, T>(&self, attempt: Attempt<'r, T>, jti: u8) -> (Sent<'r, T>, Value) {
        let sent = attempt
            .prove(&self.prover, &self.servers, [jti; 16], NOW)
            .sign(&self.key)
            .unwrap();
        let mut headers = HeaderMap::new();
        sent.apply(&mut headers);
        let (_, payload) = parts(headers[&DPOP].to_str().unwrap());
        (sent, payload)
    }
}

fn parts(proof: &str) -> (String, Value) {
    let segments: Vec<&str> = proof.split('.').collect();
    assert_eq!(segments.len(), 3);
    let text = |segment| String::from_utf8(decode_base64url(segment).unwrap()).unwrap();
    (text(segments[0]), serde_json::from_str(&text(segments[1])).unwrap())
}

fn target(uri: &str) -> TargetUri {
    TargetUri::parse(uri).unwrap()
}

fn to(target: &TargetUri) -> Permitted<'_> {
    permitted(target, PlainHttp::Never).unwrap()
}

fn fields(fields: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in fields {
        headers.append(*name, HeaderValue::from_static(value));
    }
    headers
}

// R-CLI-02: these members, in this spelling, and of the key no kid.
#[test]
fn the_header_says_no_more_than_it_must() {
    let prover = Prover::of(&stamp()).unwrap();
    let target = target("https://server.example.com/token");
    let proofs = [1, 2].map(|jti| {
        let claims = ProofClaims::new(&Method::POST, &target, [jti; 16], NOW);
        prover.prepare(&claims).sign(&stamp()).unwrap().as_str().to_owned()
    });
    let (header, _) = parts(&proofs[0]);
    assert_eq!(
        header,
        r#"{"typ":"dpop+jwt","alg":"Ed25519","jwk":{"crv":"Ed25519","kty":"OKP","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}}"#,
    );
    assert_eq!(proofs[0].split('.').next(), proofs[1].split('.').next());
    assert_ne!(proofs[0], proofs[1]);
}

// R-CLI-03, R-CLI-05, R-CLI-06, R-CLI-27
#[test]
fn the_payload_says_what_belongs_to_the_request() {
    let pocket = Pocket::new();
    let nonce = Nonce::parse("n'{}-1").unwrap();
    let resource = target("https://API.example.com:443/a?page=2#top");
    let odd = Method::from_bytes(b"pAtCh!#$%&'*+-.^_`|~").unwrap();
    let jti = "BwcHBwcHBwcHBwcHBwcHBw";
    let htu = "https://api.example.com/a";
    for (method, ath, nonce, expected) in [
        (
            &Method::GET,
            false,
            None,
            json!({"jti": jti, "htm": "GET", "htu": htu, "iat": 1_700_000_000}),
        ),
        (
            &odd,
            false,
            None,
            json!({"jti": jti, "htm": "pAtCh!#$%&'*+-.^_`|~", "htu": htu, "iat": 1_700_000_000}),
        ),
        (
            &Method::GET,
            true,
            None,
            json!({"jti": jti, "htm": "GET", "htu": htu, "iat": 1_700_000_000, "ath": ATH}),
        ),
        (
            &Method::GET,
            true,
            Some(&nonce),
            json!({"jti": jti, "htm": "GET", "htu": htu, "iat": 1_700_000_000, "ath": ATH, "nonce": "n'{}-1"}),
        ),
    ] {
        let mut claims = ProofClaims::new(method, &resource, [7; 16], NOW);
        if ath {
            claims = claims.credentials(&pocket.token);
        }
        if let Some(nonce) = nonce {
            claims = claims.nonce(nonce);
        }
        let proof = pocket.prover.prepare(&claims).sign(&pocket.key).unwrap();
        assert_eq!(parts(proof.as_str()).1, expected);
    }
}

// R-CLI-04: 128 bits, all of them in the claim.
#[test]
fn the_jti_is_all_of_the_random_bits() {
    let pocket = Pocket::new();
    let target = target("https://server.example.com/token");
    let jti = core::array::from_fn(|position| u8::try_from(position).unwrap());
    let claims = ProofClaims::new(&Method::POST, &target, jti, NOW);
    let (_, payload) = parts(pocket.prover.prepare(&claims).sign(&pocket.key).unwrap().as_str());
    assert_eq!(decode_base64url(payload["jti"].as_str().unwrap()).unwrap(), jti);
}

#[test]
fn a_signature_that_cannot_be_right_is_refused() {
    let pocket = Pocket::new();
    let target = target("https://server.example.com/token");
    let unsigned = || {
        pocket
            .prover
            .prepare(&ProofClaims::new(&Method::POST, &target, [1; 16], NOW))
    };
    for length in [0, 63, 65, 70] {
        assert!(unsigned().with_signature(&vec![7; length]).is_err(), "{length}");
    }
    assert!(
        unsigned()
            .sign(&Stamp {
                signature: vec![7; 72],
                ..stamp()
            })
            .is_err()
    );
    let other = br#"{"kty":"OKP","crv":"Ed25519","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE"}"#;
    assert!(
        unsigned()
            .sign(&Stamp {
                key: PublicJwk::from_json(other).unwrap(),
                ..stamp()
            })
            .is_err()
    );
    let misfit = Prover::new(Alg::Es256, pocket.prover.public_jwk()).unwrap_err();
    assert_eq!(
        misfit.to_string(),
        "ES256 signs with P256 keys, and this key is Ed25519"
    );
    let both = [
        unsigned().sign(&pocket.key).unwrap(),
        unsigned().with_signature(&[7; 64]).unwrap(),
    ];
    assert_eq!(both[0].as_str(), both[1].as_str());
}

// R-CLI-10: the token is in Authorization alone; at the token endpoint there is none.
#[test]
fn the_fields_of_each_role() {
    let pocket = Pocket::new();
    let (resource, issuer) = (
        target("https://api.example.com/a"),
        target("https://as.example.com/token"),
    );
    let (sent, payload) = pocket.send(Attempt::at_resource(&Method::GET, to(&resource), &pocket.token), 1);
    let mut headers = fields(&[("authorization", "Bearer x"), ("dpop", "x"), ("dpop", "y")]);
    sent.apply(&mut headers);
    assert_eq!(
        headers.get_all(AUTHORIZATION).iter().collect::<Vec<_>>(),
        [&format!("DPoP {TOKEN}")]
    );
    assert!(headers[AUTHORIZATION].is_sensitive() && headers[&DPOP].is_sensitive());
    assert_eq!(headers.get_all(&DPOP).iter().count(), 1);
    assert_eq!(payload["ath"], ATH);

    let (sent, payload) = pocket.send(Attempt::at_authorization_server(&Method::POST, to(&issuer)), 1);
    let mut headers = HeaderMap::new();
    sent.apply(&mut headers);
    assert!(!headers.contains_key(AUTHORIZATION));
    assert_eq!(payload.get("ath"), None); // R-CLI-27
}

#[test]
fn tokens_that_could_break_the_field_are_refused() {
    for token in ["", "=", "a b", "a\r\nX: y", "a,b", "a\"", "a=b", "ä", "a\0"] {
        assert_eq!(Credentials::new(token).err(), Some(MalformedToken), "{token:?}");
    }
    assert!(Credentials::new("aA0-._~+/==").is_ok());
}

const NONCE_401: &[(&str, &str)] = &[
    ("www-authenticate", "DPoP error=\"use_dpop_nonce\""),
    ("dpop-nonce", "n-1"),
];

#[test]
fn what_a_resource_answers() {
    use ErrorCode::UseDpopNonce;
    use NoRetry::{BodyGone, NonceMalformed, NonceMissing, NonceSeveral};
    use Replay::{Impossible, Possible};
    use Verdict::{Challenged, Done, ProofRefused, RetryOnce, ScopeInsufficient, TokenRefused};
    let demand = NONCE_401[0];
    for (row, status, headers, replay, expected) in [
        ("R-NONCE-19", 401, NONCE_401, Possible, RetryOnce(())),
        ("R-CLI-17", 401, NONCE_401, Impossible, Challenged(BodyGone)),
        ("R-NONCE-20", 401, &[demand][..], Possible, Challenged(NonceMissing)),
        (
            "R-NONCE-20",
            401,
            &[demand, ("dpop-nonce", "a"), ("dpop-nonce", "a")],
            Possible,
            Challenged(NonceSeveral),
        ),
        (
            "R-NONCE-20",
            401,
            &[demand, ("dpop-nonce", "a b")],
            Possible,
            Challenged(NonceMalformed),
        ),
        ("R-ERR-22", 200, NONCE_401, Possible, Done),
        ("R-ERR-22", 400, NONCE_401, Possible, Done),
        ("R-ERR-22", 403, NONCE_401, Possible, Done),
        (
            "R-CLI-15",
            401,
            &[
                ("www-authenticate", "Bearer x=\"DPoP error=use_dpop_nonce\""),
                NONCE_401[1],
            ],
            Possible,
            Done,
        ),
        (
            "R-CLI-14",
            401,
            &[("www-authenticate", "Bearer error=use_dpop_nonce"), NONCE_401[1]],
            Possible,
            Done,
        ),
        (
            "R-CLI-16",
            401,
            &[("www-authenticate", "Bearer, DPoP error=invalid_token")],
            Possible,
            TokenRefused,
        ),
        (
            "R-CLI-16",
            401,
            &[("www-authenticate", "DPoP error=invalid_dpop_proof")],
            Possible,
            ProofRefused,
        ),
        (
            "R-CLI-16",
            403,
            &[("www-authenticate", "DPoP error=insufficient_scope")],
            Possible,
            ScopeInsufficient,
        ),
        (
            "unknown",
            401,
            &[("www-authenticate", "DPoP error=sorry")],
            Possible,
            Done,
        ),
        ("plain", 401, &[("www-authenticate", "DPoP algs=ES256")], Possible, Done),
        ("success", 200, &[("dpop-nonce", "n-2")], Possible, Done),
    ] {
        let pocket = Pocket::new();
        let target = target("https://api.example.com/a");
        let (sent, _) = pocket.send(Attempt::at_resource(&Method::GET, to(&target), &pocket.token), 1);
        let headers = fields(headers);
        // A body means nothing at a resource.
        let answer = Answer::new(StatusCode::from_u16(status).unwrap(), &headers).token_error(Some(UseDpopNonce));
        let verdict = sent.learn(&pocket.servers, answer, replay, NOW);
        assert_eq!(kind(&verdict), kind(&expected), "{row} {status} {headers:?}");
    }
}

#[test]
fn what_an_authorization_server_answers() {
    use Verdict::{Challenged, Done, ProofRefused, RetryOnce};
    let nonce = &[("dpop-nonce", "n-1")][..];
    for (row, status, headers, body, expected) in [
        ("R-NONCE-01", 400, nonce, r#"{"error":"use_dpop_nonce"}"#, RetryOnce(())),
        (
            "R-NONCE-20",
            400,
            &[],
            r#"{"error":"use_dpop_nonce"}"#,
            Challenged(NoRetry::NonceMissing),
        ),
        ("R-ERR-22", 401, nonce, r#"{"error":"use_dpop_nonce"}"#, Done),
        ("R-ERR-22", 400, NONCE_401, "{}", Done),
        (
            "R-CLI-16",
            400,
            nonce,
            r#"{"error":"invalid_dpop_proof"}"#,
            ProofRefused,
        ),
        ("6749 5.2", 400, nonce, r#"{"error":"invalid_grant"}"#, Done),
        ("no JSON", 400, nonce, r#"{"error":"use_dpop_nonce""#, Done),
        ("doubled", 400, nonce, r#"{"error":"x","error":"use_dpop_nonce"}"#, Done),
        ("other type", 400, nonce, r#"{"error":["use_dpop_nonce"]}"#, Done),
        ("success", 200, nonce, r#"{"access_token":"x"}"#, Done),
    ] {
        let pocket = Pocket::new();
        let target = target("https://as.example.com/token");
        let (sent, _) = pocket.send(Attempt::at_authorization_server(&Method::POST, to(&target)), 1);
        let headers = fields(headers);
        let answer = Answer::new(StatusCode::from_u16(status).unwrap(), &headers).token_body(body.as_bytes());
        let verdict = sent.learn(&pocket.servers, answer, Replay::Possible, NOW);
        assert_eq!(kind(&verdict), kind(&expected), "{row} {status} {body}");
    }
}

fn kind<R>(verdict: &Verdict<R>) -> String {
    match verdict {
        Verdict::RetryOnce(_) => "RetryOnce".to_owned(),
        Verdict::Challenged(why) => format!("Challenged({why:?})"),
        Verdict::Done => "Done".to_owned(),
        Verdict::TokenRefused => "TokenRefused".to_owned(),
        Verdict::ProofRefused => "ProofRefused".to_owned(),
        Verdict::ScopeInsufficient => "ScopeInsufficient".to_owned(),
    }
}

// R-NONCE-16, R-NONCE-17, R-NONCE-19, R-CLI-01: a new proof with the nonce, one retry and no more, and all is remembered.
#[test]
fn one_retry_with_a_new_proof_and_no_second() {
    let pocket = Pocket::new();
    let target = target("https://api.example.com/a");
    let first = || Attempt::at_resource(&Method::GET, to(&target), &pocket.token);
    let demand = fields(NONCE_401);
    let (sent, before) = pocket.send(first(), 1);
    assert_eq!(before.get("nonce"), None);
    let verdict = sent.learn(
        &pocket.servers,
        Answer::new(StatusCode::UNAUTHORIZED, &demand),
        Replay::Possible,
        NOW,
    );
    let Verdict::RetryOnce(retry) = verdict else {
        panic!("{verdict:?}")
    };
    let (sent, after) = pocket.send(retry, 2);
    assert_eq!(after["nonce"], "n-1");
    assert_ne!(before["jti"], after["jti"]);
    assert_eq!(after["ath"], ATH);

    let again = fields(&[NONCE_401[0], ("dpop-nonce", "n-2")]);
    let verdict = sent.learn(&pocket.servers, Answer::new(StatusCode::UNAUTHORIZED, &again), NOW);
    assert_eq!(kind(&verdict), "Challenged(AlreadyRetried)");
    let (sent, next) = pocket.send(first(), 3);
    assert_eq!(next["nonce"], "n-2");

    let success = fields(&[("dpop-nonce", "n-3")]);
    let _ = sent.learn(
        &pocket.servers,
        Answer::new(StatusCode::OK, &success),
        Replay::Possible,
        NOW,
    );
    assert_eq!(pocket.send(first(), 4).1["nonce"], "n-3");
    // R-NONCE-18: not at the token endpoint of the same host.
    assert_eq!(
        pocket
            .send(Attempt::at_authorization_server(&Method::POST, to(&target)), 5)
            .1
            .get("nonce"),
        None
    );
}

#[test]
fn the_retry_has_the_nonce_even_if_the_memory_forgot() {
    let pocket = Pocket::new();
    let target = target("https://api.example.com/a");
    let demand = fields(NONCE_401);
    let (sent, _) = pocket.send(Attempt::at_resource(&Method::GET, to(&target), &pocket.token), 1);
    let answer = Answer::new(StatusCode::UNAUTHORIZED, &demand);
    let Verdict::RetryOnce(retry) = sent.learn(&ServerMemory::new(), answer, Replay::Possible, NOW) else {
        panic!()
    };
    assert_eq!(pocket.send(retry, 2).1["nonce"], "n-1");
}

// R-CLI-19
#[test]
fn the_proof_has_the_time_of_the_server() {
    let pocket = Pocket::new();
    let target = target("https://api.example.com/a");
    let later = fields(&[("date", "Tue, 14 Nov 2023 23:13:20 GMT")]); // an hour after NOW
    pocket
        .servers
        .learn("https://api.example.com", Role::ResourceServer, &later, NOW);
    let (_, payload) = pocket.send(Attempt::at_resource(&Method::GET, to(&target), &pocket.token), 1);
    assert_eq!(payload["iat"], 1_700_003_600);
}

// R-CLI-20
#[test]
fn nothing_shows_a_token_or_a_proof() {
    let pocket = Pocket::new();
    let target = target("https://api.example.com/a");
    let attempt = Attempt::at_resource(&Method::GET, to(&target), &pocket.token);
    let mut shown = format!("{attempt:?} {:?}", pocket.token);
    let proving = attempt.prove(&pocket.prover, &pocket.servers, [1; 16], NOW);
    shown += &format!("{proving:?}");
    shown += &format!("{:?}", proving.sign(&pocket.key).unwrap());
    let claims = ProofClaims::new(&Method::GET, &target, [1; 16], NOW);
    shown += &format!("{:?}", pocket.prover.prepare(&claims).sign(&pocket.key).unwrap());
    assert!(!shown.contains("Kz~8") && !shown.contains("eyJ"), "{shown}");
}

proptest! {
    // The payload is written by hand: a JSON reader must find in it what went in.
    #[test]
    fn any_payload_reads_back(
        method in "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,20}",
        path in "[!-~]{0,40}",
        nonce in "[!#-\\[\\]-~]{1,60}",
        iat in 0_u64..=253_402_300_799,
    ) {
        let pocket = Pocket::new();
        let (Ok(target), Ok(method)) =
            (TargetUri::parse(&format!("https://a.example/{path}")), Method::from_bytes(method.as_bytes()))
        else {
            return Ok(());
        };
        let nonce = Nonce::parse(&nonce).unwrap();
        let iat = UnixTime::from_secs(iat);
        let claims = ProofClaims::new(&method, &target, [7; 16], iat).credentials(&pocket.token).nonce(&nonce);
        let (_, payload) = parts(pocket.prover.prepare(&claims).sign(&pocket.key).unwrap().as_str());
        let expected = json!({
            "jti": "BwcHBwcHBwcHBwcHBwcHBw", "htm": method.as_str(), "htu": target.as_str(), "iat": iat.as_secs(),
            "ath": ATH, "nonce": nonce.as_str(),
        });
        prop_assert_eq!(payload, expected);
    }
}
