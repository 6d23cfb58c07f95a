//! The PROXY protocol: whose connection it is, and what comes of a proxy that does not say.

use std::io::Write as _;
use std::time::{Duration, Instant};

use rustls::version::TLS13;

use crate::support::{Gateway, Upstream, field};
use crate::tls::{Files, last_answer};

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-For: 203.0.113.9\r\nConnection: close\r\n\r\n";

fn behind(upstream: &Upstream, listen: &str, limits: &str) -> Gateway {
    let listen = format!("proxy_protocol_peers = [\"127.0.0.1\"]\n{listen}");
    let route = format!(
        "[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]\n[limits]\n{limits}",
        upstream.address
    );
    Gateway::listening(&listen, &route)
}

/// Version 2, for a client of IPv4.
fn block(client: [u8; 4]) -> Vec<u8> {
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &client[..], &[127, 0, 0, 1, 0x30, 0x39, 0, 80]].concat()
}

// R-URI-09: trust goes by the address that the header names.
#[test]
fn the_client_is_who_the_header_names() {
    let upstream = Upstream::echo();
    let gateway = behind(&upstream, "trusted_peers = [\"198.51.100.0/24\"]", "");
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n".to_vec(), "192.0.2.1"),
        (b"PROXY TCP6 2001:db8::1 ::1 5000 80\r\n".to_vec(), "2001:db8::1"),
        (block([192, 0, 2, 1]), "192.0.2.1"),
        (b"PROXY TCP4 198.51.100.7 127.0.0.1 5000 80\r\n".to_vec(), "203.0.113.9, 198.51.100.7"),
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec(), "127.0.0.1"),
    ] {
        // In one write, and octet by octet.
        let request = [&header[..], GET.as_bytes()].concat();
        let answer = gateway.answer(&request).text().to_lowercase();
        assert_eq!(field(&answer, "x-forwarded-for"), Some(expected), "{answer}");
        let mut client = gateway.client();
        request.iter().for_each(|octet| client.send([*octet]));
        assert_eq!(field(&client.answer().text().to_lowercase(), "x-forwarded-for"), Some(expected));
    }
}

// R-SEC-01: plain http is for loopback, and for those that a declared proxy has ended TLS for.
#[test]
fn from_elsewhere_without_tls_is_refused() {
    let upstream = Upstream::echo();
    let listen = "address = \"0.0.0.0:0\"\ntrusted_peers = [\"198.51.100.0/24\"]";
    let gateway = behind(&upstream, listen, "");
    for (client, status) in [("127.0.0.1", 200), ("198.51.100.7", 200), ("192.0.2.1", 400), ("10.0.0.7", 400)] {
        let answer = gateway.answer(format!("PROXY TCP4 {client} 127.0.0.1 5000 80\r\n{GET}"));
        assert_eq!(answer.status, status, "{client}: {answer:?}");
        assert_eq!(answer.text().contains("tls.required"), status == 400, "{client}: {answer:?}");
    }
}

/// Nobody else may say so: to others it is no HTTP.
#[test]
fn only_declared_peers_are_believed() {
    let upstream = Upstream::echo();
    let gateway = Gateway::listening(
        "proxy_protocol_peers = [\"192.0.2.1\"]",
        &format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]", upstream.address),
    );
    let answer = gateway.answer(format!("PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n{GET}"));
    assert_eq!(answer.status, 400);
    assert_eq!(gateway.answer(GET).status, 200);
}

#[test]
fn without_a_header_the_connection_is_closed() {
    let upstream = Upstream::echo();
    let gateway = behind(&upstream, "", "handshake_timeout = \"200ms\"");
    let long = format!("PROXY TCP4 {}\r\n", "1".repeat(200));
    for said in [
        GET.as_bytes(),
        b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\n",
        b"PROXY TCP4 eve 127.0.0.1 5000 80\r\n",
        long.as_bytes(),
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
        b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c",
        // What stops inside is cut off in time.
        b"",
        b"PROXY TCP4 192",
        b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\0",
    ] {
        let mut client = gateway.client();
        let began = Instant::now();
        client.send(said);
        assert!(client.is_over(), "{:?}", String::from_utf8_lossy(said));
        // By itself it would take ten.
        assert!(began.elapsed() < Duration::from_secs(9));
    }
    assert_eq!(upstream.connections(), 0);
}

// R-URI-09, RFC 7239 section 6: an address of IPv6 is in brackets, and quoted.
#[test]
fn forwarded_names_the_client_of_the_header() {
    let upstream = Upstream::echo();
    let gateway = behind(&upstream, "", "");
    for (header, node) in [
        ("PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n", "192.0.2.1"),
        ("PROXY TCP6 2001:db8::1 ::1 5000 80\r\n", "\"[2001:db8::1]\""),
        ("PROXY TCP6 ::ffff:192.0.2.1 ::1 5000 80\r\n", "192.0.2.1"),
    ] {
        let seen = gateway.answer(format!("{header}{GET}")).text().to_lowercase();
        let expected = format!("for={node};host=\"api.example.com\";proto=https");
        assert_eq!(field(&seen, "forwarded"), Some(&*expected), "{seen}");
    }
}

/// Whoever passes TLS on without looking inside says before it whose it is; so nothing else may come first.
#[test]
fn it_comes_before_tls() {
    let (files, upstream) = (Files::new(), Upstream::echo());
    let gateway = behind(&upstream, &files.listen(), "");
    for (header, client) in [
        (b"PROXY TCP4 192.0.2.1 127.0.0.1 5000 80\r\n".to_vec(), "192.0.2.1"),
        (block([198, 51, 100, 7]), "198.51.100.7"),
    ] {
        let mut stream = gateway.client().stream;
        stream.write_all(&header).unwrap();
        let mut secure = files.connect_over(stream, files.client(&[&TLS13], &["http/1.1"])).unwrap();
        let seen = last_answer(&mut secure, GET).to_lowercase();
        let (_, seen) = seen.split_once("\r\n\r\n").expect("an answer");
        assert_eq!(field(seen, "x-forwarded-for"), Some(client), "{seen}");
    }
    let mut client = gateway.client();
    // The beginning of a handshake.
    client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\0\0\0");
    assert!(client.is_over());
}

/// And before HTTP/2.
#[test]
fn it_comes_before_http2() {
    let upstream = Upstream::echo();
    let gateway = behind(&upstream, "", "idle_timeout = \"200ms\"");
    let mut client = gateway.client();
    let get = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0\0\0\x06\x01\x05\0\0\0\x01\x82\x86\x84\x41\x01a";
    client.send([&block([192, 0, 2, 1])[..], get].concat());
    let seen = client.read_out();
    assert!(String::from_utf8_lossy(&seen).to_lowercase().contains("x-forwarded-for: 192.0.2.1"));
}
