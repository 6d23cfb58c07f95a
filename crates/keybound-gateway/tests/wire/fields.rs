//! Which fields the upstream sees, and which the client sees.

use crate::support::{Gateway, Upstream, field};

fn vouched(upstream: &Upstream, route: &str) -> Gateway {
    Gateway::with(&format!("[[route]]\npath = \"/\"\nupstream = [\"http://{}\"]\n{route}", upstream.address))
}

/// What the upstream saw of a request with these fields.
fn seen(gateway: &Gateway, fields: &str) -> String {
    let answer = gateway.answer(format!("GET /x HTTP/1.1\r\nHost: api.example.com\r\n{fields}\r\n"));
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.text().to_ascii_lowercase()
}

// R-RS-33: in every spelling that some upstream reads as ours, and whether the route vouches for the caller or not.
#[test]
fn no_client_sets_an_identity() {
    let upstream = Upstream::echo();
    let spellings = [
        "Keybound-Subject: eve\r\n",
        "KEYBOUND-SUBJECT: eve\r\n",
        "KEYBOUND_SUBJECT: eve\r\n",
        "keybound_subject: eve\r\n",
        "Keybound_Subject: eve\r\n",
        "keybound-Jkt: eve\r\nkeybound-jkt: eve2\r\n",
        "Keybound-Whatever: eve\r\n",
        "Keybound-: eve\r\n",
        "Keybound-Subject: eve\r\nConnection: keybound-subject\r\n",
        "Connection: keybound-subject\r\n",
        "Connection: close, Keybound-Subject, keybound_client\r\nKeybound_Client: eve\r\n",
    ];
    for mode in ["open", "required"] {
        let gateway = vouched(&upstream, &format!("mode = \"{mode}\""));
        for spelling in spellings {
            let seen = seen(&gateway, spelling);
            assert!(!seen.contains("eve"), "{mode} {spelling:?}: {seen}");
            assert_eq!(
                field(&seen, "keybound-subject"),
                (mode == "required").then_some("alice%20smith"),
                "{spelling:?}"
            );
            assert_eq!(field(&seen, "keybound-jkt"), (mode == "required").then_some("thumb"));
            assert_eq!(field(&seen, "keybound-scope"), (mode == "required").then_some("a b"));
        }
    }
}

#[test]
fn credentials_go_as_the_route_says() {
    let upstream = Upstream::echo();
    let fields = "Authorization: DPoP tok.en\r\nDPoP: pro.o.f\r\n";
    let cases: &[(&str, Option<&str>, Option<&str>)] = &[
        ("", None, None),
        ("upstream_authorization = \"strip\"", None, None),
        ("upstream_authorization = \"pass\"", Some("dpop tok.en"), None),
        ("upstream_authorization = \"bearer\"", Some("bearer tok.en"), None),
        ("upstream_authorization = \"pass\"\nproof = \"check\"", Some("dpop tok.en"), Some("pro.o.f")),
        ("mode = \"open\"", Some("dpop tok.en"), Some("pro.o.f")),
    ];
    for (route, authorization, proof) in cases {
        let seen = seen(&vouched(&upstream, route), fields);
        assert_eq!(field(&seen, "authorization"), *authorization, "{route}");
        assert_eq!(field(&seen, "dpop"), *proof, "{route}");
    }
}

#[test]
fn fields_of_one_hop_stay_there() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    for (fields, gone, kept) in [
        ("Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n", "keep-alive", "host: api.example.com"),
        ("Connection: X-Secret, close\r\nX-Secret: 1\r\n", "x-secret", "host: api.example.com"),
        ("Connection: X-One\r\nConnection: x-two\r\nX-One: 1\r\nX-Two: 2\r\n", "x-two", "host: api.example.com"),
        ("Connection: host\r\n", "connection", "host: api.example.com"),
        ("Proxy-Connection: keep-alive\r\n", "proxy-connection", "host"),
        ("Proxy-Authorization: Basic YTpi\r\n", "proxy-authorization", "host"),
        ("TE: gzip\r\n", "te:", "host"),
        ("TE: trailers\r\nConnection: te\r\n", "gzip", "te: trailers"),
        (
            "Upgrade: h2c\r\nConnection: upgrade, http2-settings\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n",
            "upgrade",
            "host",
        ),
        ("Upgrade: foo\r\nConnection: upgrade\r\n", "upgrade", "host"),
        ("Expect: 100-continue\r\n", "expect", "host"),
        ("X-Mine: 1\r\n", "connection", "x-mine: 1"),
    ] {
        let seen = seen(&gateway, fields);
        let names: Vec<&str> = seen.lines().filter(|line| line.starts_with(gone)).collect();
        assert!(names.is_empty(), "{fields:?}: {seen}");
        assert!(seen.contains(kept), "{fields:?}: {seen}");
    }
}

// R-URI-09: what a stranger says of the way it came counts for nothing.
#[test]
fn forwarded_fields_are_ours() {
    let upstream = Upstream::echo();
    let lies = "X-Forwarded-For: 1.2.3.4\r\nX_Forwarded_For: 1.2.3.4\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: http\r\n\
                X-Forwarded-Port: 1\r\nX-Real-IP: 1.2.3.4\r\nForwarded: for=1.2.3.4;host=evil.example\r\n";
    let seen_of_stranger = seen(&Gateway::open(upstream.address, ""), lies);
    assert!(!seen_of_stranger.contains("1.2.3.4") && !seen_of_stranger.contains("evil"), "{seen_of_stranger}");
    for (name, expected) in [
        ("x-forwarded-for", "127.0.0.1"),
        ("x-forwarded-host", "api.example.com"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "for=127.0.0.1;host=\"api.example.com\";proto=https"),
    ] {
        assert_eq!(field(&seen_of_stranger, name), Some(expected), "{name}");
    }
}

// R-URI-09: what a declared proxy says of the way before it stays, in front of our own.
#[test]
fn forwarded_fields_of_a_trusted_peer_go_on() {
    let upstream = Upstream::echo();
    let gateway = Gateway::listening(
        "trusted_peers = [\"127.0.0.1\"]",
        &format!("[[route]]\npath = \"/\"\nmode = \"open\"\nupstream = [\"http://{}\"]", upstream.address),
    );
    let ours = "for=127.0.0.1;host=\"api.example.com\";proto=https";
    for (said, forwarded, x_forwarded_for) in [
        ("", ours.to_owned(), "127.0.0.1"),
        (
            "Forwarded: for=192.0.2.1;proto=http\r\nForwarded: for=\"[2001:db8::1]:80\", for=_hidden\r\n",
            format!("for=192.0.2.1;proto=http, for=\"[2001:db8::1]:80\", for=_hidden, {ours}"),
            "127.0.0.1",
        ),
        (
            "X-Forwarded-For: 192.0.2.1, 192.0.2.2\r\nX-Forwarded-For: 2001:db8::1\r\n",
            ours.to_owned(),
            "192.0.2.1, 192.0.2.2, 2001:db8::1, 127.0.0.1",
        ),
    ] {
        let request = format!("GET / HTTP/1.1\r\nHost: a\r\nX-Forwarded-Proto: http\r\n{said}\r\n");
        let seen = gateway.answer(request).text().to_lowercase();
        assert_eq!(field(&seen, "forwarded"), Some(&*forwarded), "{said}: {seen}");
        assert_eq!(field(&seen, "x-forwarded-for"), Some(x_forwarded_for), "{said}: {seen}");
        assert_eq!(field(&seen, "x-forwarded-proto"), Some("https"), "{said}: {seen}");
    }
}

#[test]
fn responses_lose_what_was_meant_for_us() {
    let cases: &[(&str, &[&str], &[&str])] = &[
        (
            "Content-Length: 2\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-End: 1\r\n\r\nhi",
            &["x-hop"],
            &["x-end", "content-length"],
        ),
        (
            "Content-Length: 2\r\nKeep-Alive: timeout=5\r\nProxy-Authenticate: x\r\n\r\nhi",
            &["keep-alive", "proxy-authenticate"],
            &[],
        ),
        (
            "Transfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            &["content-length"],
            &["transfer-encoding"],
        ),
        (
            "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            &["content-length"],
            &["transfer-encoding"],
        ),
        ("Upgrade: h2c\r\nContent-Length: 2\r\n\r\nhi", &["upgrade"], &[]),
    ];
    for (response, gone, kept) in cases {
        let upstream = Upstream::saying(format!("HTTP/1.1 200 OK\r\n{response}"));
        let answer = Gateway::open(upstream.address, "").answer("GET / HTTP/1.1\r\nHost: a\r\n\r\n");
        assert_eq!((answer.status, answer.text().as_str()), (200, "hi"), "{response:?}: {answer:?}");
        gone.iter().for_each(|name| assert_eq!(answer.field(name), None, "{response:?}: {answer:?}"));
        kept.iter().for_each(|name| assert!(answer.field(name).is_some(), "{response:?}: {answer:?}"));
    }
}

#[test]
fn trailers_pass_without_what_only_a_header_may_say() {
    let upstream = Upstream::echo();
    let gateway = Gateway::open(upstream.address, "");
    let answer = gateway.answer(
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\
         Trailer: X-Sum, Keybound-Subject, keybound_jkt, Authorization, DPoP, Content-Type, Set-Cookie\r\n\r\n\
         2\r\nhi\r\n0\r\nX-Sum: 7\r\nX-Unannounced: 8\r\nKeybound-Subject: eve\r\nKEYBOUND_JKT: eve\r\nAuthorization: eve\r\n\
         DPoP: eve\r\nContent-Type: text/eve\r\nSet-Cookie: eve\r\n\r\n",
    );
    let (_, after) =
        answer.text().to_ascii_lowercase().split_once("\r\n\r\n").map(|(h, b)| (h.to_owned(), b.to_owned())).unwrap();
    assert_eq!(after, "hi\nx-sum: 7");
}
