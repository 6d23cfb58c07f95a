//! Envoy, by its filter `ext_authz` over gRPC.

use std::process::Command;

use http::Method;

use crate::checks::{self, Known};
use crate::program::{Program, example};
use crate::scene::ORIGIN;
use crate::stage::Stage;
use crate::support::{Client, field};

#[test]
fn envoy() {
    let stage = Stage::new();
    let proxy = start(&stage, &[]);
    let stage = stage.behind(proxy);
    a_websocket_is_opened_once(&stage);
    checks::all(stage, Known { challenges: 2, crowded: (431, "") });
}

/// With fields joined, names with an underscore let through, and bodies shown.
#[test]
fn envoy_with_other_settings() {
    let stage = Stage::new();
    let proxy = start(
        &stage,
        &[
            ("encode_raw_headers: true", "encode_raw_headers: false".to_owned()),
            ("DROP_HEADER", "ALLOW".to_owned()),
            ("# with_request_body", "with_request_body".to_owned()),
        ],
    );
    let stage = stage.behind(proxy);
    doubled_fields_are_seen(&stage);
    a_token_in_a_form_is_refused(&stage);
    paths_that_are_no_text_are_refused(&stage);
    checks::all(stage, Known { challenges: 2, crowded: (431, "") });
}

fn start(stage: &Stage, otherwise: &[(&str, String)]) -> Program {
    let address = |at: std::net::SocketAddr| format!("address: {}, port_value: {} }}", at.ip(), at.port());
    let places = [
        ("address: 127.0.0.1, port_value: 8000 }", address(stage.public)),
        ("address: 127.0.0.1, port_value: 8080 }", address(stage.gateway)),
        ("address: 127.0.0.1, port_value: 8083 }", address(stage.ext_authz)),
        ("address: 127.0.0.1, port_value: 9000 }", address(stage.app.address)),
    ];
    stage.scene.write("envoy.yaml", &example("envoy/envoy.yaml", &[&places[..], otherwise].concat()));
    let program = std::env::var_os("ENVOY").expect("the variable ENVOY names the program; cargo xtask test sets it");
    let mut command = Command::new(program);
    command.arg("-c").arg(stage.scene.path("envoy.yaml"));
    // No memory is shared with other processes of its kind.
    command.args(["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]);
    Program::start(command, &stage.scene.path("envoy.log"), stage.public)
}

// R-PRF-01, R-PRF-02: a proxy that joins two fields by a comma does not make one of them.
fn doubled_fields_are_seen(stage: &Stage) {
    let credentials = stage.credentials(Method::GET, "/orders");
    let (authorization, proof) = credentials.split_once("\r\n").unwrap();
    for second in ["DPoP: \r\n", proof] {
        let answer = stage.get("/orders", &format!("{credentials}{second}"));
        assert_eq!((answer.status, &*answer.reason()), (401, "proof.repeated"), "{answer:?}");
    }
    let answer = stage.get("/orders", &format!("{authorization}\r\n{credentials}"));
    assert_eq!(answer.status, 400, "{answer:?}");
    assert_eq!(stage.get("/orders", &credentials).status, 200, "the proof itself is good, and was not used up");
}

// R-RS-10, R-RS-11
fn a_token_in_a_form_is_refused(stage: &Stage) {
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    let credentials = stage.credentials(Method::POST, "/orders");
    let with = |fields: &str, body: &str| stage.send("POST", "/orders", &format!("{form}{fields}"), body);
    let answer = with(&credentials, "a=1&access%5Ftoken=abc");
    assert_eq!((answer.status, &*answer.reason()), (400, "credentials.repeated"), "{answer:?}");
    let answer = with("", "access_token=abc");
    assert_eq!(answer.reason(), "credentials.form", "{answer:?}");
    let answer = with(&format!("Content-Encoding: gzip\r\n{credentials}"), "abc");
    assert_eq!((answer.status, &*answer.reason()), (415, "form.encoded"), "{answer:?}");
    let answer = with(&credentials, "a=1&b=access_token");
    assert_eq!(answer.status, 200, "{answer:?}");
    assert!(answer.text().ends_with("a=1&b=access_token"));
}

// Envoy would tell of another path than it sends on.
fn paths_that_are_no_text_are_refused(stage: &Stage) {
    let mut client = Client::to(stage.public);
    client.send([&b"GET /public/\xff HTTP/1.1\r\nHost: api.example.com\r\n\r\n"[..]].concat());
    assert_eq!(client.answer().status, 400);
}

fn a_websocket_is_opened_once(stage: &Stage) {
    let handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                     Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let answer = stage.get("/orders", handshake);
    assert_eq!((answer.status, &*answer.reason()), (401, "credentials.missing"), "{answer:?}");
    let credentials = stage.credentials(Method::GET, "/orders");
    let mut client = Client::to(stage.public);
    let host = ORIGIN.trim_start_matches("https://");
    client.send(format!("GET /orders HTTP/1.1\r\nHost: {host}\r\n{handshake}{credentials}\r\n"));
    let head = client.head().unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    client.send("hello");
    assert_eq!(client.exactly(5), b"hello");
    let answer = stage.get("/orders", &format!("{handshake}{credentials}"));
    assert_eq!((answer.status, &*answer.reason()), (401, "replay.seen"), "{answer:?}");
    assert_eq!(field(&answer.head, "keybound-subject"), None);
}
