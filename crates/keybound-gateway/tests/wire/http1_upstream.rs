//! What an upstream of HTTP/1.1 may say, however it says it, and what it may not.

use std::sync::mpsc;
use std::time::Duration;

use crate::support::{Gateway, PATIENCE, Upstream, field};
use crate::tls::Files;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n\r\n";

/// It says no and reads no more, so that the rest of the body cannot be sent.
#[test]
fn an_upstream_that_says_no_to_a_body_is_heard() {
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send("HTTP/1.1 413 Too Long\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
    });
    let gateway = Gateway::open(upstream.address, "");
    for framing in ["Content-Length: 5000000\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n4c4b40\r\n"] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{framing}"));
        let mut half = client.stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || {
            use std::io::Write as _;
            let _ = half.write_all(&[b'x'; 5_000_000]);
        });
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (413, "no"), "{framing:?}");
        assert!(answer.head.starts_with("HTTP/1.1 413 Too Long\r\n"), "{}", answer.head);
        drop(client);
        sending.join().unwrap();
    }
    assert_eq!(upstream.connections(), 2);
}

/// Whether it came together with the response, or while the connection was at rest.
#[test]
fn what_follows_a_response_is_nobodys_answer() {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
    for (good, rest) in [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", false),
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", true),
    ] {
        let (answered, answers) = mpsc::channel();
        let answers = std::sync::Mutex::new(answers);
        let (sent, sends) = mpsc::channel();
        let upstream = Upstream::doing(move |mut client| {
            client.head();
            if rest {
                client.send(good);
                answers.lock().unwrap().recv_timeout(PATIENCE).unwrap();
                client.send(evil);
            } else {
                client.send([good, evil].concat());
            }
            sent.send(()).unwrap();
            client.is_over();
        });
        let gateway = Gateway::open(upstream.address, "");
        for round in 1..=3 {
            assert_eq!(gateway.answer(GET).text(), "hi", "{good:?}, {rest}, round {round}");
            answered.send(()).unwrap();
            sends.recv_timeout(PATIENCE).unwrap();
            // Time for the gateway to hear of it: it answers others.
            (0..10).for_each(|_| assert_eq!(gateway.answer("CONNECT / HTTP/1.1\r\nHost: a\r\n\r\n").status / 100, 4));
            assert_eq!(upstream.connections(), round, "{good:?}, {rest}");
        }
    }
}

#[test]
fn a_response_may_come_octet_by_octet() {
    let said = "HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\nHTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n\
                5;a=b\r\nhello\r\n7\r\n there!\r\n0\r\nX-Sum: 7\r\n\r\n";
    let upstream = Upstream::doing(move |mut client| {
        while client.head().is_some() {
            said.as_bytes().chunks(1).for_each(|octet| client.send(octet));
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    for _ in 0..2 {
        let answer = gateway.answer(GET);
        assert!(answer.head.starts_with("HTTP/1.1 200 Fine\r\n"), "{}", answer.head);
        assert_eq!(answer.text(), "hello there!");
    }
    assert_eq!(upstream.connections(), 1);
}

/// With both it is the chunks that count, and the connection is trusted no more.
#[test]
fn a_doubtful_framing_is_refused_or_the_last() {
    let gateway = |fields: &str| {
        let said = format!("HTTP/1.1 200 OK\r\n{fields}\r\n2\r\nhi\r\n0\r\n\r\n");
        let upstream = Upstream::doing(move |mut client| {
            while client.head().is_some() {
                client.send(&said);
            }
        });
        (Gateway::open(upstream.address, ""), upstream)
    };
    for fields in [
        "Transfer-Encoding: gzip, chunked\r\n",
        "Transfer-Encoding: gzip\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n",
        "Content-Length: 2, 3\r\n",
    ] {
        let answer = gateway(fields).0.answer(GET);
        assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.invalid"), "{fields:?}");
    }
    let (gateway, upstream) = gateway("Transfer-Encoding: chunked\r\nContent-Length: 7\r\n");
    for round in 1..=2 {
        let answer = gateway.answer(GET);
        assert_eq!((answer.text().as_str(), answer.field("content-length")), ("hi", None));
        assert_eq!(upstream.connections(), round);
    }
}

/// All together they are no longer than a header may be.
#[test]
fn interim_responses_without_end_are_502() {
    let upstream = Upstream::doing(|mut client| {
        use std::io::Write as _;
        client.head();
        while client.stream.write_all(b"HTTP/1.1 102 Processing\r\n\r\n").is_ok() {}
    });
    let answer = Gateway::open(upstream.address, "").answer(GET);
    assert_eq!((answer.status, answer.reason().as_str()), (502, "upstream.invalid"));
}

#[test]
fn what_comes_with_the_opening_of_a_tunnel_is_in_it() {
    let upstream = Upstream::doing(|mut client| {
        client.head();
        client.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nfirst");
        client.send(client.twin().exactly(4));
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send(
        "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    );
    assert!(client.head().unwrap().starts_with("HTTP/1.1 101 "));
    assert_eq!(client.exactly(5), b"first");
    client.send("more");
    assert_eq!(client.exactly(4), b"more");
    assert!(client.is_over());
}

/// Octets that tell where they are.
fn octets(length: usize) -> Vec<u8> {
    (0..length).map(|place| (place % 251) as u8).collect()
}

/// Each length below and above what is put together, read at once, and held, both ways, plain and inside TLS.
#[test]
fn bodies_of_any_length_pass_unchanged() {
    let files = Files::new();
    let upstream = Upstream::doing(|mut client| {
        while let Some(head) = client.head() {
            let (body, _) = client.body(&head);
            if field(&head, "content-length").is_some() {
                client.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()));
                client.send(&body);
                continue;
            }
            client.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(40_000) {
                client.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            client.send("0\r\n\r\n");
        }
    });
    let route = format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n", upstream.address);
    let behind = Gateway::listening(&files.listen(), &route);
    let secure = Gateway::with(&format!(
        "[limits]\nconnect_timeout = \"30s\"\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"https://localhost:{}\"]\n{}",
        behind.address.port(),
        files.authority()
    ));
    for gateway in [&Gateway::with(&route), &secure] {
        let mut client = gateway.client();
        for length in [1, 2047, 2048, 2049, 16_383, 16_384, 16_385, 65_536, 1_000_000] {
            let body = octets(length);
            client.send(format!("POST / HTTP/1.1\r\nHost: api.example.com\r\nContent-Length: {length}\r\n\r\n"));
            client.send(&body);
            assert!(client.answer().body == body, "{length} octets");
            client.send("POST / HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(30_000) {
                client.send([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            client.send("0\r\n\r\n");
            assert!(client.answer().body == body, "{length} octets in chunks");
        }
    }
    assert_eq!(upstream.connections(), 2);
}

/// The upload ends in the middle, while the upstream says nothing.
#[test]
fn a_body_that_breaks_off_ends_the_exchange() {
    let (ended, ends) = mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        client.head();
        client.read_out();
        ended.send(()).unwrap();
    });
    let gateway = Gateway::open(upstream.address, "");
    for (begun, status) in [
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", None),
        ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nxyz\r\n", Some(400)),
        ("Content-Length: 10\r\n\r\nhello", None),
    ] {
        let mut client = gateway.client();
        client.send(format!("POST / HTTP/1.1\r\nHost: a\r\n{begun}"));
        match status {
            Some(status) => assert_eq!(client.answer().status, status, "{begun:?}"),
            None => drop(client),
        }
        ends.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("{begun:?}: the upstream still waits"));
    }
}

/// Inside TLS there is more to read than octets of HTTP, at rest too.
#[test]
fn a_connection_inside_tls_that_was_ended_at_rest_is_no_error() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let route = format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n", upstream.address);
    let behind = Gateway::listening(&files.listen(), &format!("[limits]\nidle_timeout = \"100ms\"\n{route}"));
    let secure = Gateway::with(&format!(
        "[limits]\nconnect_timeout = \"30s\"\n\
         [[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"https://localhost:{}\"]\n{}",
        behind.address.port(),
        files.authority()
    ));
    for _ in 0..3 {
        for _ in 0..5 {
            assert_eq!(secure.answer("GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n").status, 200);
        }
        // The one behind ends connections that have rested so long, and the gateway looks itself only every second: the next request
        // must not go out on such a one.
        std::thread::sleep(Duration::from_millis(400));
    }
}
