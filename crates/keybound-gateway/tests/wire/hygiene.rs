//! Requests that must not get to anybody: what they get instead, octet by octet.

use crate::support::{Gateway, Upstream};

/// R-URI-10, R-SEC-17: each fault alone, with its status, its reason if it is ours, and that the connection ends.
#[test]
fn ambiguous_requests_are_refused_and_the_connection_ends() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let cases: &[(&str, &str, u16, &str)] = &[
        ("no host", "GET / HTTP/1.1\r\n\r\n", 400, "host.invalid"),
        ("no host in 1.0", "GET / HTTP/1.0\r\n\r\n", 400, "host.invalid"),
        ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400, "host.invalid"),
        ("one host twice", "GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n\r\n", 400, "host.invalid"),
        ("empty host", "GET / HTTP/1.1\r\nHost:\r\n\r\n", 400, "host.invalid"),
        ("list of hosts", "GET / HTTP/1.1\r\nHost: a, b\r\n\r\n", 400, "host.invalid"),
        ("host with a path", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, "host.invalid"),
        ("host with user information", "GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, "host.invalid"),
        ("host with a bad port", "GET / HTTP/1.1\r\nHost: a:99999\r\n\r\n", 400, "host.invalid"),
        ("host with a space", "GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400, "host.invalid"),
        ("target of another host", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host.invalid"),
        ("target of another port", "GET http://a:81/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host.invalid"),
        ("target with user information", "GET http://x@a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "host.invalid"),
        ("target of another scheme", "GET ftp://a/ HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target.invalid"),
        ("target that is an authority", "GET a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 400, "target.invalid"),
        ("asterisk", "GET * HTTP/1.1\r\nHost: a\r\n\r\n", 400, "target.invalid"),
        ("connect", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n", 405, "method.refused"),
        ("trace", "TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405, "method.refused"),
        (
            "length before encoding",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing.ambiguous",
        ),
        (
            "length after encoding",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
            400,
            "framing.ambiguous",
        ),
        (
            "length and encoding with bare line ends",
            "POST / HTTP/1.1\nHost: a\nTransfer-Encoding: chunked\nContent-Length: 5\n\n0\n\n",
            400,
            "framing.ambiguous",
        ),
        (
            "two lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
            400,
            "framing.ambiguous",
        ),
        (
            "list of lengths",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5, 6\r\n\r\nhello",
            400,
            "request.malformed",
        ),
        ("signed length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +5\r\n\r\nhello", 400, "request.malformed"),
        ("negative length", "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\nhello", 400, "request.malformed"),
        (
            "huge length",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
            400,
            "request.malformed",
        ),
        (
            "encoding in 1.0",
            "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "request.malformed",
        ),
        (
            "encoding not chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n",
            400,
            "request.malformed",
        ),
        (
            "chunked not last",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n",
            400,
            "request.malformed",
        ),
        (
            "another coding too",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing.ambiguous",
        ),
        (
            "chunked twice",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing.ambiguous",
        ),
        (
            "chunked in two lines",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            400,
            "framing.ambiguous",
        ),
        (
            "almost chunked",
            "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
            400,
            "request.malformed",
        ),
        (
            "space before colon",
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length : 5\r\n\r\nhello",
            400,
            "request.malformed",
        ),
        ("folded field", "GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n", 400, "request.malformed"),
        ("control character", "GET / HTTP/1.1\r\nHost: a\r\nX: a\x01b\r\n\r\n", 400, "request.malformed"),
        ("bare carriage return", "GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n\r\n", 400, "request.malformed"),
        ("space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n", 400, "request.malformed"),
        ("unknown version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", 400, "request.malformed"),
        ("no HTTP", "\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400, "request.malformed"),
    ];
    for (name, request, status, reason) in cases {
        let mut client = gateway.client();
        client.send(request);
        let answer = client.answer();
        assert_eq!((answer.status, answer.reason().as_str()), (*status, *reason), "{name}: {answer:?}");
        assert_eq!(answer.field("connection"), Some("close"), "{name}");
        assert_eq!(answer.field("content-type"), Some("application/json"), "{name}");
        // RFC 9110 section 15.5.6
        assert_eq!(answer.field("allow").is_some(), *status == 405, "{name}: {answer:?}");
        assert!(answer.field("date").is_some(), "{name}: {answer:?}");
        assert!(client.is_over(), "{name}: the connection goes on");
    }
    assert_eq!(upstream.connections(), 0);
}

/// What is unusual and right goes through.
#[test]
fn odd_but_sound_requests_pass() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let cases: &[(&str, &str, &str)] = &[
        ("absolute target", "GET http://a/x?y HTTP/1.1\r\nHost: A\r\n\r\n", "GET /x?y HTTP/1.1\r\n"),
        ("absolute target without a path", "GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\n"),
        ("absolute target with a query alone", "GET http://a?x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /?x HTTP/1.1\r\n"),
        ("HTTP/1.0 with host", "GET /x HTTP/1.0\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\n"),
        ("empty line first", "\r\nGET /x HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x HTTP/1.1\r\n"),
        ("address and port", "GET /x HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n", "GET /x HTTP/1.1\r\n"),
        ("encoded path", "GET /a%2Fb//c/../%7e HTTP/1.1\r\nHost: a\r\n\r\n", "GET /a%2Fb//c/../%7e HTTP/1.1\r\n"),
        (
            "length twice the same",
            "POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "POST /x HTTP/1.1\r\n",
        ),
        (
            "chunked",
            "POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "POST /x HTTP/1.1\r\n",
        ),
    ];
    for (name, request, begins) in cases {
        let answer = gateway.answer(request);
        assert_eq!(answer.status, 200, "{name}: {answer:?}");
        assert!(answer.text().starts_with(begins), "{name}: {}", answer.text());
    }
}

/// A refused request with a second one glued to it: the second is not answered, nor does it reach anybody.
#[test]
fn nothing_is_smuggled_behind_a_refused_request() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send(
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 44\r\nTransfer-Encoding: chunked\r\n\r\n\
         0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().reason(), "framing.ambiguous");
    assert!(client.is_over());
    assert_eq!(upstream.connections(), 0);
}

/// Of a request that came in one read with the one before it, the framing is not seen. It is read by its chunks alone, and
/// nothing behind it is read at all.
#[test]
fn nothing_is_smuggled_behind_an_earlier_request() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send(
        "GET /first HTTP/1.1\r\nHost: a\r\n\r\n\
         POST /second HTTP/1.1\r\nHost: a\r\nContent-Length: 40\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\
         GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    );
    assert_eq!(client.answer().status, 200);
    let second = client.answer();
    assert!(!second.text().to_ascii_lowercase().contains("content-length"), "{}", second.text());
    assert_eq!((second.status, second.field("connection")), (200, Some("close")));
    assert!(client.is_over());

    // One after the other, each is seen.
    let mut client = gateway.client();
    for _ in 0..3 {
        client.send("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n");
        assert_eq!(client.answer().status, 200);
    }
}

/// Two plain requests in one write are two requests.
#[test]
fn requests_in_one_write_are_answered_in_order() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    client.send("GET /one HTTP/1.1\r\nHost: a\r\n\r\nPOST /two HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi");
    assert!(client.answer().text().starts_with("GET /one "));
    assert!(client.answer().text().starts_with("POST /two "));
}

/// R-SEC-12: the bounds on a header.
#[test]
fn a_header_is_bounded() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "header_bytes = \"8KiB\"\nheader_fields = 20");
    let long = |length: usize| format!("GET / HTTP/1.1\r\nHost: a\r\nX: {}\r\n\r\n", "x".repeat(length));
    assert_eq!(gateway.answer(long(7_000)).status, 200);
    let refused = |request: String, reason: &str, limit: &str| {
        let answer = gateway.answer(request);
        assert_eq!((answer.status, answer.reason().as_str()), (431, reason), "{answer:?}");
        assert!(answer.text().contains(&format!("\"limit\":\"{limit}\"")), "{answer:?}");
    };
    refused(long(9_000), "header.oversized", "limits.header_bytes");
    refused(long(70_000), "header.oversized", "limits.header_bytes");
    let many = |count: usize| {
        let fields: String = (0..count).map(|number| format!("X{number}: x\r\n")).collect();
        format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n")
    };
    assert_eq!(gateway.answer(many(19)).status, 200);
    refused(many(20), "header.crowded", "limits.header_fields");
}

/// Behind a request that is answered comes what is none: on the same connection, in the same write or later.
#[test]
fn octets_that_are_no_request_are_answered_after_one_that_is() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    const GOOD: &str = "GET /one HTTP/1.1\r\nHost: a\r\n\r\n";
    for at_once in [true, false] {
        let mut client = gateway.client();
        client.send(if at_once { GOOD.to_owned() + "no HTTP\r\n\r\n" } else { GOOD.to_owned() });
        assert!(client.answer().text().starts_with("GET /one "));
        if !at_once {
            client.send("no HTTP\r\n\r\n");
        }
        let answer = client.answer();
        assert_eq!((answer.status, answer.reason().as_str()), (400, "request.malformed"), "{at_once}");
        assert!(client.is_over());
    }
}

/// An upstream's answer is the upstream's, even if it looks like one of the library.
#[test]
fn a_bare_400_of_an_upstream_stays_as_it_is() {
    let upstream = Upstream::doing(|mut client| {
        while client.head().is_some() {
            client.send("HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n");
        }
    });
    let gateway = Gateway::open(upstream.address, "");
    let mut client = gateway.client();
    for connection in ["keep-alive", "keep-alive", "close"] {
        client.send(format!("GET / HTTP/1.1\r\nHost: a\r\nConnection: {connection}\r\n\r\n"));
        let answer = client.answer();
        assert_eq!((answer.status, answer.text().as_str()), (400, ""));
    }
    assert!(client.is_over());
}
