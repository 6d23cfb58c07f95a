//! Client authentication by `private_key_jwt`: assertions that are good once, and assertions that are not good.

use std::sync::Arc;

use keybound::authorization_server::ASSERTION_TYPE;
use keybound::time::UnixTime;
use keybound::verify::NoncePolicy;
use keybound_issuer::store::{MemoryStore, Store};
use keybound_issuer::{Authentication, Client, GrantType, IssuerConfig};
use serde_json::json;

use crate::people::Parameters;
use crate::support::{
    Answer, ENDPOINT, ISSUER, Jws, MARK, Place, REDIRECT, Request, SIGNER, START, Server, Setup, THIEF, keys_of_signer,
};

fn asked(server: &Server, assertion: &str) -> (u16, String) {
    let answer = server.token(&Request::token().assertion(assertion));
    (answer.status, answer.error().0)
}

/// RFC 7523 section 3: unusual, and right.
#[test]
fn good_assertions_pass() {
    let server = Setup::new().start();
    let assertion = || server.assertion();
    let cases: Vec<(&str, Jws)> = vec![
        ("for the issuer", assertion()),
        ("for the endpoint", assertion().claim("aud", ENDPOINT)),
        ("for one in an array", assertion().claim("aud", json!([ISSUER]))),
        ("without a type", assertion().without("typ")),
        ("of its own type", assertion().header("typ", "client-authentication+jwt")),
        ("with a key's name", assertion().header("kid", SIGNER.thumbprint().to_string())),
        ("a little ahead", assertion().claim("iat", START + 10)),
        ("just expired", assertion().claim("exp", START - 9)),
    ];
    for (name, assertion) in cases {
        let answer = server.token(&Request::token().assertion(&assertion.text()));
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
    }
    // With the name of the client beside it, too.
    let named = Request::token().assertion(&assertion().text()).with("client_id=signer");
    assert_eq!(server.token(&named).status, 200);
}

/// One thing wrong in each. A refused assertion is `invalid_client`, whatever is wrong with it (R-AS-27).
#[test]
fn bad_assertions_are_refused() {
    let server = Setup::new().start();
    let assertion = || server.assertion();
    let good = assertion().text();
    let mut cases: Vec<(&str, String)> = vec![
        ("no JWS", MARK.to_owned()),
        ("no signature", good.rsplit_once('.').unwrap().0.to_owned() + "."),
        ("too long", assertion().claim("x", "y".repeat(20_000)).text()),
    ];
    let spoilt = [
        ("signed by another", assertion().signed_by(&THIEF)),
        ("alg none", assertion().header("alg", "none")),
        ("MAC", assertion().header("alg", "HS256")),
        ("proof's type", assertion().header("typ", "dpop+jwt")),
        ("access token's type", assertion().header("typ", "at+jwt")),
        ("crit", assertion().header("crit", json!(["zebra7"]))),
        ("own key in the header", assertion().signed_by(&THIEF).header("jwk", server.proof().header["jwk"].clone())),
        ("no iss", assertion().without("iss")),
        ("another iss", assertion().claim("iss", MARK)),
        ("no sub", assertion().without("sub")),
        ("unknown client", assertion().claim("iss", MARK).claim("sub", MARK)),
        ("client by another method", assertion().claim("iss", "basic").claim("sub", "basic")),
        ("no aud", assertion().without("aud")),
        ("for another server", assertion().claim("aud", "https://zebra7.example")),
        ("for two servers", assertion().claim("aud", json!([ISSUER, "https://zebra7.example"]))),
        ("for the resource", assertion().claim("aud", "https://api.example.com")),
        ("no jti", assertion().without("jti")),
        ("empty jti", assertion().claim("jti", "")),
        ("long jti", assertion().claim("jti", MARK.repeat(100))),
        ("no exp", assertion().without("exp")),
        ("exp is a string", assertion().claim("exp", (START + 60).to_string())),
        ("expired", assertion().claim("exp", START - 10)),
        ("good for hours", assertion().claim("exp", START + 7200)),
        ("from the future", assertion().claim("iat", START + 11)),
        ("not yet", assertion().claim("nbf", START + 11)),
    ];
    cases.extend(spoilt.into_iter().map(|(name, assertion)| (name, assertion.text())));
    for (name, text) in cases {
        assert_eq!(asked(&server, &text), (401, "invalid_client".to_owned()), "{name}");
    }
    assert_eq!(asked(&server, &good).0, 200);
}

/// RFC 7523 section 3: once. Another of the same client is not touched by that.
#[test]
fn an_assertion_gets_one_token() {
    let server = Setup::new().start();
    let used = server.assertion().text();
    assert_eq!(asked(&server, &used).0, 200);
    for seconds in [0, 30, 30] {
        server.turn(seconds);
        assert_eq!(asked(&server, &used), (401, "invalid_client".to_owned()));
    }
    assert_eq!(asked(&server, &server.assertion().text()).0, 200);
}

/// Where an assertion is good.
const ENDPOINTS: [&str; 5] = ["/token", "/par", "/device_authorization", "/introspect", "/revoke"];

/// A client with the key of `signer` that has something to ask at each of them.
fn with_pusher(config: IssuerConfig) -> IssuerConfig {
    let client = Client::new("pusher", Authentication::PrivateKeyJwt(keys_of_signer()));
    let grants = [GrantType::ClientCredentials, GrantType::AuthorizationCode, GrantType::DeviceCode];
    let client = grants.into_iter().fold(client, Client::grant_type);
    config.client(client.scope("read write").redirect_uri(REDIRECT))
}

fn of_pusher(server: &Server) -> Jws {
    server.assertion().claim("iss", "pusher").claim("sub", "pusher")
}

/// A request of the one who signed, good in every way.
fn to(path: &str, assertion: &Jws) -> Request {
    let parameters = match path {
        "/token" => Parameters::none().set("grant_type", "client_credentials"),
        "/par" => Parameters::authorization().without("client_id"),
        "/device_authorization" => Parameters::none().set("scope", "read"),
        _ => Parameters::none().set("token", MARK),
    };
    let request = Request::new(&format!("POST {path}")).field("Content-Type: application/x-www-form-urlencoded");
    request.body(parameters.text()).assertion(&assertion.text())
}

fn send(server: &Server, request: &Request) -> Answer {
    server.raw(request.octets())
}

/// Whether it was granted; if not, because the client has not authenticated.
fn is_granted(answer: &Answer) -> bool {
    let is_granted = matches!(answer.status, 200 | 201);
    let expected = ("invalid_client".to_owned(), "client.authentication".to_owned());
    assert!(is_granted || (answer.status, answer.error()) == (401, expected), "{answer:?}");
    is_granted
}

/// What one endpoint has taken, no other takes any more.
#[test]
fn an_assertion_is_good_at_one_endpoint() {
    let server = Setup::new().changed(with_pusher).start();
    for (first, second) in ENDPOINTS.into_iter().flat_map(|first| ENDPOINTS.map(|second| (first, second))) {
        let assertion = of_pusher(&server);
        assert!(is_granted(&send(&server, &to(first, &assertion))), "{first}");
        assert!(!is_granted(&send(&server, &to(second, &assertion))), "{first}, then {second}");
    }
}

/// RFC 7519 section 4.1.7: names of one issuer, which an assertion's is its client.
#[test]
fn two_clients_may_choose_one_name() {
    let server = Setup::new().changed(with_pusher).start();
    let assertions = [server.assertion(), of_pusher(&server)].map(|assertion| assertion.claim("jti", "of both"));
    for granted in [true, false] {
        for assertion in &assertions {
            assert_eq!(is_granted(&send(&server, &to("/token", assertion))), granted, "{}", assertion.claims);
        }
    }
}

// R-AS-22, R-AS-23: where a proof may come along, a demand for a nonce or another refusal leaves the assertion.
#[test]
fn a_demand_leaves_the_assertion_at_each_endpoint() {
    for path in ["/token", "/par", "/device_authorization"] {
        let server = Setup::new().nonces(NoncePolicy::Require).changed(with_pusher).start();
        let request = to(path, &of_pusher(&server));
        let proof = || server.proof().claim("htu", format!("{ISSUER}{path}"));
        let demand = send(&server, &request.clone().dpop(&proof()));
        assert_eq!((demand.status, demand.error()), (400, ("use_dpop_nonce".into(), "nonce.missing".into())), "{path}");
        let nonce = demand.field("dpop-nonce").unwrap();
        let proof = || proof().claim("nonce", nonce);
        for (refused, code) in [
            (request.clone().dpop(&proof().claim("nonce", MARK)), "nonce.unknown"),
            (request.clone().dpop(&proof().claim("htm", "GET")), "htm.mismatch"),
            (request.clone().with("resource=zebra7").dpop(&proof()), "target.invalid"),
        ] {
            assert_eq!(send(&server, &refused).error().1, code, "{path}");
        }
        assert!(is_granted(&send(&server, &request.clone().dpop(&proof()))), "{path}");
        assert!(!is_granted(&send(&server, &request.dpop(&proof()))), "{path}");
    }
}

// R-AS-23
#[test]
fn a_question_without_a_token_leaves_the_assertion() {
    let server = Setup::new().start();
    for path in ["/introspect", "/revoke"] {
        let assertion = server.assertion();
        let of_nothing = to(path, &assertion).body("token=").assertion(&assertion.text());
        assert_eq!(send(&server, &of_nothing).error().1, "request.malformed", "{path}");
        assert!(is_granted(&send(&server, &to(path, &assertion))), "{path}");
    }
}

// R-AS-22, R-AS-23: refused for another reason, it is still good.
#[test]
fn a_refused_request_does_not_use_up_the_assertion() {
    let server = Setup::new().start();
    let request = Request::token().assertion(&server.assertion().text());
    let used = server.proof();
    assert_eq!(server.token(&Request::of_basic().dpop(&used)).status, 200);
    for (refused, code) in [
        (request.clone().with("scope=zebra7"), "scope.invalid"),
        (request.clone().with("resource=zebra7"), "target.invalid"),
        (request.clone().field("DPoP: zebra7"), "proof.malformed"),
        (request.clone().dpop(&server.proof().claim("htm", "GET")), "htm.mismatch"),
        (request.clone().dpop(&used), "replay.seen"),
    ] {
        assert_eq!(server.token(&refused).error().1, code);
    }
    assert_eq!(server.token(&request.dpop(&server.proof())).status, 200);
}

/// With a memory that is gone at the end, nobody knows what was used before the start: only what cannot have been passes.
#[test]
fn assertions_from_before_the_start_are_refused() {
    let server = Setup::new().just_started().start();
    let from_before = server.assertion().text();
    assert_eq!(asked(&server, &from_before).0, 401);
    server.turn(10);
    assert_eq!(asked(&server, &from_before).0, 401);
    assert_eq!(asked(&server, &server.assertion().text()).0, 401);
    server.turn(1);
    assert_eq!(asked(&server, &from_before).0, 401);
    assert_eq!(asked(&server, &server.assertion().text()).0, 200);
    // Without `iat`, its end has to tell.
    assert_eq!(asked(&server, &server.assertion().without("iat").text()).0, 401);
    server.turn(299);
    assert_eq!(asked(&server, &server.assertion().without("iat").claim("exp", server.now() + 1).text()).0, 200);
}

// A client that has a good key cannot fill the store for others: it has a quota of its own, here of four in the time for which
// assertions are kept, half of them in each half of it.
fn each_client_has_a_quota_of_assertions(store: Arc<dyn Store>) {
    let server = Setup::new().changed(|config| config.assertions_per_client(4)).keeping(store).start();
    let send = |assertion: &str| {
        // A proof that was good is not the reason.
        server.token(&Request::token().assertion(assertion).dpop(&server.proof()))
    };
    let used = server.assertion().text();
    assert_eq!(send(&used).status, 200);
    // Somebody who sends the same again takes nothing of it.
    for _ in 0..5 {
        assert_eq!(send(&used).error(), ("invalid_client".into(), "client.authentication".into()));
    }
    assert_eq!(send(&server.assertion().text()).status, 200);
    let kept = server.assertion().text();
    for _ in 0..3 {
        let answer = send(&kept);
        assert_eq!((answer.status, answer.error().1), (429, "replay.quota".to_owned()), "{answer:?}");
        assert_eq!(answer.field("retry-after"), Some("320"));
    }
    // Others, and what this one wants without an assertion, go on.
    assert_eq!(server.token(&Request::of_basic().dpop(&server.proof())).status, 200);
    server.turn(320);
    assert_eq!(send(&server.assertion().text()).status, 200);
    assert_eq!(send(&server.assertion().text()).status, 200);
    assert_eq!(send(&server.assertion().text()).status, 429);
}

#[test]
fn each_client_has_a_quota_of_assertions_in_memory() {
    each_client_has_a_quota_of_assertions(Arc::new(MemoryStore::new(UnixTime::from_secs(START - 86_400))));
}

#[test]
fn each_client_has_a_quota_of_assertions_in_a_database() {
    let place = Place::that_lasts();
    each_client_has_a_quota_of_assertions(place.open(UnixTime::from_secs(START - 86_400)));
}

/// A proof is no assertion and an assertion no proof, though one key signs both (RFC 8725 section 3.11).
#[test]
fn kinds_of_jwt_are_not_taken_for_each_other() {
    let server = Setup::new().start();
    let proof = Jws::proof(&SIGNER, server.now());
    let mut both = server.assertion();
    both.header = proof.header.clone();
    for (name, value) in proof.claims.as_object().unwrap() {
        both = both.claim(name, value.clone());
    }
    assert_eq!(asked(&server, &both.text()), (401, "invalid_client".to_owned()));
    let answer = server.token(&Request::of_basic().dpop(&server.assertion()));
    assert_eq!(answer.error(), ("invalid_dpop_proof".into(), "typ.invalid".into()));
    assert!(ASSERTION_TYPE.ends_with("jwt-bearer"));
}
