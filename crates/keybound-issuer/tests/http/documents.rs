//! Metadata and keys, and what browsers are allowed.

use serde_json::{Value, json};

use crate::people::{Parameters, form, proof_for, to_local};
use crate::support::{Connection, HOLDER, ISSUER, MARK, REDIRECT, Request, Setup};

const METADATA: &str = "/.well-known/oauth-authorization-server";

// R-MD-01
#[test]
fn metadata_is_what_is_true() {
    let server = Setup::new().start();
    let answer = server.raw(Request::new(&format!("GET {METADATA}")).octets());
    assert_eq!(answer.status, 200);
    assert_eq!(answer.field("content-type"), Some("application/json"));
    assert_eq!(answer.field("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
    let metadata = answer.json();
    let expected = json!({
        "issuer": ISSUER,
        "token_endpoint": format!("{ISSUER}/token"),
        "jwks_uri": format!("{ISSUER}/jwks"),
        "authorization_endpoint": format!("{ISSUER}/authorize"),
        "pushed_authorization_request_endpoint": format!("{ISSUER}/par"),
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "authorization_response_iss_parameter_supported": true,
        "introspection_endpoint": format!("{ISSUER}/introspect"),
        "revocation_endpoint": format!("{ISSUER}/revoke"),
        "userinfo_endpoint": format!("{ISSUER}/userinfo"),
        "end_session_endpoint": format!("{ISSUER}/logout"),
        "device_authorization_endpoint": format!("{ISSUER}/device_authorization"),
        "registration_endpoint": null,
        "grant_types_supported": [
            "authorization_code",
            "client_credentials",
            "refresh_token",
            "urn:ietf:params:oauth:grant-type:device_code",
            "urn:ietf:params:oauth:grant-type:token-exchange",
        ],
        "token_endpoint_auth_methods_supported":
            ["client_secret_basic", "client_secret_post", "private_key_jwt", "none"],
        "scopes_supported": ["openid", "read", "write"],
    });
    for (name, value) in expected.as_object().unwrap() {
        assert_eq!(metadata[name], *value, "{name}");
    }
    // RFC 8414 section 2: by which algorithms, wherever clients authenticate by what they signed.
    for (endpoint, public) in [("token", true), ("introspection", false), ("revocation", true)] {
        let methods = metadata[format!("{endpoint}_endpoint_auth_methods_supported")].as_array().expect(endpoint);
        assert!(methods.contains(&json!("private_key_jwt")), "{endpoint}");
        assert_eq!(methods.contains(&json!("none")), public, "{endpoint}");
        let algs = &metadata[format!("{endpoint}_endpoint_auth_signing_alg_values_supported")];
        assert!(algs.as_array().is_some_and(|algs| algs.contains(&json!("ES256"))), "{endpoint}");
    }
}

// R-MD-01: between host and path, and nowhere else.
#[test]
fn metadata_of_an_issuer_with_a_path() {
    let server = Setup::new().issuer("https://id.example.com/tenant").start();
    let found = server.raw(Request::new(&format!("GET {METADATA}/tenant")).octets());
    assert_eq!(found.json()["token_endpoint"], "https://id.example.com/tenant/token");
    for path in [METADATA, "/tenant/.well-known/oauth-authorization-server", "/tenant", "/tenant/", "/token", "/"] {
        assert_eq!(server.raw(Request::new(&format!("GET {path}")).octets()).status, 404, "{path}");
    }
    let proof = server.proof().claim("htu", "https://id.example.com/tenant/token");
    let mut octets = Request::of_basic().dpop(&proof).octets();
    octets.splice(..b"POST /token".len(), *b"POST /tenant/token");
    assert_eq!(server.raw(octets).status, 200);
}

/// OpenID Connect Discovery section 4: the same document behind the path of the issuer.
#[test]
fn the_metadata_has_a_second_name() {
    for (issuer, path) in [(ISSUER, ""), ("https://id.example.com/tenant", "/tenant")] {
        let server = Setup::new().issuer(issuer).start();
        let openid = server.raw(Request::new(&format!("GET {path}/.well-known/openid-configuration")).octets());
        let oauth = server.raw(Request::new(&format!("GET {METADATA}{path}")).octets());
        assert_eq!((openid.status, openid.json()), (200, oauth.json()));
    }
}

/// RFC 7517: public halves, named, for signatures.
#[test]
fn the_keys_are_public() {
    let server = Setup::new().start();
    let answer = server.raw(Request::new("GET /jwks").octets());
    assert_eq!((answer.status, answer.field("content-type")), (200, Some("application/json")));
    let keys = answer.json();
    let keys = keys["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 1);
    for key in keys {
        let mut members: Vec<&String> = key.as_object().unwrap().keys().collect();
        members.sort();
        assert_eq!(members, ["alg", "crv", "kid", "kty", "use", "x", "y"]);
        assert_eq!((&key["use"], &key["alg"]), (&json!("sig"), &json!("ES256")));
    }
}

#[test]
fn head_has_the_fields_and_no_body() {
    let server = Setup::new().start();
    for path in [METADATA, "/jwks"] {
        let length = server.raw(Request::new(&format!("GET {path}")).octets()).body.len().to_string();
        let mut connection = Connection::to(server.address);
        connection.send(Request::new(&format!("HEAD {path}")).field("Connection: close").octets());
        let head = connection.answer_to("HEAD").unwrap();
        assert_eq!((head.status, head.field("content-length")), (200, Some(length.as_str())), "{path}");
        assert!(connection.is_over(), "{path}: a body came");
    }
}

/// RFC 9110 section 15.5.6
#[test]
fn other_methods_are_told_which_there_are() {
    let server = Setup::new().start();
    for (path, methods, allowed) in [
        ("/token", &["GET", "HEAD", "PUT", "DELETE", "PATCH", "post", "BREW"][..], "POST, OPTIONS"),
        (METADATA, &["POST", "PUT", "DELETE"], "GET, HEAD, OPTIONS"),
        ("/jwks", &["POST", "PUT", "DELETE"], "GET, HEAD, OPTIONS"),
    ] {
        for method in methods {
            let request = Request::of_basic().dpop(&server.proof());
            let request = Request::new(&format!("{method} {path}")).octets().into_iter().chain(request.octets());
            let mut connection = Connection::to(server.address);
            connection.send(request.collect::<Vec<u8>>());
            let answer = connection.answer_to(method).unwrap();
            assert_eq!((answer.status, answer.field("allow")), (405, Some(allowed)), "{method} {path}");
            // The request behind it on the same connection is a request of its own.
            assert_eq!(connection.answer().unwrap().status, 200, "{method} {path}");
        }
    }
}

// R-AS-31
#[test]
fn preflight_allows_the_proof() {
    let server = Setup::new().registering(crate::registration::open).start();
    for (path, methods) in [
        ("/token", "POST, OPTIONS"),
        ("/par", "POST, OPTIONS"),
        ("/device_authorization", "POST, OPTIONS"),
        ("/introspect", "POST, OPTIONS"),
        ("/revoke", "POST, OPTIONS"),
        ("/register", "POST, OPTIONS"),
        ("/register/zebra7", "GET, PUT, DELETE, OPTIONS"),
        ("/userinfo", "GET, POST, OPTIONS"),
        (METADATA, "GET, HEAD, OPTIONS"),
        ("/jwks", "GET, HEAD, OPTIONS"),
    ] {
        let preflight = to_local(&format!("OPTIONS {path}"))
            .field("Origin: https://app.example")
            .field("Access-Control-Request-Method: POST")
            .field("Access-Control-Request-Headers: authorization,content-type,dpop");
        let answer = server.raw(preflight.octets());
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
        assert_eq!(answer.field("access-control-allow-methods"), Some(methods), "{path}");
        // With any origin allowed, credentials of the browser must not be.
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        let allowed = answer.field("access-control-allow-headers").unwrap().to_ascii_lowercase();
        for name in ["authorization", "content-type", "dpop"] {
            assert!(allowed.split(", ").any(|one| one == name), "{path}: {allowed}");
        }
    }
}

// R-AS-31: what is granted, what is refused, and what is no request at all. Of the token endpoint each test sees it.
#[test]
fn scripts_read_the_nonce_and_the_challenge() {
    let server = Setup::new().registering(crate::registration::open).start();
    let code = server.code(&Parameters::authorization().set("scope", "openid"));
    let token = server.redeem(&Parameters::redemption(&code), None).access_token().text;
    let with_proof = |path: &str, request: Request| request.dpop(&proof_for(&server, &HOLDER, path));
    let device = Parameters::of_app().set("scope", "read");
    let metadata = to_local("POST /register").field("Content-Type: application/json");
    for (request, status, has_nonce) in [
        (with_proof("/par", form("/par", &Parameters::authorization())), 201, true),
        (with_proof("/token", form("/par", &Parameters::authorization())), 400, false),
        (form("/par", &Parameters::authorization().set("client_id", MARK)), 401, false),
        (to_local("GET /par"), 405, false),
        (with_proof("/device_authorization", form("/device_authorization", &device)), 200, true),
        (form("/device_authorization", &device.set("scope", MARK)), 400, false),
        (to_local("GET /userinfo").field(format!("Authorization: Bearer {token}")), 200, false),
        (to_local("GET /userinfo"), 401, false),
        (to_local("DELETE /userinfo"), 405, false),
        (metadata.clone().body(json!({ "redirect_uris": [REDIRECT] }).to_string()), 201, false),
        (metadata.body("zebra7"), 400, false),
        (to_local("GET /register/zebra7"), 401, false),
        (form("/introspect", &Parameters::none()), 401, false),
        (form("/revoke", &Parameters::none()), 401, false),
    ] {
        let answer = server.raw(request.octets());
        assert_eq!((answer.status, answer.field("dpop-nonce").is_some()), (status, has_nonce), "{answer:?}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"), "{answer:?}");
        assert_eq!(answer.field("access-control-allow-credentials"), None, "{answer:?}");
        let exposed = answer.field("access-control-expose-headers");
        assert_eq!(exposed, Some("DPoP-Nonce, WWW-Authenticate"), "{answer:?}");
    }
    // Pages are for people.
    for path in ["/authorize", "/device", "/sign-in/zebra7", "/account", "/logout"] {
        let answer = server.raw(to_local(&format!("GET {path}")).field("Origin: https://app.example").octets());
        assert!(!answer.has("access-control-"), "{path}: {answer:?}");
    }
}

#[test]
fn there_is_nothing_elsewhere() {
    let server = Setup::new().start();
    for path in ["/", "/tokens", "/token/", "//token", "/TOKEN", "/authorized", "/.well-known/openid"] {
        let answer = server.raw(Request::new(&format!("GET {path}")).octets());
        assert_eq!((answer.status, answer.json()), (404, json!({"error": "not_found"})), "{path}");
        assert_eq!(answer.field("cache-control"), Some("no-store"), "{path}");
        assert_eq!(answer.json().get("error_description"), None::<&Value>);
    }
}
