//! The authorization code: from the browser to the token, and one thing wrong at a time.

use std::sync::Arc;
use std::thread;

use keybound::time::UnixTime;
use keybound_issuer::store::{Location, open};

use crate::people::{Parameters, VERIFIER, form, of_web, proof_for, to_local};
use crate::support::{Answer, HOLDER, LOCAL, MARK, REDIRECT, Request, START, Setup, THIEF};

fn asked() -> Parameters {
    Parameters::authorization()
}

fn bound() -> Parameters {
    asked().set("dpop_jkt", HOLDER.thumbprint().to_string())
}

// R-AS-03, R-AS-13, R-AS-29, R-NONCE-21
#[test]
fn a_code_becomes_a_bound_token() {
    let server = Setup::new().approving().start();
    let answer = server.browse(&bound().set("scope", "openid read").set("nonce", "n-0S6_WzA2Mj"));
    assert_eq!((answer.status, answer.field("cache-control")), (303, Some("no-store")));
    assert!(answer.field("location").unwrap().starts_with(REDIRECT));
    assert_eq!(answer.back("state").as_deref(), Some("st&te"));
    assert_eq!(answer.back("iss").as_deref(), Some(LOCAL));
    let code = answer.back("code").unwrap();
    let answer = server.redeem(&Parameters::redemption(&code), Some(&HOLDER));
    let token = answer.access_token();
    assert_eq!(token.claims["sub"], "alice");
    assert_eq!(token.claims["client_id"], "app");
    assert_eq!(token.claims["scope"], "openid read");
    assert_eq!(token.claims["cnf"]["jkt"], HOLDER.thumbprint().to_string());
    let json = answer.json();
    assert_eq!((&json["token_type"], &json["scope"]), (&"DPoP".into(), &"openid read".into()));
    let id_token = answer.jwt("id_token");
    assert_eq!((&id_token.claims["aud"], &id_token.claims["nonce"]), (&"app".into(), &"n-0S6_WzA2Mj".into()));
    assert_eq!(id_token.header["typ"], "JWT");
}

/// What stands in the redemption decides where the request names no key.
#[test]
fn a_code_without_a_key_takes_any() {
    let server = Setup::new().approving().start();
    let redeem = |key| server.redeem(&Parameters::redemption(&server.code(&asked())), key);
    assert_eq!(redeem(None).json()["token_type"], "Bearer");
    assert_eq!(redeem(Some(&THIEF)).access_token().claims["cnf"]["jkt"], THIEF.thumbprint().to_string());
}

/// One thing wrong in each, and after all of them the code is still good (R-AS-22, R-AS-23).
// R-AS-13, R-AS-14, R-AS-27, R-AS-34
#[test]
fn what_is_refused_leaves_the_code() {
    let server = Setup::new().approving().start();
    let code = server.code(&bound());
    let good = Parameters::redemption(&code);
    let other = "A".repeat(43);
    for (parameters, error, reason) in [
        (good.clone().without("code"), "invalid_request", "request.malformed"),
        (good.clone().set("code", MARK), "invalid_grant", "grant.invalid"),
        (good.clone().set("client_id", "bound-app"), "invalid_grant", "grant.invalid"),
        (good.clone().set("client_id", "public"), "unauthorized_client", "client.forbidden"),
        (good.clone().set("client_id", "web"), "invalid_client", "client.authentication"),
        (good.clone().set("redirect_uri", "http://127.0.0.1/back"), "invalid_grant", "grant.invalid"),
        (good.clone().without("redirect_uri"), "invalid_grant", "grant.invalid"),
        (good.clone().set("code_verifier", other.as_str()), "invalid_grant", "pkce.mismatch"),
        (good.clone().set("code_verifier", &VERIFIER[1..]), "invalid_grant", "pkce.mismatch"),
        (good.clone().without("code_verifier"), "invalid_grant", "pkce.mismatch"),
        (good.clone().set("resource", "https://billing.example.com"), "invalid_target", "target.invalid"),
    ] {
        let answer = server.redeem(&parameters, Some(&HOLDER));
        assert_eq!(answer.error(), (error.into(), reason.into()), "{}", parameters.text());
    }
    let proof = || proof_for(&server, &HOLDER, "/token");
    let send = |request: Request| server.token(&request).error().1;
    assert_eq!(send(form("/token", &good)), "proof.required");
    assert_eq!(send(form("/token", &good).dpop(&proof_for(&server, &THIEF, "/token"))), "grant.key");
    assert_eq!(send(form("/token", &good).dpop(&proof().claim("htm", "GET"))), "htm.mismatch");
    assert_eq!(send(form("/token", &good).dpop(&proof().claim("nonce", MARK))), "nonce.unknown");
    let used = proof();
    assert_eq!(server.token(&form("/token", &Parameters::redemption(&server.code(&bound()))).dpop(&used)).status, 200);
    assert_eq!(send(form("/token", &good).dpop(&used)), "replay.seen");
    assert_eq!(server.redeem(&good, Some(&HOLDER)).status, 200);
}

// R-AS-35
#[test]
fn the_second_use_of_a_code_revokes_what_the_first_got() {
    let server = Setup::new().approving().start();
    let code = server.code(&bound());
    let first = server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).refresh_token();
    // A thief who has not the key changes nothing, nor does the same request sent again.
    assert_eq!(server.redeem(&Parameters::redemption(&code), Some(&THIEF)).error().1, "grant.key");
    let refreshed = server.redeem(&Parameters::refresh(&first), Some(&HOLDER)).refresh_token();
    let second = server.redeem(&Parameters::redemption(&code), Some(&HOLDER));
    assert_eq!(second.error(), ("invalid_grant".into(), "grant.invalid".into()));
    let answer = server.redeem(&Parameters::refresh(&refreshed), Some(&HOLDER));
    assert_eq!(answer.error(), ("invalid_grant".into(), "grant.invalid".into()));
}

// R-AS-35: on each store.
#[test]
fn of_fifty_redemptions_one_succeeds() {
    let folder = tempfile::tempdir().unwrap();
    fifty_redeem_one_code(&Location::Memory);
    fifty_redeem_one_code(&Location::Sqlite(folder.path().join("id.db")));
}

// R-AS-35
#[test]
#[ignore = "wants a PostgreSQL server: cargo xtask test starts one and runs this"]
fn of_fifty_redemptions_one_succeeds_in_postgres() {
    let url = std::env::var("KEYBOUND_TEST_POSTGRES").expect("KEYBOUND_TEST_POSTGRES names a database");
    fifty_redeem_one_code(&Location::Postgres(url.into()));
}

/// All at once, each with a proof of its own; what the one got that was first is revoked by those that were not.
fn fifty_redeem_one_code(location: &Location) {
    let opened = UnixTime::from_secs(START - 1000);
    let server = Setup::new().approving().keeping(open(location, opened).unwrap()).start();
    let server = Arc::new(server);
    let code = server.code(&bound());
    let tries: Vec<_> = (0..50)
        .map(|_| {
            let (server, code) = (Arc::clone(&server), code.clone());
            thread::spawn(move || server.redeem(&Parameters::redemption(&code), Some(&HOLDER)))
        })
        .collect();
    let answers: Vec<Answer> = tries.into_iter().map(|one| one.join().unwrap()).collect();
    let (good, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(good.len(), 1, "{location:?}: {good:?}");
    assert!(refused.iter().all(|answer| answer.error().0 == "invalid_grant"), "{location:?}: {refused:?}");
    let refreshed = server.redeem(&Parameters::refresh(&good[0].refresh_token()), Some(&HOLDER));
    assert_eq!(refreshed.error(), ("invalid_grant".into(), "grant.invalid".into()), "{location:?}");
}

/// RFC 6749 section 4.1.2: for a minute.
#[test]
fn codes_expire() {
    let server = Setup::new().approving().start();
    let [early, late] = [server.code(&asked()), server.code(&asked())];
    server.turn(60);
    assert_eq!(server.redeem(&Parameters::redemption(&early), None).status, 200);
    server.turn(1);
    assert_eq!(server.redeem(&Parameters::redemption(&late), None).error().1, "grant.invalid");
}

// R-AS-10: what a client with dpop_bound_access_tokens gets is bound, by this grant too.
#[test]
fn a_bound_client_gets_no_bearer_token() {
    let server = Setup::new().approving().start();
    let code = server.code(&asked().set("client_id", "bound-app"));
    let redemption = Parameters::redemption(&code).set("client_id", "bound-app");
    assert_eq!(server.redeem(&redemption, None).error().1, "proof.required");
    assert_eq!(server.redeem(&redemption, Some(&HOLDER)).json()["token_type"], "DPoP");
}

/// The client is told by way of the browser, at an address of its own.
// R-AS-15, R-AS-36
#[test]
fn what_is_wrong_with_a_request_goes_back_to_the_client() {
    let server = Setup::new().approving().start();
    let bound_app = || asked().set("client_id", "bound-app");
    for (parameters, error, reason) in [
        (asked().without("response_type"), "invalid_request", "request.malformed"),
        (asked().set("response_type", "token"), "unsupported_response_type", "response.unsupported"),
        (asked().set("response_type", "code id_token"), "unsupported_response_type", "response.unsupported"),
        (bound_app().set("response_type", "token"), "unauthorized_client", "client.forbidden"),
        (bound_app().set("response_type", "code id_token token"), "unauthorized_client", "client.forbidden"),
        (asked().set("response_mode", "fragment"), "unsupported_response_type", "response.unsupported"),
        (asked().without("code_challenge"), "invalid_request", "pkce.missing"),
        (asked().set("code_challenge", "short"), "invalid_request", "pkce.missing"),
        (asked().set("code_challenge_method", "plain"), "invalid_request", "pkce.missing"),
        (asked().without("code_challenge_method"), "invalid_request", "pkce.missing"),
        (asked().set("scope", MARK), "invalid_scope", "scope.invalid"),
        (asked().set("resource", "https://zebra7"), "invalid_target", "target.invalid"),
        (asked().set("dpop_jkt", "abc"), "invalid_request", "jkt.malformed"),
        (asked().set("dpop_jkt", "A".repeat(42) + "B"), "invalid_request", "jkt.malformed"),
    ] {
        let answer = server.browse(&parameters);
        assert_eq!(answer.status, 303, "{}", parameters.text());
        assert!(answer.field("location").unwrap().starts_with(REDIRECT));
        let back = [answer.back("error"), answer.back("error_description"), answer.back("state"), answer.back("iss")];
        let expected = [error, reason, "st&te", LOCAL].map(|text| Some(text.to_owned()));
        assert_eq!(back, expected, "{}", parameters.text());
        assert!(!answer.field("location").unwrap().contains(MARK), "{answer:?}");
    }
}

/// Where it is not known whom to tell, the person is told, and sent nowhere.
#[test]
fn nobody_is_sent_to_an_unknown_address() {
    let server = Setup::new().approving().start();
    for parameters in [
        asked().without("client_id"),
        asked().set("client_id", MARK),
        asked().without("redirect_uri"),
        asked().set("redirect_uri", "https://zebra7.example/back"),
        asked().set("redirect_uri", format!("{REDIRECT}/")),
        asked().set("redirect_uri", format!("{REDIRECT}?a=b")),
        asked().set("redirect_uri", REDIRECT.to_uppercase()),
        asked().set("redirect_uri", "http://127.0.0.1@zebra7.example/back"),
        asked().set("redirect_uri", "http://127.0.0.1:80@zebra7.example/back"),
        asked().set("redirect_uri", "http://127.0.0.1:8000/other"),
    ] {
        let answer = server.browse(&parameters);
        assert_eq!((answer.status, answer.field("location")), (400, None), "{}", parameters.text());
        assert_eq!(answer.field("content-type"), Some("text/html; charset=utf-8"));
        assert!(answer.body.contains("redirect.invalid") && !answer.body.contains(MARK), "{answer:?}");
    }
    // RFC 8252 section 7.3: a native application listens where it can.
    let native = "http://127.0.0.1:49152/back";
    let answer = server.browse(&asked().set("redirect_uri", native));
    assert!(answer.field("location").unwrap().starts_with(native));
}

/// A form is as good as a query (OpenID Connect Core section 3.1.2.1); another client's secret does not help with a code.
#[test]
fn a_browser_may_post() {
    let server = Setup::new().approving().start();
    let answer = server.raw(form("/authorize", &asked()).octets());
    let code = answer.back("code").unwrap();
    let redemption = Parameters::redemption(&code).without("client_id");
    assert_eq!(server.token(&of_web(form("/token", &redemption))).error().1, "grant.invalid");
    assert_eq!(server.raw(to_local("OPTIONS /authorize").octets()).status, 405, "no script calls it");
}
