//! Who may have a token, for what, and what the token then says.

use keybound::request::AccessToken;
use keybound::token::jwt::SignedJwt;
use serde_json::{Value, json};

use crate::support::{HOLDER, ISSUER, MARK, Request, SECRET, START, Server, Setup};

/// Every way to authenticate, with a proof and without one.
fn authenticated(server: &Server) -> [(&'static str, Request); 4] {
    [
        ("basic", Request::of_basic()),
        ("post", Request::token().with("client_id=post").with(&format!("client_secret={SECRET}"))),
        ("signer", Request::token().assertion(&server.assertion().text())),
        // RFC 6749 section 2.3.1: form-encoded, then joined.
        ("odd:id & co", Request::token().basic("odd%3Aid+%26+co", "p%25%3A%2B+%26%C3%A9")),
    ]
}

// R-AS-03, R-AS-29
#[test]
fn each_method_of_authentication_gets_a_bound_token() {
    let server = Setup::new().start();
    for (client, request) in authenticated(&server) {
        let answer = server.token(&request.dpop(&server.proof()));
        let token = answer.access_token();
        assert_eq!(answer.json()["token_type"], "DPoP", "{client}");
        assert_eq!(answer.json()["expires_in"], 300);
        assert_eq!(answer.json()["scope"], "read write");
        assert_eq!(token.header["typ"], "at+jwt");
        assert_eq!(token.claims["cnf"], json!({ "jkt": HOLDER.thumbprint().to_string() }));
        let expected = json!({
            "iss": ISSUER, "sub": client, "client_id": client, "aud": "https://api.example.com",
            "iat": START, "exp": START + 300, "scope": "read write",
        });
        for (name, value) in expected.as_object().unwrap() {
            assert_eq!(token.claims[name], *value, "{client}: {name}");
        }
        assert!(token.claims["jti"].as_str().is_some_and(|jti| jti.len() >= 16), "{client}");
    }
}

// R-AS-04
#[test]
fn without_a_proof_type_and_token_agree_on_bearer() {
    let server = Setup::new().start();
    for (client, request) in authenticated(&server) {
        let answer = server.token(&request);
        assert_eq!(answer.json()["token_type"], "Bearer", "{client}");
        assert_eq!(answer.access_token().claims.get("cnf"), None, "{client}");
    }
}

#[test]
fn tokens_verify_with_the_published_keys() {
    let server = Setup::new().start();
    let token = server.token(&Request::of_basic().dpop(&server.proof())).access_token();
    let jwks = server.raw(Request::new("GET /jwks").octets());
    let keys = jwks.json();
    assert_eq!(keys["keys"][0]["kid"], token.header["kid"]);
    let presented = AccessToken::parse(&token.text).unwrap();
    let (facts, _) =
        SignedJwt::parse(presented).and_then(|jwt| jwt.verify(&server.issuer.key_set().current())).unwrap();
    drop(facts);
}

#[test]
fn scope_and_resource_are_as_asked() {
    let server = Setup::new().start();
    let cases: &[(&str, Value, &str)] = &[
        ("scope=write", json!("write"), "https://api.example.com"),
        ("scope=write+read+write", json!("write read"), "https://api.example.com"),
        ("scope=", json!("read write"), "https://api.example.com"),
        ("resource=https%3A%2F%2Fbilling.example.com", json!("read write"), "https://billing.example.com"),
        ("unknown=zebra7", json!("read write"), "https://api.example.com"),
    ];
    for (parameter, scope, audience) in cases {
        let answer = server.token(&Request::of_basic().with(parameter));
        assert_eq!(answer.json()["scope"], *scope, "{parameter}");
        assert_eq!(answer.access_token().claims["scope"], *scope, "{parameter}");
        assert_eq!(answer.access_token().claims["aud"], *audience, "{parameter}");
    }
}

// R-AS-10, R-ERR-17
#[test]
fn a_client_that_must_use_dpop_gets_nothing_without_a_proof() {
    let server = Setup::new().start();
    let bound = Request::token().basic("bound", SECRET);
    let answer = server.token(&bound);
    assert_eq!((answer.status, answer.error()), (400, ("invalid_request".into(), "proof.required".into())));
    assert_eq!(server.token(&bound.dpop(&server.proof())).json()["token_type"], "DPoP");
}

/// One thing wrong in each: who asks, how, and for what. A good proof comes along and makes up for nothing (R-AS-27).
#[test]
fn requests_of_the_wrong_client_or_for_the_wrong_thing_are_refused() {
    let server = Setup::new().start();
    let token = Request::token;
    let authorization = |value: &str| token().field(format!("Authorization: {value}"));
    let (client, request, grant) = ("client.authentication", "request.malformed", "grant.unsupported");
    let cases: Vec<(&str, Request, u16, &str, &str)> = vec![
        ("nobody", token(), 401, "invalid_client", client),
        ("wrong secret", token().basic("basic", MARK), 401, "invalid_client", client),
        ("empty secret", token().basic("basic", ""), 401, "invalid_client", client),
        ("secret and more", token().basic("basic", &format!("{SECRET}x")), 401, "invalid_client", client),
        ("unknown client", token().basic(MARK, SECRET), 401, "invalid_client", client),
        ("client by another method", token().basic("post", SECRET), 401, "invalid_client", client),
        (
            "secret in the form where the field belongs",
            token().with("client_id=basic").with(&format!("client_secret={SECRET}")),
            401,
            "invalid_client",
            client,
        ),
        ("name alone", token().with("client_id=basic"), 401, "invalid_client", client),
        ("not base64", authorization("Basic !zebra7!"), 401, "invalid_client", client),
        ("no colon", authorization("Basic YmFzaWM="), 401, "invalid_client", client),
        ("scheme without credentials", authorization("Basic"), 401, "invalid_client", client),
        ("bad encoding inside", token().basic("basic%zz", SECRET), 401, "invalid_client", client),
        ("bearer", authorization("Bearer zebra7"), 401, "invalid_client", client),
        ("access token scheme", authorization("DPoP zebra7"), 401, "invalid_client", client),
        ("public client", token().with("client_id=public"), 400, "unauthorized_client", "client.forbidden"),
        (
            "two Authorization",
            Request::of_basic().basic("basic", SECRET),
            400,
            "invalid_request",
            "credentials.repeated",
        ),
        ("two methods", Request::of_basic().with(&format!("client_secret={SECRET}")), 400, "invalid_request", request),
        ("another client in the form", Request::of_basic().with("client_id=zebra7"), 400, "invalid_request", request),
        ("assertion without its type", token().with("client_assertion=a.b.c"), 400, "invalid_request", request),
        (
            "assertion of another type",
            token().with("client_assertion=a.b.c&client_assertion_type=zebra7"),
            400,
            "invalid_request",
            request,
        ),
        (
            "type without assertion",
            Request::of_basic().with("client_assertion_type=x"),
            400,
            "invalid_request",
            request,
        ),
        ("no grant", Request::of_basic().body("scope=read"), 400, "invalid_request", request),
        ("empty grant", Request::of_basic().body("grant_type="), 400, "invalid_request", request),
        ("unknown grant", Request::of_basic().body("grant_type=zebra7"), 400, "unsupported_grant_type", grant),
        ("password", Request::of_basic().body("grant_type=password"), 400, "unsupported_grant_type", grant),
        (
            "letter case of the grant",
            Request::of_basic().body("grant_type=Client_Credentials"),
            400,
            "unsupported_grant_type",
            grant,
        ),
        ("client without the grant", token().basic("idle", SECRET), 400, "unauthorized_client", "client.forbidden"),
        ("unknown scope", Request::of_basic().with("scope=read+zebra7"), 400, "invalid_scope", "scope.invalid"),
        ("letter case of the scope", Request::of_basic().with("scope=READ"), 400, "invalid_scope", "scope.invalid"),
        (
            "two spaces in the scope",
            Request::of_basic().with("scope=read++write"),
            400,
            "invalid_scope",
            "scope.invalid",
        ),
        ("quote in the scope", Request::of_basic().with("scope=re%22ad"), 400, "invalid_scope", "scope.invalid"),
        (
            "unknown resource",
            Request::of_basic().with("resource=https://zebra7"),
            400,
            "invalid_target",
            "target.invalid",
        ),
        (
            "two resources",
            Request::of_basic().with("resource=https://api.example.com&resource=https://billing.example.com"),
            400,
            "invalid_target",
            "target.invalid",
        ),
    ];
    for (name, request, status, error, code) in cases {
        for request in [request.clone(), request.dpop(&server.proof())] {
            let answer = server.token(&request);
            assert_eq!((answer.status, answer.error()), (status, (error.into(), code.into())), "{name}");
        }
    }
}

/// RFC 6749 section 5.2, RFC 9110 section 15.5.2: whoever tried Basic is challenged for it, and no 401 is without a challenge.
#[test]
fn who_did_not_authenticate_is_challenged() {
    let server = Setup::new().start();
    let wrong_secret = Request::token().with("client_id=post&client_secret=no");
    for tried in [Request::token().basic("basic", MARK), Request::token(), wrong_secret] {
        let answer = server.token(&tried);
        assert_eq!((answer.status, answer.field("www-authenticate")), (401, Some("Basic realm=\"token endpoint\"")));
    }
    assert_eq!(server.token(&Request::of_basic().body("grant_type=zebra7")).field("www-authenticate"), None);
}

/// R-AS-23: what was refused for another reason has not used up the proof.
#[test]
fn a_proof_is_spent_by_a_token_and_by_nothing_else() {
    let server = Setup::new().start();
    let proof = server.proof();
    let wrong = [
        Request::token().basic("basic", MARK),
        Request::of_basic().with("scope=zebra7"),
        Request::of_basic().body("grant_type=zebra7"),
        Request::of_basic().with("resource=https://zebra7"),
    ];
    for request in wrong {
        assert_ne!(server.token(&request.dpop(&proof)).status, 200);
    }
    assert_eq!(server.token(&Request::of_basic().dpop(&proof)).status, 200);
    assert_eq!(server.token(&Request::of_basic().dpop(&proof)).error().1, "replay.seen");
}
