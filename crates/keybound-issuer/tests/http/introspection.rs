//! What the issuer says of its tokens, and tokens that are given back.

use std::time::Duration;

use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::AwsLc;
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::token::introspection::{MissingAudience, SIGNED_ANSWER, SignedAnswer};
use keybound::token::jwt::KeySet;
use keybound_issuer::{DEFAULT_REFRESH_LIFETIME, Keys};
use serde_json::{Value, json};

use crate::people::{Parameters, form, of_web, proof_for, to_local};
use crate::support::{Answer, HOLDER, LOCAL, MARK, Place, Request, SECRET, START, Server, Setup, THIEF};

fn of_app(server: &Server, bound: bool) -> Answer {
    let code = server.code(&Parameters::authorization().set("scope", "openid read"));
    server.redeem(&Parameters::redemption(&code), bound.then_some(&*HOLDER))
}

fn question(token: &str) -> Request {
    form("/introspect", &Parameters::none().set("token", token))
}

fn introspect(server: &Server, token: &str) -> Value {
    let answer = server.token(&of_web(question(token)));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

fn revoke(server: &Server, token: &str) -> u16 {
    server.token(&form("/revoke", &Parameters::of_app().set("token", token))).status
}

const DEAD: fn() -> Value = || json!({ "active": false });

// R-AS-24, R-TOK-07: what the token says of itself, and that it is alive.
#[test]
fn a_live_token_is_described() {
    let server = Setup::new().approving().start();
    for bound in [false, true] {
        let token = of_app(&server, bound).access_token();
        let mut said = introspect(&server, &token.text);
        let members = said.as_object_mut().unwrap();
        assert_eq!(members.remove("active"), Some(json!(true)));
        assert_eq!(members.remove("token_type"), Some(json!(if bound { "DPoP" } else { "Bearer" })));
        assert_eq!(said, token.claims);
        assert_eq!(said["cnf"]["jkt"].is_string(), bound);
    }
}

// R-AS-07, R-AS-24, R-AS-26: to the client it belongs to, which may change its key: no key is named.
#[test]
fn a_client_is_told_of_its_own_live_refresh_token() {
    let server = Setup::new().approving().start();
    let code = server.code(&Parameters::authorization().set("client_id", "web").set("scope", "read"));
    let ask = |parameters: &Parameters| {
        let request = of_web(form("/token", &parameters.clone().without("client_id")));
        server.token(&request.dpop(&proof_for(&server, &HOLDER, "/token"))).refresh_token()
    };
    let first = ask(&Parameters::redemption(&code));
    let live = || {
        let ends = server.now() + DEFAULT_REFRESH_LIFETIME.as_secs();
        json!({
            "active": true, "iss": LOCAL, "client_id": "web", "sub": "alice", "scope": "read", "exp": ends
        })
    };
    assert_eq!(introspect(&server, &first), live());
    let objects = Parameters::none().set("client_id", "objects").set("client_secret", SECRET);
    let of_another = form("/introspect", &objects.set("token", first.as_str()));
    assert_eq!(server.token(&of_another).json(), DEAD());
    server.turn(60);
    let second = ask(&Parameters::refresh(&first));
    assert_eq!(introspect(&server, &first), DEAD(), "it was used");
    assert_eq!(introspect(&server, &second), live());
    server.turn(DEFAULT_REFRESH_LIFETIME.as_secs() + 1);
    assert_eq!(introspect(&server, &second), DEAD(), "expired");
}

// R-AS-25: of the one who asks no proof is wanted, and none is looked at.
#[test]
fn no_proof_is_asked_for() {
    let server = Setup::new().approving().start();
    let token = of_app(&server, true).access_token().text;
    for request in [
        of_web(question(&token)),
        of_web(question(&token)).field(format!("DPoP: {MARK}")),
        of_web(question(&token)).dpop(&proof_for(&server, &THIEF, "/introspect")),
    ] {
        assert_eq!(server.token(&request).json()["active"], true);
    }
}

// R-AS-26
#[test]
fn of_a_dead_token_no_more_is_said() {
    let server = Setup::new().approving().start();
    let tokens = of_app(&server, true);
    let (access, refresh) = (tokens.access_token().text, tokens.refresh_token());
    for text in [MARK, "a.b.c", &access[..access.len() - 2], &refresh] {
        assert_eq!(introspect(&server, text), DEAD(), "{text}");
    }
    assert_eq!(introspect(&server, &access)["active"], true);
    server.turn(300);
    assert_eq!(introspect(&server, &access), DEAD(), "expired");
}

/// RFC 7662 section 2.1: strangers do not ask about what they found.
#[test]
fn clients_that_authenticate_may_ask() {
    let server = Setup::new().approving().start();
    let token = of_app(&server, true).access_token().text;
    for (request, status) in [
        (question(&token), 401),
        (question(&token).basic("web", MARK), 401),
        (form("/introspect", &Parameters::of_app().set("token", token.as_str())), 401),
        (of_web(form("/introspect", &Parameters::none())), 400),
        (of_web(question(&token)), 200),
    ] {
        assert_eq!(server.token(&request).status, status);
    }
}

/// RFC 9701: a JWT of a type of its own, for the one who asked.
#[test]
fn an_answer_may_be_signed() {
    let server = Setup::new().approving().start();
    let token = of_app(&server, true).access_token().text;
    let asked = |kind: &str| server.raw(of_web(question(&token)).field(format!("Accept: {kind}")).octets());
    // A media type is the same in upper and lower case (RFC 9110 section 8.3.1).
    assert_eq!(asked(&SIGNED_ANSWER.to_uppercase()).field("content-type"), Some(SIGNED_ANSWER));
    let answer = asked(SIGNED_ANSWER);
    assert_eq!((answer.status, answer.field("content-type")), (200, Some(SIGNED_ANSWER)));
    let jwks = server.raw(to_local("GET /jwks").octets()).body;
    let keys = KeySet::read_strictly(jwks.as_bytes(), &AwsLc, AlgSet::ALL).unwrap();
    let policy = TokenPolicy::new(LOCAL, ["https://api.example.com"]);
    let signed = SignedAnswer::parse(&answer.body).unwrap();
    let now = UnixTime::from_secs(server.now());
    let read = |client_id, now| signed.read(&keys, client_id, &policy, MissingAudience::Refuse, now);
    let facts = read("web", now).unwrap();
    assert_eq!(facts.subject(), "alice");
    assert!(read("another", now).is_err());
    assert!(read("web", now.plus(Duration::from_secs(600))).is_err(), "it is an answer of now");
}

/// RFC 9110 section 12.5.1: `Accept` is a list, with weights, in one field or several.
#[test]
fn a_signed_answer_is_for_whoever_likes_it_no_less() {
    let server = Setup::new().approving().start();
    let token = of_app(&server, true).access_token().text;
    for (accepted, signed) in [
        ("Accept: application/json;q=0.5, application/token-introspection+jwt", true),
        ("Accept: application/json, Application/Token-Introspection+JWT ; Q=1.0", true),
        ("Accept: application/json;q=0.5\r\nAccept: application/token-introspection+jwt;q=0.8", true),
        ("Accept: text/html, application/token-introspection+jwt, */*;q=0.5", true),
        ("Accept: application/token-introspection+jwt;q=0.3, application/*;q=0.2, */*;q=0.5", true),
        ("Accept: application/token-introspection+jwt, application/json;q=nan", true),
        ("Accept: text/html, application/token-introspection+jwt;q=0.1, */*;q=0.5", false),
        ("Accept: application/json, application/token-introspection+jwt;q=0.9", false),
        ("Accept: application/token-introspection+jwt;q=0", false),
        ("Accept: application/token-introspection+jwt;q=much", false),
        ("Accept: application/*, */*", false),
    ] {
        let answer = server.raw(of_web(question(&token)).field(accepted.to_owned()).octets());
        let expected = if signed { SIGNED_ANSWER } else { "application/json" };
        assert_eq!((answer.status, answer.field("content-type")), (200, Some(expected)), "{accepted}");
    }
}

/// RFC 7009: an access token goes alone, a refresh token takes everything with it.
#[test]
fn what_is_given_back_is_dead() {
    let server = Setup::new().approving().start();
    let tokens = of_app(&server, true);
    let access = tokens.access_token().text;
    assert_eq!(revoke(&server, &access), 200);
    assert_eq!(introspect(&server, &access), DEAD());
    let second = server.redeem(&Parameters::refresh(&tokens.refresh_token()), Some(&HOLDER));
    let (access, refresh) = (second.access_token().text, second.refresh_token());
    assert_eq!(introspect(&server, &access)["active"], true);
    assert_eq!(revoke(&server, &refresh), 200);
    assert_eq!(introspect(&server, &access), DEAD(), "what came of it");
    assert_eq!(server.redeem(&Parameters::refresh(&refresh), Some(&HOLDER)).error().1, "grant.invalid");
    for token in [access.as_str(), &refresh, MARK] {
        assert_eq!(revoke(&server, token), 200, "whether there was one is not told");
    }
}

/// Whoever knows it knows it after a restart as well: what is signed cannot be taken back otherwise.
// R-AS-26
#[test]
fn what_was_given_back_stays_dead_in_the_next_process() {
    let place = Place::that_lasts();
    let keys = Keys::generate().unwrap();
    let start = || {
        let store = place.open(UnixTime::from_secs(START - 1000));
        Setup::new().approving().signing(&keys).keeping(store).start()
    };
    let before = start();
    let tokens = [of_app(&before, true), of_app(&before, true), of_app(&before, true)];
    let access = tokens.each_ref().map(|tokens| tokens.access_token().text);
    assert_eq!(revoke(&before, &access[0]), 200);
    assert_eq!(revoke(&before, &tokens[1].refresh_token()), 200);
    drop(before);
    let after = start();
    for (token, active) in access.iter().zip([false, false, true]) {
        assert_eq!(introspect(&after, token)["active"], active);
    }
    let refreshed = tokens.map(|tokens| after.redeem(&Parameters::refresh(&tokens.refresh_token()), Some(&HOLDER)));
    // An access token goes alone.
    assert_eq!(refreshed.map(|answer| answer.status), [200, 400, 200]);
}

#[test]
fn others_tokens_are_not_given_back() {
    let server = Setup::new().approving().start();
    let tokens = of_app(&server, true);
    for token in [tokens.access_token().text, tokens.refresh_token()] {
        let answer = server.token(&of_web(form("/revoke", &Parameters::none().set("token", token))));
        assert_eq!(answer.status, 200);
    }
    assert_eq!(introspect(&server, &tokens.access_token().text)["active"], true);
    assert_eq!(server.redeem(&Parameters::refresh(&tokens.refresh_token()), Some(&HOLDER)).status, 200);
    let stranger = form("/revoke", &Parameters::none().set("token", MARK)).basic("web", &SECRET[1..]);
    assert_eq!(server.token(&stranger).status, 401);
}

// R-AS-35: what the first use of a code got is seen to be dead.
#[test]
fn tokens_of_a_code_that_was_used_twice_are_dead() {
    let server = Setup::new().approving().start();
    let code = Parameters::redemption(&server.code(&Parameters::authorization()));
    let token = server.redeem(&code, Some(&HOLDER)).access_token().text;
    assert_eq!(introspect(&server, &token)["active"], true);
    assert_eq!(server.redeem(&code, Some(&HOLDER)).error().1, "grant.invalid");
    assert_eq!(introspect(&server, &token), DEAD());
}
