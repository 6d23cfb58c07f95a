//! The claims of the user, and the end of a session.

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::encode_base64url;
use keybound_issuer::users::NewUser;
use keybound_issuer::{Authentication, Client, GrantType};
use sha2::{Digest as _, Sha256};

use crate::browser::{Browser, HASH};
use crate::people::{Parameters, form, proof_for, to_local};
use crate::support::{Answer, HOLDER, Jws, MARK, REDIRECT, Request, Server, Setup, THIEF};

fn token(server: &Server, scope: &str, key: Option<&'static SoftwareKey>) -> String {
    let code = server.code(&Parameters::authorization().set("scope", scope));
    server.redeem(&Parameters::redemption(&code), key).access_token().text
}

fn proof(server: &Server, key: &'static SoftwareKey, token: &str) -> Jws {
    let ath = encode_base64url(&Sha256::digest(token.as_bytes()));
    proof_for(server, key, "/userinfo").claim("htm", "GET").claim("ath", ath)
}

fn ask(scheme: &str, token: &str) -> Request {
    to_local("GET /userinfo").field(format!("Authorization: {scheme} {token}"))
}

fn send(server: &Server, request: &Request) -> Answer {
    server.raw(request.octets())
}

// R-AS-30
#[test]
fn userinfo_keeps_the_rules_of_resources() {
    let server = Setup::new().approving().start();
    let bound = token(&server, "openid read", Some(&HOLDER));
    let answer = send(&server, &ask("DPoP", &bound).dpop(&proof(&server, &HOLDER, &bound)));
    assert_eq!((answer.status, answer.json()), (200, serde_json::json!({ "sub": "alice" })));
    let bearer = token(&server, "openid", None);
    assert_eq!(send(&server, &ask("Bearer", &bearer)).status, 200);
    let narrow = token(&server, "read", Some(&HOLDER));
    let used = proof(&server, &HOLDER, &bound);
    assert_eq!(send(&server, &ask("DPoP", &bound).dpop(&used)).status, 200);
    for (request, status, reason) in [
        (to_local("GET /userinfo"), 401, ""),
        (ask("Bearer", &bound), 401, "token.downgrade"),
        (ask("bearer", &bound).dpop(&proof(&server, &HOLDER, &bound)), 401, "token.downgrade"),
        (ask("DPoP", &bound), 401, "proof.missing"),
        (ask("DPoP", &bound).dpop(&proof(&server, &THIEF, &bound)), 401, "key.mismatch"),
        (ask("DPoP", &bound).dpop(&proof(&server, &HOLDER, &bearer)), 401, "ath.mismatch"),
        (ask("DPoP", &bound).dpop(&proof(&server, &HOLDER, &bound).claim("htm", "POST")), 401, "htm.mismatch"),
        (ask("DPoP", &bound).dpop(&proof_for(&server, &HOLDER, "/token")), 401, "htm.mismatch"),
        (ask("DPoP", &bound).dpop(&used), 401, "replay.seen"),
        (ask("DPoP", &bearer).dpop(&proof(&server, &HOLDER, &bearer)), 401, "token.unbound"),
        (ask("DPoP", &narrow).dpop(&proof(&server, &HOLDER, &narrow)), 401, "token.audience"),
        (ask("Bearer", MARK), 401, "token.malformed"),
    ] {
        let answer = send(&server, &request);
        assert_eq!(answer.status, status, "{reason}: {answer:?}");
        assert!(answer.has("www-authenticate: DPoP "), "{answer:?}");
        assert!(answer.body.contains(reason) && !answer.body.contains(MARK), "{reason}: {answer:?}");
    }
}

// OpenID Connect Core section 5.4
#[test]
fn userinfo_says_what_was_allowed() {
    let server = Setup::new()
        .registering(|config| {
            let client = Client::new("reader", Authentication::None).scope("openid profile email");
            let client = client.grant_type(GrantType::AuthorizationCode).redirect_uri(REDIRECT);
            let hash = HASH.parse().unwrap();
            let alice = NewUser::new("alice").password(hash).full_name("Alice Liddell").email("alice@example.com");
            config.user(alice).client(client)
        })
        .start();
    let mut browser = Browser::of(&server);
    for (scope, said) in [
        ("openid", serde_json::json!({ "sub": "alice" })),
        (
            "openid profile",
            serde_json::json!({ "sub": "alice", "preferred_username": "alice", "name": "Alice Liddell" }),
        ),
        ("openid email", serde_json::json!({ "sub": "alice", "email": "alice@example.com" })),
    ] {
        let code = browser.code(&Parameters::authorization().set("client_id", "reader").set("scope", scope));
        let redemption = Parameters::redemption(&code).set("client_id", "reader");
        let bound = server.redeem(&redemption, Some(&HOLDER)).access_token().text;
        let answer = send(&server, &ask("DPoP", &bound).dpop(&proof(&server, &HOLDER, &bound)));
        assert_eq!((answer.status, answer.json()), (200, said), "{scope}");
    }
}

// R-RS-10, R-RS-11, R-AS-30
#[test]
fn userinfo_takes_no_token_from_a_form() {
    let server = Setup::new().approving().start();
    let bound = token(&server, "openid", Some(&HOLDER));
    let post = |fields: &Parameters| form("/userinfo", fields);
    let proof = || proof(&server, &HOLDER, &bound).claim("htm", "POST");
    let held = Parameters::none().set("access_token", bound.as_str());
    let credentials = format!("Authorization: DPoP {bound}");
    for (request, status, reason) in [
        (post(&held).field(credentials.as_str()).dpop(&proof()), 400, "credentials.repeated"),
        (post(&held).field(format!("Authorization: Bearer {bound}")), 400, "credentials.repeated"),
        (post(&held).dpop(&proof()), 400, "credentials.form"),
    ] {
        let answer = send(&server, &request);
        assert_eq!(answer.status, status, "{answer:?}");
        assert!(answer.body.contains(reason), "{answer:?}");
    }
    let other = post(&Parameters::none().set("a", "b")).field(credentials.as_str());
    assert_eq!(send(&server, &other.dpop(&proof())).status, 200);
}

/// What is revoked is dead here too.
#[test]
fn userinfo_knows_what_was_revoked() {
    let server = Setup::new().approving().start();
    let bound = token(&server, "openid", Some(&HOLDER));
    let revoke = form("/revoke", &Parameters::of_app().set("token", bound.as_str()));
    assert_eq!(server.token(&revoke).status, 200);
    let answer = send(&server, &ask("DPoP", &bound).dpop(&proof(&server, &HOLDER, &bound)));
    assert!(answer.body.contains("token.inactive"), "{answer:?}");
}

#[test]
fn the_end_of_a_session() {
    let server = Setup::new().approving().start();
    let end = |parameters: &Parameters| server.raw(to_local(&format!("GET /logout?{}", parameters.text())).octets());
    let plain = end(&Parameters::none());
    assert_eq!((plain.status, plain.field("location")), (200, None));
    assert!(plain.body.contains("<h1>You are signed out</h1>"), "{plain:?}");
    let back = Parameters::none()
        .set("client_id", "web")
        .set("post_logout_redirect_uri", "https://app.example.com/bye")
        .set("state", "s");
    assert_eq!(end(&back).field("location"), Some("https://app.example.com/bye?state=s"));
    // RP-Initiated Logout section 2: the hint is an ID token of ours, over or not, and the client the one it was made for.
    let id_token = |client: &str| {
        let code = server.code(&Parameters::authorization().set("scope", "openid").set("client_id", client));
        let redemption = Parameters::redemption(&code).set("client_id", client);
        server.redeem(&redemption, Some(&HOLDER)).jwt("id_token").text
    };
    let (own, others) = (id_token("leaver"), id_token("app"));
    server.turn(86_400);
    for (hint, named, goes) in [
        (own.as_str(), "leaver", true),
        (&own, "", true),
        (&others, "leaver", false),
        (&others, "", false),
        ("a.b.c", "leaver", false),
        (&own[..own.len() - 3], "leaver", false),
    ] {
        let answer = end(&back.clone().set("client_id", named).set("id_token_hint", hint));
        assert_eq!((answer.status, answer.field("location").is_some()), if goes { (303, true) } else { (400, false) });
    }
    for parameters in [
        back.clone().without("client_id"),
        back.clone().set("client_id", MARK),
        back.clone().set("client_id", "app"),
        back.set("post_logout_redirect_uri", "https://zebra7.example/"),
    ] {
        let answer = end(&parameters);
        assert_eq!((answer.status, answer.field("location")), (400, None), "{}", parameters.text());
    }
}
