//! What a client may take, and what it gets when it takes more.

use std::io::Write as _;
use std::time::{Duration, Instant};

use crate::support::{Gateway, PATIENCE, Upstream};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

#[test]
fn a_body_is_bounded() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "body_bytes = \"1KiB\"");
    let sized =
        |length: usize| format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {length}\r\n\r\n{}", "x".repeat(length));
    let chunked = |length: usize| {
        format!(
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{length:x}\r\n{}\r\n0\r\n\r\n",
            "x".repeat(length)
        )
    };
    assert_eq!(gateway.answer(sized(1024)).status, 200);
    assert_eq!(gateway.answer(chunked(1024)).status, 200);
    let before = upstream.connections();
    for request in [sized(1025), chunked(1025), sized(200_000)] {
        let answer = gateway.answer(&request);
        assert_eq!((answer.status, answer.reason().as_str()), (413, "body.oversized"));
        assert!(answer.text().contains("\"limit\":\"limits.body_bytes\""));
        assert_eq!(answer.field("connection"), Some("close"));
    }
    // Of those with a length, nobody has heard.
    assert!(upstream.connections() <= before + 1);
}

/// Nobody asks for a body that will not be taken.
#[test]
fn an_expected_body_that_is_too_long_is_not_asked_for() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "body_bytes = \"1KiB\"");
    let answer = gateway.answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2000\r\nExpect: 100-continue\r\n\r\n");
    assert_eq!((answer.status, answer.reason().as_str()), (413, "body.oversized"));
}

#[test]
fn a_body_with_broken_chunks_is_refused() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    for chunks in ["xyz\r\n", "5\r\nhello!!\r\n0\r\n\r\n", "ffffffffffffffffff\r\n", "-1\r\n", "5;\n\r\nhello"] {
        let answer =
            gateway.answer(format!("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"));
        assert_eq!((answer.status, answer.reason().as_str()), (400, "body.malformed"), "{chunks:?}");
    }
}

/// R-SEC-12: one octet at a time does not keep a connection for ever, before the first octet or after.
#[test]
fn a_slow_header_is_cut_off() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "header_timeout = \"200ms\"");
    let began = Instant::now();
    assert!(gateway.client().is_over());
    let mut client = gateway.client();
    while client.stream.write_all(b"x").is_ok() {
        std::thread::sleep(Duration::from_millis(20));
        assert!(began.elapsed() < Duration::from_secs(14), "it is still taken");
    }
    // By itself each would take 15 s.
    assert!(began.elapsed() > Duration::from_millis(390) && began.elapsed() < Duration::from_secs(14));
    // On a connection that was used before, too.
    let gateway = Gateway::open(upstream.address, "header_timeout = \"4s\"");
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.answer().status, 200);
    let began = Instant::now();
    client.send("GET / HTTP/1.1\r\n");
    assert!(client.is_over());
    assert!(began.elapsed() > Duration::from_millis(3990) && began.elapsed() < Duration::from_secs(14));
}

#[test]
fn a_connection_at_rest_is_closed() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "idle_timeout = \"4s\"\nheader_timeout = \"60s\"");
    let mut client = gateway.client();
    let mut began = Instant::now();
    for _ in 0..3 {
        began = Instant::now();
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
    assert!(client.is_over(), "in less than a header may take");
    let rested = began.elapsed();
    assert!(rested > Duration::from_millis(3990), "{rested:?}");
}

/// The times of a client do not run while an upstream thinks.
#[test]
fn a_slow_upstream_is_not_the_clients_fault() {
    let upstream = Upstream::doing(|mut client| {
        while client.head().is_some() {
            std::thread::sleep(Duration::from_secs(5));
            client.send("HTTP/1.1 204 No Content\r\n\r\n");
        }
    });
    let limits = "idle_timeout = \"4s\"\nheader_timeout = \"4s\"\nclient_timeout = \"4s\"\nrequest_timeout = \"4s\"";
    let gateway = Gateway::open(upstream.address, limits);
    let mut client = gateway.client();
    client.send(GET);
    assert_eq!(client.answer().status, 204);
}

#[test]
fn a_body_that_stops_coming_is_408() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "client_timeout = \"100ms\"");
    let answer = gateway.answer("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhalf");
    assert_eq!((answer.status, answer.reason().as_str()), (408, "body.stalled"));
}

#[test]
fn a_body_that_trickles_is_408() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "request_timeout = \"200ms\"");
    let mut client = gateway.client();
    client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10000\r\n\r\n");
    let mut half = client.stream.try_clone().unwrap();
    let trickle = std::thread::spawn(move || {
        while half.write_all(b"x").is_ok() {
            std::thread::sleep(Duration::from_millis(10));
        }
    });
    let answer = client.answer();
    assert_eq!((answer.status, answer.reason().as_str()), (408, "body.slow"));
    // It may be over already.
    let _ = client.stream.shutdown(std::net::Shutdown::Both);
    trickle.join().unwrap();
}

/// A client that does not read does not hold its upstream for ever.
#[test]
fn a_response_nobody_takes_is_given_up() {
    let (given_up, seen) = std::sync::mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        client.head();
        client.send("HTTP/1.1 200 OK\r\n\r\n");
        while client.stream.write_all(&[b'x'; 65536]).is_ok() {}
        given_up.send(()).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "client_timeout = \"200ms\"");
    let mut client = gateway.client();
    client.send(GET);
    // Before the upstream, which may write for as long, gives up by itself.
    seen.recv_timeout(PATIENCE - Duration::from_secs(1)).unwrap();
}

#[test]
fn too_many_connections_are_told_so() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "connections = 2");
    let mut kept: Vec<_> = (0..2).map(|_| gateway.client()).collect();
    for client in &mut kept {
        client.send(GET);
        assert_eq!(client.answer().status, 200);
    }
    let answer = gateway.answer(GET);
    assert_eq!((answer.status, answer.reason().as_str()), (503, "overload"));
    assert!(answer.text().contains("\"limit\":\"limits.connections\""));
    assert_eq!(answer.field("retry-after"), Some("1"));
    drop(kept);
    let began = Instant::now();
    while gateway.answer(GET).status != 200 {
        assert!(began.elapsed() < PATIENCE, "the places are not free again");
    }
}
