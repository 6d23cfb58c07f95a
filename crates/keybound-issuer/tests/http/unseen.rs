//! `auto_approve`: one user agrees to everything, unseen, where nobody but the developer can be at the other end. That the issuer's
//! own address is on loopback is seen at its start; that its client is of the configuration, in `registration.rs`.

use std::net::SocketAddr;

use axum::body::Body;
use http_body_util::BodyExt as _;
use keybound_issuer::Connection;
use tower::ServiceExt as _;

use crate::people::{Parameters, form, to_local};
use crate::support::{Request, Server, Setup};

fn asked() -> Parameters {
    Parameters::authorization()
}

/// Without one of the conditions nobody is let in: of the request.
#[test]
fn nobody_is_approved_unseen_off_loopback() {
    let server = Setup::new().approving().start();
    let line = format!("GET /authorize?{}", asked().text());
    let good = to_local(&line);
    assert!(server.raw(good.octets()).back("code").is_some());
    for field in ["X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "Forwarded: for=127.0.0.1", "Via: 1.1 p"]
    {
        let answer = server.raw(good.clone().field(field).octets());
        assert_eq!(answer.back("error").as_deref(), Some("access_denied"), "{field}");
    }
    let answer = server.raw(good.only_field("Host: id.example.com").octets());
    assert_eq!(answer.back("error_description").as_deref(), Some("login.denied"));
    let public = Setup::new().start();
    let answer = public.raw(Request::new(&line).octets());
    assert_eq!(answer.back("error").as_deref(), Some("access_denied"), "without the setting");
    let silent = public.raw(Request::new(&format!("{line}&prompt=none")).octets());
    assert_eq!(silent.back("error").as_deref(), Some("login_required"));
}

/// What a browser gets over this connection; nothing is known of it if whoever serves the router says nothing.
fn visit(server: &Server, ends: Option<(SocketAddr, SocketAddr)>, path: &str) -> (String, String) {
    let mut request = http::Request::get(path).header("host", "localhost:8090").body(Body::empty()).unwrap();
    if let Some((listener, peer)) = ends {
        request.extensions_mut().insert(Connection::new(listener, peer));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (parts, body) = server.issuer.router().oneshot(request).await.unwrap().into_parts();
        let location = parts.headers.get("location").map(|location| location.to_str().unwrap().to_owned());
        let body = body.collect().await.unwrap().to_bytes();
        (location.unwrap_or_default(), String::from_utf8(body.to_vec()).unwrap())
    })
}

/// And of the connection: both of its ends, at both places where somebody could be approved.
#[test]
fn nobody_is_approved_unseen_over_a_connection_from_elsewhere() {
    let server = Setup::new().approving().start();
    for (ends, approved) in [
        (Some(("127.0.0.1:8090", "127.0.0.1:50000")), true),
        (Some(("[::1]:8090", "[::1]:50000")), true),
        (Some(("127.0.0.2:8090", "127.8.9.10:50000")), true),
        (Some(("127.0.0.1:8090", "192.0.2.7:50000")), false),
        (Some(("127.0.0.1:8090", "[2001:db8::7]:50000")), false),
        (Some(("192.0.2.1:8090", "127.0.0.1:50000")), false),
        (Some(("0.0.0.0:8090", "127.0.0.1:50000")), false),
        (Some(("[::]:8090", "[::1]:50000")), false),
        (Some(("192.0.2.1:8090", "192.0.2.7:50000")), false),
        (None, false),
    ] {
        let addresses = ends.map(|(listener, peer)| (listener.parse().unwrap(), peer.parse().unwrap()));
        let (location, _) = visit(&server, addresses, &format!("/authorize?{}", asked().text()));
        assert_eq!(location.contains("code="), approved, "{ends:?}: {location}");
        assert_eq!(location.contains("error=access_denied&error_description=login.denied"), !approved, "{location}");

        let begun = form("/device_authorization", &Parameters::of_app().set("scope", "read"));
        let codes = server.token(&begun).json();
        let code = |name: &str| codes[name].as_str().unwrap();
        let (_, page) = visit(&server, addresses, &format!("/device?user_code={}", code("user_code")));
        assert_eq!(page.contains("Your device is connected"), approved, "{ends:?}: {page}");
        let grant = "urn:ietf:params:oauth:grant-type:device_code";
        let question = Parameters::of_app().set("grant_type", grant).set("device_code", code("device_code"));
        let answer = server.redeem(&question, None);
        assert_eq!(
            (answer.status, answer.error().0 == "access_denied"),
            if approved { (200, false) } else { (400, true) }
        );
    }
}
