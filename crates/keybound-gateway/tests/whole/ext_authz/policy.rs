//! What a route asks that others do not, and what it tells, through `listen.ext_authz`.

use http::Method;
use serde_json::Value;

use super::{OVERWRITE, Service, get, nonce, question, value, values};
use crate::attest::{check, jwks};
use crate::ext_authz::messages::{HttpRequest, HttpResponse};
use crate::report::Log;
use crate::scene::{ISSUER, ORIGIN, Scene, route};
use crate::support::Upstream;

const FORM: &str = "content-type: application/x-www-form-urlencoded\r\n";

/// The app is told by a statement that it can check, in place of what the client says.
#[test]
fn the_app_gets_a_statement_about_the_request() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let settings = "proof = \"attest\"\nattestation_audience = [\"https://orders.internal\"]";
    let routes =
        format!("[attestation]\nsigning_key = \"attestation-key.json\"\n{}", route("/", upstream.address, settings));
    // The key set is served to whoever checks at the listener of clients.
    let gateway = scene.gateway(&routes);
    let service = Service(scene.for_envoy("127.0.0.1", "", &routes));
    let refused = service.denies(get("/orders", ""));
    assert_eq!(value(&refused.headers, "keybound-attestation"), None);
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::PUT, "/orders", Some(&nonce));
    let lies = "keybound-attestation: forged\r\nkeybound_attestation: forged\r\n";
    let ok = service.passes(question("PUT", "/orders?a=1", &format!("{credentials}{lies}")));
    let told: Vec<_> = values(&ok.headers, "keybound-attestation").collect();
    let [(statement, OVERWRITE)] = told[..] else { panic!("{told:?}") };
    let target = format!("{ORIGIN}/orders");
    let claims = check(&jwks(&gateway), statement, "https://orders.internal", "PUT", &target).unwrap();
    assert_eq!(
        [&claims["iss"], &claims["sub"], &claims["token_issuer"], &claims["jkt"]],
        [ORIGIN, "alice", ISSUER, &scene.thumbprint()].map(Value::from).each_ref()
    );
    let mut removed = ok.headers_to_remove;
    removed.sort();
    assert_eq!(removed, ["authorization", "dpop", "keybound_attestation"]);
}

/// Where none is made, a client's own goes away.
#[test]
fn a_statement_of_the_client_is_removed() {
    let scene = Scene::new();
    let routes = "[[route]]\npath = \"/\"\n[[route]]\npath = \"/open\"\nmode = \"open\"\n";
    let service = Service(scene.for_envoy("127.0.0.1", "", routes));
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::GET, "/orders", Some(&nonce));
    for http in [
        get("/open", "keybound-attestation: forged\r\n"),
        get("/orders", &format!("{credentials}keybound-attestation: forged\r\n")),
    ] {
        let ok = service.passes(http);
        assert_eq!(value(&ok.headers, "keybound-attestation"), None);
        assert!(ok.headers_to_remove.iter().any(|name| name == "keybound-attestation"), "{ok:?}");
    }
}

#[test]
fn a_route_serves_its_methods_and_no_others() {
    let scene = Scene::new();
    for mode in ["required", "optional", "report", "open"] {
        let listed = format!("path = \"/listed\"\nmode = \"{mode}\"\nmethods = [\"GET\", \"POST\"]\n");
        let routes = format!("[[route]]\npath = \"/\"\n[[route]]\n{listed}");
        let service = Service(scene.for_envoy("127.0.0.1", "", &routes));
        let nonce = nonce(&scene, &service);
        for method in ["PUT", "DELETE", "OPTIONS"] {
            // Before any protection: credentials are not looked at, and a good proof is not spent.
            let named = Method::from_bytes(method.as_bytes()).unwrap();
            for fields in [String::new(), scene.credentials(named, "/listed", Some(&nonce))] {
                let denied = service.denies(question(method, "/listed", &fields));
                assert_eq!(denied.status.unwrap().code, 405, "{mode} {method}");
                assert_eq!(value(&denied.headers, "keybound-reason").as_deref(), Some("method.unlisted"));
                assert_eq!(value(&denied.headers, "allow").as_deref(), Some("GET, POST, HEAD"));
                assert_eq!(value(&denied.headers, "www-authenticate"), None);
                assert!(denied.body.contains("method.unlisted"), "{}", denied.body);
            }
        }
        assert_eq!(service.0.live.engine().replays().entries(), 0);
        for method in [Method::GET, Method::HEAD, Method::POST] {
            let credentials = scene.credentials(method.clone(), "/listed", Some(&nonce));
            service.passes(question(method.as_str(), "/listed", &credentials));
        }
        assert_eq!(service.reason(question("PUT", "/", "")).0, 401, "another route");
    }
}

// R-RS-28: browsers ask before they send; what they may then send is what the route serves.
#[test]
fn preflights_need_not_be_listed() {
    let scene = Scene::new();
    let routes = "[[route]]\npath = \"/\"\nmethods = [\"GET\", \"PUT\"]\n";
    let service = Service(scene.for_envoy("127.0.0.1", "", routes));
    for (method, allowed) in [("PUT", Some("PUT")), ("HEAD", Some("HEAD")), ("DELETE", None)] {
        let fields = format!("origin: https://app.example\r\naccess-control-request-method: {method}\r\n");
        let denied = service.denies(question("OPTIONS", "/", &fields));
        assert_eq!(denied.status.unwrap().code, 204, "{method}");
        assert_eq!(value(&denied.headers, "access-control-allow-methods").as_deref(), allowed);
        assert_eq!(value(&denied.headers, "access-control-allow-origin").as_deref(), Some("*"));
    }
    // The page may read why.
    let refused = service.denies(question("DELETE", "/", "origin: https://app.example\r\n"));
    assert_eq!(value(&refused.headers, "access-control-allow-origin").as_deref(), Some("*"));
}

/// One fault at a time: what mode `report` counts is what `required` refuses, and nothing is refused or changed.
#[test]
fn what_is_counted_is_what_required_refuses() {
    const REPORTED: &str = "/reported-to-envoy";
    let (log, scene) = (Log::begin(), Scene::new());
    let routes = format!("[[route]]\npath = \"/\"\n[[route]]\npath = \"{REPORTED}\"\nmode = \"report\"\n");
    let service = Service(scene.for_envoy("127.0.0.1", "", &routes));
    let nonce = nonce(&scene, &service);
    let reasons = |http: &dyn Fn(&str) -> HttpRequest| {
        let before = log.reported(REPORTED).len();
        let ok = service.passes(http(REPORTED));
        assert!(ok.headers.is_empty() && ok.response_headers_to_add.is_empty(), "{ok:?}");
        assert!(ok.headers_to_remove.iter().all(|name| name.starts_with("keybound")), "{ok:?}");
        let mut told = log.reported(REPORTED).split_off(before);
        assert!(told.len() < 2, "{told:?}");
        let refused = match service.check(http("/kept")).http_response {
            Some(HttpResponse::Denied(denied)) => value(&denied.headers, "keybound-reason"),
            _ => None,
        };
        (refused, told.pop())
    };
    let good = |path: &str| scene.credentials(Method::GET, path, Some(&nonce));
    let form = |path: &str, fields: &str, body: &str| HttpRequest {
        raw_body: body.to_owned().into(),
        ..get(path, &[&*good(path), FORM, fields].concat())
    };
    let bearer = format!("authorization: Bearer {}\r\n", scene.token());
    let used = ["/kept", REPORTED].map(good);
    let again = |path: &str| get(path, &used[usize::from(path == REPORTED)]);
    type Fault<'f> = &'f dyn Fn(&str) -> HttpRequest;
    let table: [(Option<(&str, &str)>, Fault<'_>); 10] = [
        (None, &|path| get(path, &good(path))),
        (None, &again),
        (Some(("orders-app", "replay.seen")), &again),
        (Some(("", "credentials.missing")), &|path| get(path, "")),
        (Some(("orders-app", "token.downgrade")), &|path| get(path, &bearer)),
        (Some(("orders-app", "htu.mismatch")), &|path| get(path, &good("/other"))),
        (Some(("orders-app", "nonce.unknown")), &|path| get(path, &scene.credentials(Method::GET, path, Some("x")))),
        (None, &|path| form(path, "", "a=1")),
        (Some(("orders-app", "credentials.repeated")), &|path| form(path, "", "access_token=x")),
        // Nobody can look into it, and nobody looked at the token.
        (Some(("", "form.encoded")), &|path| form(path, "content-encoding: gzip\r\n", "access_token=x")),
    ];
    for (expected, fault) in table {
        let (refused, told) = reasons(fault);
        assert_eq!(refused.as_deref(), expected.map(|(_, reason)| reason));
        assert_eq!(told.as_ref().map(|(client, reason)| (&**client, &**reason)), expected);
    }
}
