//! Metadata and keys, and what browsers are allowed.

use serde_json::{Value, json};

use crate::support::{Connection, ISSUER, Request, Setup};

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
    let server = Setup::new().start();
    for path in ["/token", "/par", "/introspect", "/revoke", "/userinfo", METADATA, "/jwks"] {
        let preflight = Request::new(&format!("OPTIONS {path}"))
            .field("Origin: https://app.example")
            .field("Access-Control-Request-Method: POST")
            .field("Access-Control-Request-Headers: authorization,content-type,dpop");
        let answer = server.raw(preflight.octets());
        assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{path}");
        assert_eq!(answer.field("access-control-allow-origin"), Some("*"));
        // With any origin allowed, credentials of the browser must not be.
        assert_eq!(answer.field("access-control-allow-credentials"), None);
        let allowed = answer.field("access-control-allow-headers").unwrap().to_ascii_lowercase();
        for name in ["authorization", "content-type", "dpop"] {
            assert!(allowed.split(", ").any(|one| one == name), "{path}: {allowed}");
        }
    }
    let methods = server.raw(Request::new("OPTIONS /token").octets());
    assert_eq!(methods.field("access-control-allow-methods"), Some("POST, OPTIONS"));
}

#[test]
fn there_is_nothing_elsewhere() {
    let server = Setup::new().start();
    for path in ["/", "/tokens", "/token/", "//token", "/TOKEN", "/authorized", "/.well-known/openid"] {
        let answer = server.raw(Request::new(&format!("GET {path}")).octets());
        assert_eq!((answer.status, answer.json()), (404, json!({"error": "not_found"})), "{path}");
        assert_eq!(answer.json().get("error_description"), None::<&Value>);
    }
}
