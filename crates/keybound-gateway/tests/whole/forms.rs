//! Access tokens in forms are refused, on every route that checks anything, and forms stream.

use std::io::{self, Read as _, Write as _};
use std::sync::mpsc;
use std::time::Duration;

use http::Method;

use crate::scene::{Running, Scene, route};
use crate::support::{Answer, Client, Upstream};

const FORM: &str = "Content-Type: application/x-www-form-urlencoded\r\n";
const LONGEST: Duration = Duration::from_secs(30);

/// Posts `body` in pieces of this many octets, chunked.
fn post(gateway: &Running, fields: &str, body: &str, piece: usize) -> Answer {
    let mut client = Client::to(gateway.address);
    let head = "POST /orders HTTP/1.1\r\nHost: api.example.com\r\nTransfer-Encoding: chunked\r\n";
    client.send(format!("{head}{fields}\r\n"));
    let mut send_body = || -> io::Result<()> {
        for piece in body.as_bytes().chunks(piece) {
            client.stream.write_all(format!("{:x}\r\n", piece.len()).as_bytes())?;
            client.stream.write_all(piece)?;
            client.stream.write_all(b"\r\n")?;
        }
        client.stream.write_all(b"0\r\n\r\n")
    };
    // Whoever is refused before the end, and is slow, finds the connection closed; the answer was there before.
    let _ = send_body();
    client.answer()
}

// R-RS-10, R-RS-11, R-RS-06
#[test]
fn a_token_in_a_form_is_refused_however_it_is_written() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    let credentials = || scene.credentials(Method::POST, "/orders", Some(&nonce));
    let json = "Content-Type: application/json\r\n";
    for (fields, body, refused) in [
        (FORM.to_owned(), "a=1&b=2", false),
        (FORM.to_owned(), "", false),
        (json.to_owned(), "access_token=x", false),
        (String::new(), "access_token=x", false),
        (FORM.to_owned(), "a=access_token", false),
        (FORM.to_owned(), "access_token=x", true),
        (FORM.to_owned(), "a=1&access_token=x&b=2", true),
        (FORM.to_owned(), "a=1&access%5Ftoken=x", true),
        (FORM.to_owned(), "%61ccess_token=x", true),
        (FORM.to_owned(), "access_token", true),
        ("content-type:Application/X-WWW-Form-Urlencoded; charset=utf-8\r\n".to_owned(), "access_token=x", true),
        ([json, FORM].concat(), "access_token=x", true),
        ([FORM, json].concat(), "access_token=x", true),
    ] {
        for piece in [1, 5, 1000] {
            let answer = post(&gateway, &[&*fields, &*credentials()].concat(), body, piece);
            if !refused {
                assert_eq!(answer.status, 200, "{fields}{body}");
                assert!(answer.text().ends_with(body), "{fields}{body}: {}", answer.text());
                continue;
            }
            assert_eq!((answer.status, &*answer.reason()), (400, "credentials.repeated"), "{fields}{body}");
            assert!(answer.text().contains("\"error\":\"invalid_request\""), "{}", answer.text());
            let alone = post(&gateway, &fields, body, piece);
            assert_eq!((alone.status, &*alone.reason()), (400, "credentials.form"), "{fields}{body}");
        }
    }
}

#[test]
fn every_route_that_checks_anything_refuses_and_no_other() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for (settings, expected) in [
        ("mode = \"required\"", 400),
        ("mode = \"optional\"", 400),
        ("proof = \"check\"\nupstream_authorization = \"pass\"", 400),
        ("mode = \"report\"", 200),
        ("mode = \"open\"", 200),
    ] {
        let gateway = scene.gateway(&route("/", upstream.address, settings));
        let bearer = format!("Authorization: Bearer {}\r\n", scene.unbound_token());
        for credentials in ["", &bearer] {
            let answer = post(&gateway, &[FORM, credentials].concat(), "a=1&access_token=x", 4);
            assert_eq!(answer.status, expected, "{settings}");
            assert!(expected == 400 || answer.text().ends_with("a=1&access_token=x"), "{}", answer.text());
        }
    }
}

// What cannot be looked through does not go through.
#[test]
fn a_compressed_form_is_refused() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    for (mode, encoding, status) in [
        ("required", "gzip", 415),
        ("required", "Identity, br", 415),
        ("required", "Identity", 401),
        ("report", "gzip", 200),
        ("open", "gzip", 200),
    ] {
        let gateway = scene.gateway(&route("/", upstream.address, &format!("mode = \"{mode}\"")));
        let answer = post(&gateway, &format!("{FORM}Content-Encoding: {encoding}\r\n"), "a=1", 3);
        assert_eq!(answer.status, status, "{mode} {encoding}");
        assert_eq!(answer.reason() == "form.encoded", status == 415, "{mode} {encoding}");
    }
}

#[test]
fn the_connection_goes_on_behind_a_refused_form() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    let mut client = Client::to(gateway.address);
    let form = format!("POST /orders HTTP/1.1\r\nHost: a\r\n{FORM}Content-Length: 14\r\n\r\naccess_token=x");
    let get =
        format!("GET /orders HTTP/1.1\r\nHost: a\r\n{}\r\n", scene.credentials(Method::GET, "/orders", Some(&nonce)));
    client.send([&*form, &*get].concat());
    assert_eq!(client.answer().reason(), "credentials.form");
    assert_eq!(client.answer().status, 200);
}

#[test]
fn a_client_that_waits_to_send_is_told_to() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    for (body, expected) in [("access_token=x", 400), ("accepted_by=xy", 200)] {
        let mut client = Client::to(gateway.address);
        let credentials = scene.credentials(Method::POST, "/orders", Some(&nonce));
        let head = "POST /orders HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 14\r\n";
        client.send([head, FORM, &*credentials, "\r\n"].concat());
        assert!(client.head().unwrap().starts_with("HTTP/1.1 100"));
        client.send(body);
        assert_eq!(client.answer().status, expected, "{body}");
    }
}

#[test]
fn a_long_form_streams() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    let body = ["a=", &"x".repeat(1 << 20), "&b=access_token"].concat();
    let credentials = || scene.credentials(Method::POST, "/orders", Some(&nonce));
    let chunked = post(&gateway, &[FORM, &*credentials()].concat(), &body, 10_000);
    assert_eq!(chunked.status, 200);
    assert!(chunked.text().ends_with(&body));
    let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", body.len());
    let counted = gateway.send([&*head, FORM, &*credentials(), "\r\n", &*body].concat());
    assert_eq!(counted.status, 200);
    assert!(counted.text().ends_with(&body));
}

// R-RS-10: behind what is held back, a token breaks the request off before its name has gone through whole.
#[test]
fn a_token_far_behind_breaks_the_request_off() {
    let scene = Scene::new();
    let (seen, saw) = mpsc::channel();
    let upstream = Upstream::doing(move |mut client| {
        let mut octets = Vec::new();
        // However the connection ends.
        let _ = client.stream.read_to_end(&mut octets);
        seen.send(octets).unwrap();
    });
    let gateway = scene.gateway(&route("/", upstream.address, ""));
    let nonce = scene.nonce(&gateway, "/orders");
    let long = ["a=", &"x".repeat(100_000), "&"].concat();
    for (last, counted) in [("access_token=secret", true), ("access_token=secret", false), ("access%5Ftoken", true)] {
        let body = [&*long, last].concat();
        let credentials = scene.credentials(Method::POST, "/orders", Some(&nonce));
        let answer = if counted {
            let head = format!("POST /orders HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n", body.len());
            gateway.send([&*head, FORM, &*credentials, "\r\n", &*body].concat())
        } else {
            post(&gateway, &[FORM, &*credentials].concat(), &body, 10_000)
        };
        assert_eq!((answer.status, &*answer.reason()), (400, "credentials.repeated"), "{last}");
        let octets = String::from_utf8(saw.recv_timeout(LONGEST).unwrap()).unwrap();
        assert!(!octets.contains("secret") && !octets.contains(last), "{last} went through");
        assert!(!octets.ends_with("0\r\n\r\n"), "the body was ended as if it were whole");
    }
}
