//! Refresh tokens: whose key they want, how often they are good, and what dies with one that was stolen.

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::verify::NoncePolicy;

use crate::people::{Parameters, form, of_web, proof_for};
use crate::support::{Answer, HOLDER, MARK, Server, Setup, THIEF};

/// The first tokens of a public client.
fn of_app(server: &Server, key: Option<&'static SoftwareKey>) -> Answer {
    let code = server.code(&Parameters::authorization());
    server.redeem(&Parameters::redemption(&code), key)
}

/// The first tokens of a client that authenticates.
fn of_web_client(server: &Server, key: Option<&'static SoftwareKey>) -> Answer {
    let code = server.code(&Parameters::authorization().set("client_id", "web"));
    as_web(server, &Parameters::redemption(&code), key)
}

fn as_web(server: &Server, parameters: &Parameters, key: Option<&'static SoftwareKey>) -> Answer {
    let request = of_web(form("/token", &parameters.clone().without("client_id")));
    match key {
        Some(key) => server.token(&request.dpop(&proof_for(server, key, "/token"))),
        None => server.token(&request),
    }
}

// R-AS-05, R-AS-06
#[test]
fn that_of_a_public_client_is_bound_to_its_key() {
    let server = Setup::new().approving().start();
    let first = of_app(&server, Some(&HOLDER)).refresh_token();
    assert_eq!(server.redeem(&Parameters::refresh(&first), None).error().1, "proof.required");
    let stolen = server.redeem(&Parameters::refresh(&first), Some(&THIEF));
    assert_eq!(stolen.error(), ("invalid_grant".into(), "grant.key".into()));
    let second = server.redeem(&Parameters::refresh(&first), Some(&HOLDER));
    assert_eq!(second.access_token().claims["cnf"]["jkt"], HOLDER.thumbprint().to_string());
    let third = Parameters::refresh(&second.refresh_token());
    assert_eq!(server.redeem(&third, Some(&THIEF)).error().1, "grant.key", "and so is the next one");
    assert_eq!(server.redeem(&third, Some(&HOLDER)).status, 200);
}

// R-AS-07, R-AS-09
#[test]
fn a_client_that_authenticates_may_change_its_key() {
    let server = Setup::new().approving().start();
    let first = of_web_client(&server, Some(&HOLDER)).refresh_token();
    let answer = as_web(&server, &Parameters::refresh(&first), None);
    assert_eq!(answer.error(), ("invalid_request".into(), "proof.required".into()), "but not go without");
    let answer = as_web(&server, &Parameters::refresh(&first), Some(&THIEF));
    assert_eq!(answer.access_token().claims["cnf"]["jkt"], THIEF.thumbprint().to_string());
    // The key does not authenticate it (R-AS-27).
    let refresh = Parameters::refresh(&answer.refresh_token()).set("client_id", "web");
    assert_eq!(server.redeem(&refresh, Some(&THIEF)).error().0, "invalid_client");
}

/// What began without a key may get one; from then on it has one.
// R-AS-09
#[test]
fn bearer_becomes_bound_and_never_the_other_way() {
    let server = Setup::new().approving().start();
    let first = of_web_client(&server, None).refresh_token();
    let second = as_web(&server, &Parameters::refresh(&first), None);
    assert_eq!(second.json()["token_type"], "Bearer");
    let third = as_web(&server, &Parameters::refresh(&second.refresh_token()), Some(&HOLDER));
    assert_eq!(third.json()["token_type"], "DPoP");
    let fourth = as_web(&server, &Parameters::refresh(&third.refresh_token()), None);
    assert_eq!(fourth.error().1, "proof.required");
}

// R-AS-08
#[test]
fn a_second_use_revokes_the_family() {
    let server = Setup::new().approving().start();
    for key in [None, Some(&*HOLDER)] {
        let first = of_app(&server, key).refresh_token();
        let stranger = of_app(&server, key).refresh_token();
        let second = server.redeem(&Parameters::refresh(&first), key).refresh_token();
        let again = server.redeem(&Parameters::refresh(&first), key);
        assert_eq!(again.error(), ("invalid_grant".into(), "grant.invalid".into()));
        let newest = server.redeem(&Parameters::refresh(&second), key);
        assert_eq!(newest.error(), ("invalid_grant".into(), "grant.invalid".into()), "the family is dead");
        assert_eq!(server.redeem(&Parameters::refresh(&stranger), key).status, 200, "others live");
    }
}

// R-AS-22, R-AS-23
#[test]
fn what_is_refused_leaves_the_token() {
    let server = Setup::new().approving().nonces(NoncePolicy::Require).start();
    let code = server.code(&Parameters::authorization());
    let send = |parameters: &Parameters, nonce: Option<&str>| {
        let proof = proof_for(&server, &HOLDER, "/token");
        let proof = match nonce {
            Some(nonce) => proof.claim("nonce", nonce),
            None => proof,
        };
        server.token(&form("/token", parameters).dpop(&proof))
    };
    let demand = send(&Parameters::redemption(&code), None);
    assert_eq!(demand.error(), ("use_dpop_nonce".into(), "nonce.missing".into()));
    let nonce = demand.field("dpop-nonce").unwrap().to_owned();
    let first = send(&Parameters::redemption(&code), Some(&nonce)).refresh_token();
    let good = Parameters::refresh(&first);
    for (parameters, reason) in [
        (good.clone().set("scope", MARK), "scope.invalid"),
        (good.clone().set("resource", "https://billing.example.com"), "target.invalid"),
        (good.clone().set("client_id", "bound-app"), "grant.invalid"),
        (good.clone().set("refresh_token", MARK), "grant.invalid"),
        (good.clone().without("refresh_token"), "request.malformed"),
    ] {
        assert_eq!(send(&parameters, Some(&nonce)).error().1, reason, "{}", parameters.text());
    }
    assert_eq!(send(&good, None).error().1, "nonce.missing");
    assert_eq!(send(&good, Some(MARK)).error().1, "nonce.unknown");
    assert_eq!(send(&good, Some(&nonce)).status, 200);
}

/// RFC 6749 section 6: less may be asked for, once; the next token may have all of it again.
#[test]
fn scope_may_shrink_and_not_grow() {
    let server = Setup::new().approving().start();
    let code = server.code(&Parameters::authorization().set("scope", "read write"));
    let first = server.redeem(&Parameters::redemption(&code), None).refresh_token();
    let less = server.redeem(&Parameters::refresh(&first).set("scope", "read"), None);
    assert_eq!(less.json()["scope"], "read");
    let more = Parameters::refresh(&less.refresh_token());
    assert_eq!(server.redeem(&more.clone().set("scope", "read openid"), None).error().1, "scope.invalid");
    assert_eq!(server.redeem(&more, None).json()["scope"], "read write");
}

#[test]
fn unused_tokens_expire() {
    let server = Setup::new().approving().start();
    let first = of_app(&server, None).refresh_token();
    server.turn(30 * 86_400);
    let second = server.redeem(&Parameters::refresh(&first), None).refresh_token();
    server.turn(30 * 86_400 + 1);
    assert_eq!(server.redeem(&Parameters::refresh(&second), None).error().1, "grant.invalid");
}

// R-AS-32: nothing without a proof; what a client authenticates for is not rotated; a code is good for a minute.
#[test]
fn by_the_profile_of_fapi() {
    let server = Setup::new().registering(|config| config.auto_approve("alice").fapi()).start();
    let code = |client: &str| server.code(&Parameters::authorization().set("client_id", client));
    let redemption = Parameters::redemption(&code("web"));
    assert_eq!(as_web(&server, &redemption, None).error().1, "proof.required");
    let first = Parameters::refresh(&as_web(&server, &redemption, Some(&HOLDER)).refresh_token());
    for key in [&*HOLDER, &*THIEF] {
        let answer = as_web(&server, &first, Some(key));
        assert_eq!((answer.status, &answer.json()["refresh_token"]), (200, &serde_json::Value::Null));
    }
    let public = server.redeem(&Parameters::redemption(&code("app")), Some(&HOLDER)).refresh_token();
    server.redeem(&Parameters::refresh(&public), Some(&HOLDER)).refresh_token();
    let late = code("app");
    server.turn(61);
    assert_eq!(server.redeem(&Parameters::redemption(&late), Some(&HOLDER)).error().1, "grant.invalid");
}
