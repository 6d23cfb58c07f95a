//! `listen.decisions`: the same decisions for other proxies, about a request that they hold.

use http::Method;

use crate::scene::{Deciding, Scene};
use crate::support::Answer;

const ROUTES: &str = "[[route]]\npath = \"/\"\nscope = [\"orders:read\"]\n\
                      [[route]]\npath = \"/both\"\nmode = \"optional\"\n\
                      [[route]]\npath = \"/report\"\nmode = \"report\"\n\
                      [[route]]\npath = \"/open\"\nmode = \"open\"\n";

/// Asks about `GET path`, by a path of the question's own.
fn ask(service: &Deciding, path: &str, fields: &str) -> Answer {
    service.ask(&format!("X-Forwarded-Method: GET\r\nX-Forwarded-Uri: {path}\r\n{fields}"))
}

fn nonce(scene: &Scene, service: &Deciding) -> String {
    let answer = ask(service, "/orders", &scene.credentials(Method::GET, "/orders", None));
    assert_eq!((answer.status, &*answer.reason()), (401, "nonce.barrier"));
    assert_eq!(answer.field("keybound-reason"), Some("nonce.barrier"));
    assert!(answer.field("access-control-expose-headers").unwrap().contains("DPoP-Nonce"));
    answer.field("dpop-nonce").unwrap().to_owned()
}

#[test]
fn a_bound_token_passes_once_and_is_named() {
    let scene = Scene::new();
    let service = scene.deciding(ROUTES);
    let nonce = nonce(&scene, &service);
    let credentials = scene.credentials(Method::GET, "/orders/17", Some(&nonce));
    let answer = ask(&service, "/orders/17?page=2", &credentials);
    assert_eq!((answer.status, &*answer.text()), (200, ""));
    for (name, value) in [
        ("keybound-subject", "alice"),
        ("keybound-client", "orders-app"),
        ("keybound-scope", "orders:read"),
        ("keybound-issuer", crate::scene::ISSUER),
    ] {
        assert_eq!(answer.field(name), Some(value));
    }
    assert_eq!(answer.field("keybound-jkt").unwrap().len(), 43);
    // R-SEC-02
    let answer = ask(&service, "/orders/17?page=2", &credentials);
    assert_eq!((answer.status, &*answer.reason()), (401, "replay.seen"));
    assert!(answer.field("www-authenticate").unwrap().starts_with("DPoP error=\"invalid_dpop_proof\""));
    assert_eq!(answer.field("keybound-subject"), None);
}

#[test]
fn method_and_target_of_the_question_are_not_those_of_the_request() {
    let scene = Scene::new();
    let service = scene.deciding(ROUTES);
    let nonce = nonce(&scene, &service);
    let post = scene.credentials(Method::POST, "/orders", Some(&nonce));
    assert_eq!(ask(&service, "/orders", &post).reason(), "htm.mismatch");
    let answer = service.ask(&format!("X-Forwarded-Method: POST\r\nX-Forwarded-Uri: /orders\r\n{post}"));
    assert_eq!(answer.status, 200);
    let elsewhere = scene.credentials(Method::GET, "/ask", Some(&nonce));
    assert_eq!(ask(&service, "/orders", &elsewhere).reason(), "htu.mismatch");
    let answer = ask(&service, "/orders%2F17", &scene.credentials(Method::GET, "/orders%2F17", Some(&nonce)));
    assert_eq!((answer.status, &*answer.reason()), (400, "path.ambiguous"));
    for path in ["/orders/../x", "/..;/orders", "//open", "/open/..;/"] {
        assert_eq!(ask(&service, path, "").reason(), "path.ambiguous", "{path}");
    }
    let written =
        "[[route]]\npath = \"/\"\nmode = \"open\"\n[[route]]\npath = \"/@admin\"\n[[route]]\npath = \"/a;v=1\"\n";
    let other = scene.deciding(written);
    for path in ["/%40admin", "/%40admin;x/y", "//a;v=1/x", "/a%3Bv=1/x"] {
        assert_eq!(ask(&other, path, "").reason(), "path.ambiguous", "{path}");
    }
    assert_eq!((ask(&other, "/%40b;x", "").status, ask(&other, "/@admin", "").status), (200, 401));
    let normal = scene.credentials(Method::GET, "/orders/~a", Some(&nonce));
    assert_eq!(ask(&service, "/orders/%7Ea", &normal).status, 200);
    let two = format!("{normal}{}", scene.credentials(Method::GET, "/orders", None).split_once("\r\n").unwrap().1);
    let answer = ask(&service, "/orders", &two);
    assert_eq!((answer.status, &*answer.reason()), (401, "proof.repeated"));
}

#[test]
fn modes_are_those_of_the_gateway() {
    let scene = Scene::new();
    let service = scene.deciding(ROUTES);
    let bearer = format!("Authorization: Bearer {}\r\n", scene.unbound_token());
    let answer = ask(&service, "/both", &bearer);
    assert_eq!((answer.status, answer.field("keybound-subject")), (200, Some("alice")));
    assert_eq!(answer.field("keybound-jkt"), None);
    assert_eq!(ask(&service, "/orders", &bearer).reason(), "token.unbound");
    let challenges = ask(&service, "/both", "");
    let lines = challenges.head.to_ascii_lowercase().matches("\r\nwww-authenticate: ").count();
    assert_eq!((challenges.status, lines), (401, 2), "{}", challenges.head);
    for path in ["/report", "/open"] {
        let answer = ask(&service, path, &bearer);
        assert_eq!((answer.status, answer.field("keybound-subject")), (200, None), "{path}");
    }
    // A preflight has no credentials, and its answer is ready for the client.
    let preflight = "Origin: https://app.example\r\nAccess-Control-Request-Method: PUT\r\n";
    let answer = service.ask(&format!("X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Uri: /orders\r\n{preflight}"));
    assert_eq!((answer.status, answer.field("keybound-subject")), (204, None));
    assert!(answer.field("access-control-allow-headers").unwrap().contains("DPoP"));
    let answer = service.ask(&format!("X-Forwarded-Method: OPTIONS\r\nX-Forwarded-Uri: /report\r\n{preflight}"));
    assert_eq!((answer.status, answer.field("access-control-allow-headers")), (200, None));
    assert_eq!(ask(&service, "/orders", preflight).reason(), "credentials.missing");
}

#[test]
fn a_question_that_does_not_tell_is_a_fault_of_the_setup() {
    let scene = Scene::new();
    let service = scene.deciding(ROUTES);
    for fields in [
        "",
        "X-Forwarded-Method: GET\r\n",
        "X-Forwarded-Uri: /open\r\n",
        "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: /open\r\nX-Forwarded-Uri: /open\r\n",
        "X-Forwarded-Method: GET\r\nX-Forwarded-Method: GET\r\nX-Forwarded-Uri: /open\r\n",
        "X-Forwarded-Method: GET\r\nX-Forwarded-Uri: https://api.example.com/open\r\n",
    ] {
        let answer = service.ask(fields);
        assert_eq!((answer.status, &*answer.reason()), (500, "decision.fields"), "{fields}");
    }
    let stranger = scene.deciding_for("192.0.2.1", "", ROUTES);
    let answer = ask(&stranger, "/open", "");
    assert_eq!((answer.status, &*answer.reason()), (500, "decision.peer"));
}

#[test]
fn fields_have_the_names_they_are_given() {
    let scene = Scene::new();
    let names = "[decisions]\nmethod_field = \"X-Original-Method\"\nuri_field = \"X-Original-Uri\"\n";
    let service = scene.deciding(&format!("{names}{ROUTES}"));
    assert_eq!(ask(&service, "/open", "").reason(), "decision.fields");
    assert_eq!(service.ask("X-Original-Method: GET\r\nX-Original-Uri: /open\r\n").status, 200);
}

#[test]
fn the_forwarded_host_chooses_among_several_origins() {
    let scene = Scene::new();
    let service = scene.deciding_for("127.0.0.1", "[[origin]]\nurl = \"https://other.example.com\"\n", ROUTES);
    assert_eq!(ask(&service, "/open", "").reason(), "decision.fields");
    let at = |host: &str, fields: &str| ask(&service, "/orders", &format!("X-Forwarded-Host: {host}\r\n{fields}"));
    assert_eq!((at("evil.example", "").status, &*at("evil.example", "").reason()), (421, "host.unknown"));
    let credentials = || scene.credentials(Method::GET, "/orders", None);
    assert_eq!(at("other.example.com", &credentials()).reason(), "htu.mismatch");
    assert_eq!(at("api.example.com", &credentials()).reason(), "nonce.barrier");
}

// It is for decisions alone, and hides no shorter prefix that does forward.
#[test]
fn a_route_without_upstream_is_unknown_to_clients() {
    let scene = Scene::new();
    let echo = crate::support::Upstream::echo();
    let route = crate::scene::route("/", echo.address, "mode = \"open\"");
    let listener = "[listen]\ndecisions = \"127.0.0.1:0\"\ndecision_peers = [\"127.0.0.1\"]\n";
    let text = Scene::text(&format!("{route}[[route]]\npath = \"/orders\"\n")).replace("[listen]\n", listener);
    let gateway = crate::scene::Running::start(scene.try_config(&text).unwrap());
    assert_eq!(gateway.get("/bills", "").status, 200);
    let answer = gateway.get("/orders", "");
    assert_eq!((answer.status, &*answer.reason()), (404, "route.unknown"));
}
