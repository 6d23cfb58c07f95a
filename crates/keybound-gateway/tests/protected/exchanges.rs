//! Where the proof is looked at in exchanges that are more than a request and its response.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Gateway, field, route, upstream};

const LONGEST: Duration = Duration::from_secs(30);

/// Answers each request with its request line and what it says of the caller.
fn echo() -> String {
    let address = upstream(|mut wire| {
        let head = wire.head();
        let said = format!("{} {}", head.lines().next().unwrap(), field(&head, "keybound-subject").unwrap_or("nobody"));
        wire.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{said}", said.len()));
    });
    format!("http://{address}")
}

// R-URI-09: what the upstream sees of the path is its own matter; a proof is for the path that the client used.
#[test]
fn a_rewritten_path_leaves_htu_alone() {
    for (more, seen) in [
        ("strip_prefix = true", "GET /17?a=/orders HTTP/1.1 alice"),
        ("rewrite = \"/v2/all\"", "GET /v2/all/17?a=/orders HTTP/1.1 alice"),
        ("", "GET /orders/17?a=/orders HTTP/1.1 alice"),
    ] {
        let gateway = Gateway::with(&format!("[[route]]\npath = \"/orders\"\nupstream = [{:?}]\n{more}", echo()));
        let caller = gateway.caller();
        let nonce = gateway.nonce(&caller, "/orders/17");
        let ask = |signed: &str| {
            let mut wire = gateway.connect();
            let fields = caller.fields("GET", signed, Some(&nonce));
            wire.send(&format!("GET /orders/17?a=/orders HTTP/1.1\r\nHost: a\r\n{fields}\r\n"));
            let head = wire.head();
            let body = wire.exactly(field(&head, "content-length").unwrap().parse().unwrap());
            (head, body)
        };
        let (head, body) = ask("/orders/17");
        assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
        assert_eq!(body, seen);
        let (head, body) = ask("/17");
        assert!(head.starts_with("HTTP/1.1 401 ") && body.contains("htu.mismatch"), "{head}{body}");
    }
}

fn opening(fields: &str) -> String {
    format!(
        "GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{fields}\r\n"
    )
}

/// The handshake is a request like any other: no tunnel without a proof, and none twice for the same.
#[test]
fn a_websocket_is_opened_by_proof() {
    let (came, comes) = mpsc::channel();
    let address = upstream(move |mut wire| {
        let head = wire.head();
        came.send(field(&head, "keybound-subject").map(str::to_owned)).unwrap();
        wire.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n");
        let said = wire.exactly(5);
        wire.send(&said);
    });
    let gateway = Gateway::with(&route(&format!("http://{address}"), ""));
    let caller = gateway.caller();
    let nonce = gateway.nonce(&caller, "/chat");
    let fields = caller.fields("GET", "/chat", Some(&nonce));
    let mut stranger = gateway.connect();
    stranger.send(&opening(""));
    assert!(stranger.head().starts_with("HTTP/1.1 401 "));
    assert!(comes.try_recv().is_err(), "the upstream has heard of a stranger");

    let mut wire = gateway.connect();
    wire.send(&opening(&fields));
    let head = wire.head();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    assert_eq!(comes.recv_timeout(LONGEST).unwrap().as_deref(), Some("alice"));
    wire.send("hello");
    assert_eq!(wire.exactly(5), "hello");

    let mut again = gateway.connect();
    again.send(&opening(&fields));
    let head = again.head();
    assert!(head.starts_with("HTTP/1.1 401 "), "{head}");
    assert!(comes.try_recv().is_err(), "the upstream has heard of a replay");
}

/// The body is asked for only after the proof has passed.
#[test]
fn a_body_is_expected_by_proof() {
    let address = upstream(|mut wire| {
        let head = wire.head();
        assert_eq!(field(&head, "expect"), None);
        let body = wire.exactly(5);
        wire.send(&format!("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n{body}"));
    });
    let gateway = Gateway::with(&route(&format!("http://{address}"), ""));
    let caller = gateway.caller();
    let nonce = gateway.nonce(&caller, "/");
    let request = |fields: &str| {
        format!("PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n{fields}\r\n")
    };
    let mut wire = gateway.connect();
    wire.send(&request(""));
    assert!(wire.head().starts_with("HTTP/1.1 401 "), "nothing is asked of a stranger");

    let mut wire = gateway.connect();
    wire.send(&request(&caller.fields("PUT", "/", Some(&nonce))));
    assert_eq!(wire.head(), "HTTP/1.1 100 Continue\r\n\r\n");
    wire.send("hello");
    assert!(wire.head().starts_with("HTTP/1.1 200 "));
    assert_eq!(wire.exactly(5), "hello");
}

/// Each event reaches the client before the next is made.
#[test]
fn events_are_not_held() {
    let (go, going) = mpsc::channel::<()>();
    let going = std::sync::Mutex::new(going);
    let address = upstream(move |mut wire| {
        wire.head();
        wire.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        for number in 0..3 {
            wire.send(&format!("data: {number}\n\n"));
            going.lock().unwrap().recv_timeout(LONGEST).unwrap();
        }
    });
    let gateway = Gateway::with(&route(&format!("http://{address}"), ""));
    let caller = gateway.caller();
    let nonce = gateway.nonce(&caller, "/events");
    let mut wire = gateway.connect();
    wire.send(&format!("GET /events HTTP/1.1\r\nHost: a\r\n{}\r\n", caller.fields("GET", "/events", Some(&nonce))));
    let head = wire.head();
    assert_eq!(field(&head, "content-type"), Some("text/event-stream"), "{head}");
    for number in 0..3 {
        assert_eq!(wire.line(), "9");
        assert_eq!((wire.line(), wire.line()), (format!("data: {number}"), String::new()));
        assert_eq!(wire.line(), "");
        go.send(()).unwrap();
    }
}
