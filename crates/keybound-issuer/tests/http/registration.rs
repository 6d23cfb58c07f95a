//! Clients that register themselves, and look after their registration.

use keybound::crypto::Signer as _;
use keybound_issuer::{IssuerConfig, Registration, Secret};
use serde_json::{Value, json};

use crate::people::{Parameters, form, to_local};
use crate::support::{Answer, HOLDER, LITTLE_ROOM, LOCAL, MARK, REDIRECT, Request, SECRET, SIGNER, Server, Setup};

pub(crate) fn open(config: IssuerConfig) -> IssuerConfig {
    config.auto_approve("alice").registration(Registration::Open, "openid read write")
}

fn with_token(config: IssuerConfig) -> IssuerConfig {
    config.registration(Registration::WithToken(Secret::new(SECRET.to_owned()).unwrap()), "read")
}

fn json_to(line: &str, body: &Value) -> Request {
    to_local(line).field("Content-Type: application/json").body(body.to_string())
}

fn register(server: &Server, metadata: &Value) -> Answer {
    server.raw(json_to("POST /register", metadata).octets())
}

/// Name and secret of a client that registered itself.
pub(crate) fn registered(server: &Server, metadata: &Value) -> (String, String) {
    let answer = register(server, metadata);
    assert_eq!(answer.status, 201, "{answer:?}");
    let client = answer.json();
    let text = |name: &str| client[name].as_str().unwrap().to_owned();
    (text("client_id"), text("client_secret"))
}

pub(crate) fn good() -> Value {
    json!({ "redirect_uris": [REDIRECT], "client_name": "Example" })
}

fn with(name: &str, value: Value) -> Value {
    let mut metadata = good();
    metadata[name] = value;
    metadata
}

// R-AS-11: the default is false, and what is in force is returned.
#[test]
fn a_client_registers_and_gets_tokens() {
    let server = Setup::new().registering(open).start();
    for (metadata, bound) in [(good(), false), (with("dpop_bound_access_tokens", json!(true)), true)] {
        let mut metadata = metadata;
        metadata["grant_types"] = json!(["authorization_code", "refresh_token"]);
        let answer = register(&server, &metadata);
        assert_eq!((answer.status, answer.field("cache-control")), (201, Some("no-store")));
        let client = answer.json();
        assert_eq!(client["dpop_bound_access_tokens"], bound);
        assert_eq!(
            (&client["token_endpoint_auth_method"], &client["client_name"]),
            (&"client_secret_basic".into(), &"Example".into())
        );
        assert_eq!((&client["scope"], &client["response_types"]), (&"openid read write".into(), &json!(["code"])));
        let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
        // Nobody approves for a client that is not in the configuration, loopback or not.
        // Nor is anybody sent, unasked, to an address that a stranger registered (RFC 9700 section 4.11.2).
        for (name, value) in [("prompt", "none"), ("scope", "admin"), ("response_type", "token"), ("state", "s")] {
            let answer = server.browse(&Parameters::authorization().set("client_id", id).set(name, value));
            assert_eq!(answer.field("location"), None, "{answer:?}");
            assert!(answer.status >= 400 && answer.body.contains("<h1>This cannot go on</h1>"), "{answer:?}");
        }
        let redemption = Parameters::redemption(MARK).without("client_id");
        let answer = server.token(&form("/token", &redemption).basic(id, secret));
        assert_eq!(answer.error().1, "grant.invalid", "it is known at the token endpoint");
        let answer = server.token(&form("/token", &redemption).basic(id, MARK));
        assert_eq!(answer.error().1, "client.authentication");
    }
}

/// One thing wrong in each.
// R-AS-11
#[test]
fn unfit_metadata_is_refused() {
    let server = Setup::new().registering(open).start();
    for (metadata, error, reason) in [
        (json!([]), "invalid_client_metadata", "registration.metadata"),
        (json!(MARK), "invalid_client_metadata", "registration.metadata"),
        (json!({}), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!([])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(REDIRECT)), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["http://zebra7.example/"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["https://zebra7.example/#x"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["javascript:alert(1)"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["JavaScript://a.b/"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["data:text/html,x"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["file:///etc/a.b"])), "invalid_redirect_uri", "registration.redirect"),
        (with("redirect_uris", json!(["https://*/back"])), "invalid_redirect_uri", "registration.redirect"),
        (with("post_logout_redirect_uris", json!(["vbscript:x"])), "invalid_redirect_uri", "registration.redirect"),
        (with("dpop_bound_access_tokens", json!("true")), "invalid_client_metadata", "registration.metadata"),
        (with("dpop_bound_access_tokens", json!(1)), "invalid_client_metadata", "registration.metadata"),
        (with("dpop_bound_access_tokens", json!(null)), "invalid_client_metadata", "registration.metadata"),
        (with("grant_types", json!(["implicit"])), "invalid_client_metadata", "registration.metadata"),
        (with("grant_types", json!(["client_credentials"])), "invalid_client_metadata", "registration.metadata"),
        (with("response_types", json!(["token"])), "invalid_client_metadata", "registration.metadata"),
        (with("token_endpoint_auth_method", json!(MARK)), "invalid_client_metadata", "registration.metadata"),
        (
            with("token_endpoint_auth_method", json!("private_key_jwt")),
            "invalid_client_metadata",
            "registration.metadata",
        ),
        (with("jwks", json!({"keys": []})), "invalid_client_metadata", "registration.metadata"),
        (with("scope", json!("admin")), "invalid_client_metadata", "registration.metadata"),
        (with("client_name", json!(7)), "invalid_client_metadata", "registration.metadata"),
    ] {
        let answer = register(&server, &metadata);
        assert_eq!((answer.status, answer.error()), (400, (error.into(), reason.into())), "{metadata}");
        assert!(!answer.body.contains(MARK));
    }
    // Of two members of a name the later would win, or the earlier.
    let twice = format!(r#"{{"redirect_uris":["{REDIRECT}"],"client_name":"a","\u0063lient_name":"b"}}"#);
    let twice = to_local("POST /register").field("Content-Type: application/json").body(twice);
    assert_eq!(server.raw(twice.octets()).error().1, "registration.metadata");
    let form = to_local("POST /register").field("Content-Type: application/x-www-form-urlencoded");
    assert_eq!(server.raw(form.octets()).status, 400);
}

#[test]
fn who_may_register_is_a_setting() {
    let off = Setup::new().approving().start();
    assert_eq!(register(&off, &good()).status, 404);
    let server = Setup::new().registering(with_token).start();
    let machine = json!({ "grant_types": ["client_credentials"] });
    for (request, status) in [
        (json_to("POST /register", &machine), 401),
        (json_to("POST /register", &machine).field("Authorization: Bearer zebra7"), 401),
        (json_to("POST /register", &machine).field(format!("Authorization: Basic {SECRET}")), 401),
        (json_to("POST /register", &machine).field(format!("Authorization: Bearer {SECRET}")), 201),
    ] {
        let answer = server.raw(request.octets());
        assert_eq!(answer.status, status, "{answer:?}");
        let challenge =
            (status == 401).then_some("Bearer error=\"invalid_token\", error_description=\"registration.token\"");
        assert_eq!(answer.field("www-authenticate"), challenge);
        if status == 201 {
            let client = answer.json();
            let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
            let request = form("/token", &Parameters::none().set("grant_type", "client_credentials"));
            let proof = crate::people::proof_for(&server, &HOLDER, "/token");
            let token = server.token(&request.basic(id, secret).dpop(&proof));
            assert_eq!(token.access_token().claims["client_id"], id);
        }
    }
}

/// What is read back is what holds: after the registration, and after each change of it.
// R-AS-10, R-AS-11
#[test]
fn what_was_registered_holds_at_the_token_endpoint() {
    let server = Setup::new().registering(with_token).start();
    let said = [None, Some(false), Some(true)];
    for (first, then) in said.into_iter().flat_map(|first| said.map(|then| (first, then))) {
        let machine = |bound: Option<bool>| {
            let mut metadata = json!({ "grant_types": ["client_credentials"] });
            if let Some(bound) = bound {
                metadata["dpop_bound_access_tokens"] = json!(bound);
            }
            metadata
        };
        let request = json_to("POST /register", &machine(first)).field(format!("Authorization: Bearer {SECRET}"));
        let client = server.raw(request.octets()).json();
        let text = |name: &str| client[name].as_str().unwrap();
        let holds = |bound: Option<bool>| {
            let bound = bound.unwrap_or(false);
            let request = form("/token", &Parameters::none().set("grant_type", "client_credentials"));
            let request = request.basic(text("client_id"), text("client_secret"));
            let answer = server.token(&request);
            match bound {
                true => assert_eq!(answer.error(), ("invalid_request".into(), "proof.required".into())),
                false => assert_eq!(answer.json()["token_type"], "Bearer"),
            }
            let proof = crate::people::proof_for(&server, &HOLDER, "/token");
            assert_eq!(server.token(&request.dpop(&proof)).json()["token_type"], "DPoP");
        };
        holds(first);
        let mut changed = machine(then);
        changed["client_id"] = client["client_id"].clone();
        let path = text("registration_client_uri").strip_prefix(LOCAL).unwrap();
        let bearer = format!("Authorization: Bearer {}", text("registration_access_token"));
        let answer = server.raw(json_to(&format!("PUT {path}"), &changed).field(bearer).octets());
        assert_eq!((answer.status, &answer.json()["dpop_bound_access_tokens"]), (200, &json!(then == Some(true))));
        holds(then);
    }
}

/// RFC 7662 section 2.1: whoever registered a minute ago is no resource server.
#[test]
fn who_registered_itself_learns_nothing_of_others_tokens() {
    let server = Setup::new().registering(open).start();
    let code = server.code(&Parameters::authorization());
    let token = server.redeem(&Parameters::redemption(&code), Some(&HOLDER)).access_token().text;
    let client = register(&server, &good()).json();
    let (id, secret) = (client["client_id"].as_str().unwrap(), client["client_secret"].as_str().unwrap());
    let question = || form("/introspect", &Parameters::none().set("token", token.as_str()));
    assert_eq!(server.token(&question().basic(id, secret)).json(), json!({ "active": false }));
    assert_eq!(server.token(&question().basic("web", SECRET)).json()["active"], true);
}

/// RFC 7592
#[test]
fn a_client_looks_after_its_registration() {
    let server = Setup::new().registering(open).start();
    let client = register(&server, &good()).json();
    let path = client["registration_client_uri"].as_str().unwrap().strip_prefix(LOCAL).unwrap().to_owned();
    let token = client["registration_access_token"].as_str().unwrap().to_owned();
    let authorized = |request: Request| request.field(format!("Authorization: Bearer {token}"));
    let read = server.raw(authorized(to_local(&format!("GET {path}"))).octets());
    assert_eq!(read.status, 200);
    assert_eq!((&read.json()["client_id"], &read.json()["client_secret"]), (&client["client_id"], &Value::Null));
    assert_eq!(read.json()["registration_access_token"], token, "RFC 7592 section 3");
    for request in [
        to_local(&format!("GET {path}")),
        to_local(&format!("GET {path}")).field("Authorization: Bearer zebra7"),
        authorized(to_local("GET /register/zebra7")),
        json_to(&format!("PUT {path}"), &good()),
        to_local(&format!("DELETE {path}")),
    ] {
        assert_eq!(server.raw(request.octets()).error().1, "registration.token");
    }
    let mut changed = with("dpop_bound_access_tokens", json!(true));
    let put = |body: &Value| server.raw(authorized(json_to(&format!("PUT {path}"), body)).octets());
    assert_eq!(put(&changed).error().1, "registration.metadata", "it does not say whose");
    changed["client_id"] = client["client_id"].clone();
    let answer = put(&changed);
    assert_eq!((answer.status, &answer.json()["dpop_bound_access_tokens"]), (200, &json!(true)));
    assert_eq!(answer.json()["registration_access_token"], token);
    let gone = server.raw(authorized(to_local(&format!("DELETE {path}"))).octets());
    assert_eq!((gone.status, gone.body.as_str()), (204, ""));
    assert_eq!(server.raw(authorized(to_local(&format!("GET {path}"))).octets()).status, 401);
    let id = client["client_id"].as_str().unwrap();
    let request = form("/token", &Parameters::redemption(MARK).without("client_id"));
    let answer = server.token(&request.basic(id, client["client_secret"].as_str().unwrap()));
    assert_eq!(answer.error().0, "invalid_client");
}

/// A registration that takes little does not become one that takes much, as often as its owner likes.
#[test]
fn what_strangers_register_is_bounded() {
    let small = |config: IssuerConfig| open(config).room_for_strangers(LITTLE_ROOM);
    let server = Setup::new().registering(small).start();
    let client = register(&server, &good()).json();
    let path = client["registration_client_uri"].as_str().unwrap().strip_prefix(LOCAL).unwrap();
    let token = client["registration_access_token"].as_str().unwrap();
    let mut long = with("client_name", json!("n".repeat(14 << 10)));
    long["client_id"] = client["client_id"].clone();
    let change = json_to(&format!("PUT {path}"), &long).field(format!("Authorization: Bearer {token}"));
    let (changed, full) = server.repeat(&change, 200);
    assert!((31..38).contains(&changed), "{changed}");
    assert_eq!((full.status, full.error().1.as_str()), (503, "store.full"));
    assert_eq!(register(&server, &long).status, 503);
    server.turn(86_400);
    assert_eq!(register(&server, &long).status, 201);
}

/// Where names are had for the asking, the quota of one is none.
#[test]
fn clients_that_registered_share_a_quota_of_assertions() {
    let small = |config: IssuerConfig| open(config).assertions_per_client(4);
    let server = Setup::new().registering(small).start();
    let mut metadata = with("token_endpoint_auth_method", json!("private_key_jwt"));
    let key: Value = serde_json::from_str(&SIGNER.public_jwk().to_json()).unwrap();
    metadata["jwks"] = json!({ "keys": [key] });
    let clients: Vec<String> =
        (0..5).map(|_| register(&server, &metadata).json()["client_id"].as_str().unwrap().to_owned()).collect();
    let revoke = |id: &str| {
        let assertion = server.assertion().claim("iss", id).claim("sub", id).claim("aud", LOCAL);
        server.token(&form("/revoke", &Parameters::none().set("token", "t")).assertion(&assertion.text()))
    };
    let [first @ .., last] = &*clients else { panic!("five") };
    for id in first {
        assert_eq!([revoke(id).status, revoke(id).status, revoke(id).status], [200, 200, 429]);
    }
    let full = revoke(last);
    assert_eq!((full.status, full.error().1.as_str()), (503, "store.full"));
    assert_eq!(revoke("signer").status, 200);
    server.turn(320);
    assert_eq!(revoke(last).status, 200);
}

/// RFC 7591 section 3.2.2. Operators read it at a terminal.
#[test]
fn what_moves_a_cursor_is_no_text_of_a_client() {
    let server = Setup::new().registering(open).start();
    for name in ["client_name", "client_uri", "logo_uri", "software_id", "software_version", "scope"] {
        for text in ["a\u{1b}[2Jb", "a\nb", "a\u{7f}", "a\u{9b}31m"] {
            let answer = register(&server, &with(name, json!(text)));
            let error = answer.json()["error"].clone();
            assert_eq!((answer.status, error), (400, json!("invalid_client_metadata")), "{name} {text:?}");
        }
    }
    assert_eq!(register(&server, &with("client_name", json!("Émile & Søn \"AB\""))).status, 201);
}
