//! Token exchange: from bearer to bound, and never back.

use keybound::crypto::aws_lc::SoftwareKey;

use crate::people::{Parameters, form, of_web, proof_for};
use crate::support::{Answer, HOLDER, MARK, Request, Server, Setup, THIEF};

const KIND: &str = "urn:ietf:params:oauth:token-type:access_token";

fn exchange(token: &str) -> Parameters {
    Parameters::none()
        .set("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .set("subject_token", token)
        .set("subject_token_type", KIND)
}

fn send(server: &Server, parameters: &Parameters, key: Option<&'static SoftwareKey>) -> Answer {
    as_web(server, form("/token", parameters), key)
}

fn as_web(server: &Server, request: Request, key: Option<&'static SoftwareKey>) -> Answer {
    let request = of_web(request);
    match key {
        Some(key) => server.token(&request.dpop(&proof_for(server, key, "/token"))),
        None => server.token(&request),
    }
}

/// A token of a user for the client `web`.
fn of_user(server: &Server, key: Option<&'static SoftwareKey>) -> Answer {
    let code = server.code(&Parameters::authorization().set("client_id", "web").set("scope", "read write"));
    send(server, &Parameters::redemption(&code).without("client_id"), key)
}

// R-AS-03, R-AS-04: the same rights or fewer, for as long as the first token lives.
#[test]
fn a_bearer_token_becomes_a_bound_one() {
    let server = Setup::new().approving().start();
    let bearer = of_user(&server, None).access_token();
    server.turn(100);
    let answer = send(&server, &exchange(&bearer.text).set("scope", "read"), Some(&HOLDER));
    let bound = answer.access_token();
    assert_eq!((&bound.claims["sub"], &bound.claims["scope"]), (&"alice".into(), &"read".into()));
    assert_eq!(bound.claims["exp"], bearer.claims["exp"]);
    let json = answer.json();
    assert_eq!((&json["token_type"], &json["issued_token_type"]), (&"DPoP".into(), &KIND.into()));
    assert_eq!(json["refresh_token"], serde_json::Value::Null);
}

#[test]
fn never_the_other_way() {
    let server = Setup::new().approving().start();
    let bearer = of_user(&server, None).access_token().text;
    assert_eq!(send(&server, &exchange(&bearer), None).error().1, "proof.required");
    let bound = of_user(&server, Some(&HOLDER)).access_token().text;
    assert_eq!(send(&server, &exchange(&bound), None).error().1, "proof.required");
    let anothers = send(&server, &exchange(&bound), Some(&THIEF));
    assert_eq!(anothers.error(), ("invalid_request".into(), "grant.key".into()), "RFC 8693 section 2.2.2");
    assert_eq!(send(&server, &exchange(&bound), Some(&HOLDER)).status, 200);
}

#[test]
fn one_thing_wrong_in_each() {
    let server = Setup::new().approving().start();
    let token = of_user(&server, None);
    let text = token.access_token().text;
    let others = server.redeem(&Parameters::redemption(&server.code(&Parameters::authorization())), None);
    let others = others.access_token().text;
    let good = exchange(&text);
    for (parameters, reason) in [
        (good.clone().without("subject_token"), "request.malformed"),
        (good.clone().without("subject_token_type"), "request.malformed"),
        (good.clone().set("subject_token_type", MARK), "request.malformed"),
        (good.clone().set("requested_token_type", MARK), "request.malformed"),
        (good.clone().set("actor_token", MARK), "request.malformed"),
        (good.clone().set("actor_token_type", KIND), "request.malformed"),
        (good.clone().set("subject_token", MARK), "grant.invalid"),
        (good.clone().set("subject_token", &text[..text.len() - 2]), "grant.invalid"),
        (good.clone().set("subject_token", others.as_str()), "grant.invalid"),
        (good.clone().set("subject_token", token.refresh_token()), "grant.invalid"),
        (good.clone().set("scope", "read openid"), "scope.invalid"),
        (good.clone().set("resource", "https://billing.example.com"), "target.invalid"),
        (good.clone().set("audience", "https://billing.example.com"), "target.invalid"),
        (good.clone().set("audience", MARK), "target.invalid"),
    ] {
        assert_eq!(send(&server, &parameters, Some(&HOLDER)).error().1, reason, "{}", parameters.text());
    }
    // RFC 8693 section 2.2.2.
    assert_eq!(send(&server, &good.clone().set("audience", MARK), Some(&HOLDER)).error().0, "invalid_target");
    let same = good.clone().set("audience", "https://api.example.com").and("audience", "https://api.example.com");
    assert_eq!(send(&server, &same.clone().and("audience", MARK), Some(&HOLDER)).error().1, "target.invalid");
    assert_eq!(send(&server, &same, Some(&HOLDER)).status, 200, "where the token is for already");
    let public = server.redeem(&good.clone().set("client_id", "app"), Some(&HOLDER));
    assert_eq!(public.error().1, "client.forbidden");
    server.turn(300);
    assert_eq!(send(&server, &good, Some(&HOLDER)).error().1, "grant.invalid", "it has expired");
}

fn is_active(server: &Server, token: &str) -> bool {
    let answer = as_web(server, form("/introspect", &Parameters::none().set("token", token)), None);
    answer.json()["active"] == true
}

fn give_back(server: &Server, token: &str) {
    assert_eq!(as_web(server, form("/revoke", &Parameters::none().set("token", token)), None).status, 200);
}

/// By itself: what it was exchanged for before is another token, of the same grant.
#[test]
fn nothing_comes_of_a_token_that_was_given_back() {
    let server = Setup::new().approving().start();
    let bearer = of_user(&server, None).access_token().text;
    let bound = send(&server, &exchange(&bearer), Some(&HOLDER)).access_token().text;
    give_back(&server, &bearer);
    let answer = send(&server, &exchange(&bearer), Some(&HOLDER));
    assert_eq!(answer.error(), ("invalid_request".into(), "grant.invalid".into()), "RFC 8693 section 2.2.2");
    assert!(is_active(&server, &bound));
    give_back(&server, &bound);
    assert!(!is_active(&server, &bound));
    assert_eq!(send(&server, &exchange(&bound), Some(&HOLDER)).error().1, "grant.invalid");
}

// R-AS-08, R-AS-35: with the refresh token of its grant, or when that, or the code, is used twice; and what was exchanged twice.
#[test]
fn what_was_exchanged_dies_with_its_grant() {
    let server = Setup::new().approving().start();
    for how in ["revocation", "second refresh", "second redemption"] {
        let code = server.code(&Parameters::authorization().set("client_id", "web").set("scope", "read write"));
        let redemption = Parameters::redemption(&code).without("client_id");
        let first = send(&server, &redemption, None);
        let bearer = first.access_token().text;
        let bound = send(&server, &exchange(&bearer), Some(&HOLDER)).access_token().text;
        let again = send(&server, &exchange(&bound), Some(&HOLDER)).access_token().text;
        let refresh = Parameters::refresh(&first.refresh_token()).without("client_id");
        let tokens = [&bearer, &bound, &again];
        assert!(tokens.iter().all(|token| is_active(&server, token)), "{how}");
        match how {
            "revocation" => give_back(&server, &first.refresh_token()),
            "second refresh" => {
                assert_eq!(send(&server, &refresh, None).status, 200);
                assert_eq!(send(&server, &refresh, None).error().1, "grant.invalid");
            }
            _ => assert_eq!(send(&server, &redemption, None).error().1, "grant.invalid"),
        }
        assert!(tokens.iter().all(|token| !is_active(&server, token)), "{how}");
        for token in tokens {
            assert_eq!(send(&server, &exchange(token), Some(&HOLDER)).error().1, "grant.invalid", "{how}");
        }
    }
}

/// As with a refresh token: nothing more is issued for whoever is disabled or gone.
#[test]
fn nothing_is_exchanged_for_a_user_who_is_disabled() {
    let server = Setup::new().of_people().start();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let now = keybound::time::UnixTime::from_secs(server.now());
    let hash = crate::browser::HASH.parse().unwrap();
    let carol = keybound_issuer::users::NewUser::new("carol").password(hash);
    runtime.block_on(server.issuer.users().create(carol, now)).unwrap();
    let mut browser = crate::browser::Browser::of(&server);
    let page = browser.authorize(&Parameters::authorization().set("client_id", "web").set("scope", "read"));
    let page = browser.sign_in(&page, "carol");
    let code = browser.press(&page, "allow", &[]).back("code").expect("a code");
    let bearer = send(&server, &Parameters::redemption(&code).without("client_id"), None).access_token().text;
    assert_eq!(send(&server, &exchange(&bearer), Some(&HOLDER)).status, 200);
    runtime.block_on(server.issuer.users().disable("carol", now)).unwrap();
    assert_eq!(send(&server, &exchange(&bearer), Some(&HOLDER)).error().1, "grant.invalid");
    runtime.block_on(server.issuer.users().enable("carol", now)).unwrap();
    assert_eq!(send(&server, &exchange(&bearer), Some(&HOLDER)).status, 200);
    runtime.block_on(server.issuer.users().delete("carol", now)).unwrap();
    assert_eq!(send(&server, &exchange(&bearer), Some(&HOLDER)).error().1, "grant.invalid");
}
