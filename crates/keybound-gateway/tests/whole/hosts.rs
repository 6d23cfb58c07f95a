//! Which origin a request came to: by `Host`, by what a trusted proxy says, and where the embedded issuer lives.

use http::Method;

use crate::scene::{Running, Scene, route};
use crate::support::{Answer, Upstream};

const SECOND: &str = "[[origin]]\nurl = \"https://other.example.com\"\n";

fn behind(scene: &Scene, upstream: &Upstream, trusted: &str, origins: &str) -> Running {
    let text = Scene::text(&[origins, &route("/", upstream.address, "")].concat());
    let text = text.replace("[listen]\n", &format!("[listen]\ntrusted_peers = [{trusted}]\n"));
    Running::start(scene.try_config(&text).unwrap_or_else(|errors| panic!("{errors}")))
}

/// A request with a proof for `https://api.example.com/x`: at that origin only the barrier is in its way.
fn asked(scene: &Scene, gateway: &Running, host: &str, fields: &str) -> Answer {
    let credentials = scene.credentials(Method::GET, "/x", None);
    gateway.send(format!("GET /x HTTP/1.1\r\nHost: {host}\r\n{fields}{credentials}\r\n"))
}

// R-URI-08, R-URI-09
#[test]
fn a_trusted_proxy_says_what_the_client_aimed_at() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = behind(&scene, &upstream, "\"127.0.0.1\"", SECOND);
    for (host, fields, expected) in [
        ("api.example.com", "", "nonce.barrier"),
        ("other.example.com", "", "htu.mismatch"),
        ("internal", "", "host.unknown"),
        ("internal", "X-Forwarded-Host: api.example.com\r\n", "nonce.barrier"),
        ("internal", "X-Forwarded-Host: API.example.com:443\r\n", "nonce.barrier"),
        ("internal", "X-Forwarded-Host: other.example.com\r\n", "htu.mismatch"),
        ("internal", "X-Forwarded-Host: evil.example\r\n", "host.unknown"),
        ("other.example.com", "X-Forwarded-Host: api.example.com\r\n", "nonce.barrier"),
        ("internal", "Forwarded: for=192.0.2.1;host=api.example.com;proto=https\r\n", "nonce.barrier"),
        ("internal", "Forwarded: host=evil.example, for=192.0.2.1;Host=\"api.example.com\"\r\n", "nonce.barrier"),
        ("internal", "Forwarded: for=192.0.2.1\r\n", "host.unknown"),
        ("api.example.com", "X-Forwarded-Host: \r\n", "host.invalid"),
        ("api.example.com", "X-Forwarded-Host: api.example.com, evil.example\r\n", "host.invalid"),
        ("api.example.com", "X-Forwarded-Host: a\r\nX-Forwarded-Host: a\r\n", "host.invalid"),
        ("api.example.com", "X-Forwarded-Host: a b\r\n", "host.invalid"),
        ("api.example.com", "Forwarded: host=a;host=b\r\n", "host.invalid"),
    ] {
        assert_eq!(asked(&scene, &gateway, host, fields).reason(), expected, "{host} {fields:?}");
    }
}

// R-URI-09: from anybody else it is a field like others.
#[test]
fn nobody_else_is_believed() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = behind(&scene, &upstream, "\"192.0.2.1\"", SECOND);
    let forged = "X-Forwarded-Host: api.example.com\r\nForwarded: host=api.example.com\r\n";
    assert_eq!(asked(&scene, &gateway, "internal", forged).reason(), "host.unknown");
    assert_eq!(asked(&scene, &gateway, "other.example.com", forged).reason(), "htu.mismatch");
    // With one origin nobody has to be asked.
    let gateway = behind(&scene, &upstream, "\"127.0.0.1\"", "");
    assert_eq!(asked(&scene, &gateway, "internal", "X-Forwarded-Host: evil.example\r\n").reason(), "nonce.barrier");
}

#[test]
fn an_issuer_with_an_origin_of_its_own_answers_there_alone() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = "[authorization_server]\nurl = \"https://as.example.com\"\nstore = \"memory\"\n";
    let metadata = "/.well-known/oauth-authorization-server";
    let routes = ["/", metadata].map(|path| route(path, upstream.address, "mode = \"open\"")).concat();
    let gateway = Running::start(scene.config(&[&*routes, server].concat()));
    let get = |host: &str, path: &str| gateway.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"));
    assert!(get("as.example.com", metadata).text().contains("\"issuer\":\"https://as.example.com\""));
    assert_eq!(get("as.example.com", "/orders").status, 404);
    for path in ["/orders", "/token", "/jwks", metadata] {
        let answer = get("api.example.com", path);
        assert!(answer.text().contains(path), "the upstream answers for {path}: {answer:?}");
        assert!(!answer.text().contains("as.example.com"));
    }
}

/// At one of several origins it answers there, and leaves its paths at the others to their routes.
#[test]
fn an_issuer_at_one_of_two_origins_leaves_the_other_alone() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let metadata = "/.well-known/oauth-authorization-server";
    let server = "[authorization_server]\nurl = \"http://127.0.0.1:8080/issuer\"\nstore = \"memory\"\n";
    let routes = ["/", "/issuer", metadata].map(|path| route(path, upstream.address, "mode = \"open\"")).concat();
    let gateway =
        Running::start(scene.config(&["[[origin]]\nurl = \"http://127.0.0.1:8080\"\n", &*routes, server].concat()));
    for path in ["/issuer/jwks", metadata] {
        let get = |host: &str| gateway.send(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n")).text();
        assert!(!get("127.0.0.1:8080").contains("GET "), "{path}: the issuer answers");
        assert!(get("api.example.com").starts_with(&format!("GET {path} HTTP/1.1")), "{path}: the upstream answers");
    }
}

/// What is wrong with a form for the embedded issuer is what it gets told.
#[test]
fn a_form_for_the_issuer_is_bounded_in_time_and_size() {
    let scene = Scene::new();
    let server = "[limits]\nclient_timeout = \"200ms\"\n[authorization_server]\nurl = \"https://as.example.com\"\nstore = \"memory\"\n";
    let gateway =
        Running::start(scene.config(
            &["[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://127.0.0.1:9\"]\n", server].concat(),
        ));
    let post = |length: usize, body: &str| {
        let head =
            "POST /token HTTP/1.1\r\nHost: as.example.com\r\nContent-Type: application/x-www-form-urlencoded\r\n";
        let answer = gateway.send(format!("{head}Content-Length: {length}\r\n\r\n{body}"));
        (answer.status, answer.reason())
    };
    assert_eq!(post(100, "grant"), (408, "body.stalled".to_owned()));
    assert_eq!(post(70_000, &"a".repeat(70_000)), (413, "body.oversized".to_owned()));
}
