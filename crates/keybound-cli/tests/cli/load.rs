//! `keybound load` against the self-contained default.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use crate::support::{Place, Said, Service, after};

struct Api {
    place: Place,
    /// Stopped when this is dropped.
    _service: Service,
    secret: String,
    base: String,
}

impl Api {
    fn start() -> Self {
        let place = Place::new();
        let mut service = place.start(&["serve", "--listen", "127.0.0.1:0"]);
        let export = service.line("export KEYBOUND_CLIENT_SECRET=");
        let base = format!("http://{}", service.address());
        let secret = after(&export, "export KEYBOUND_CLIENT_SECRET=").to_owned();
        Self { place, _service: service, secret, base }
    }

    fn load(&self, args: &[&str]) -> Said {
        self.place.run(&[&["load", &format!("{}/hello", self.base)], args].concat())
    }

    /// As the client `demo`.
    fn load_with_tokens(&self, args: &[&str]) -> Said {
        let issuer = format!("{}/issuer", self.base);
        let access = ["load", &format!("{}/hello", self.base), "--issuer", &issuer, "--client-id", "demo"];
        self.place.run_with(&[("KEYBOUND_CLIENT_SECRET", &self.secret)], &[&access[..], args].concat())
    }
}

#[test]
fn tokens_are_got_and_every_answer_is_a_success() {
    let api = Api::start();
    let said = api.load_with_tokens(&["--keys", "3", "-n", "300", "--json"]);
    said.good();
    let report = said.json();
    assert_eq!(report["answers"], 300);
    assert_eq!(report["statuses"]["200"], 300);
    assert_eq!(report["good"], true);
    assert!(report["latency"]["p99"].as_f64().unwrap() > 0.0);
    assert_eq!(api.place.run(&["key", "list", "--json"]).json().as_array().map(Vec::len), Some(0), "none is kept");

    let said = api.load_with_tokens(&["--rate", "100", "-t", "1", "--warm-up", "0"]);
    assert!(said.good().contains("of 100 asked for") && said.stdout.contains("p99.9"), "{said:?}");
    assert_eq!(said.stderr, "", "there is no line of progress where there is no terminal");
}

#[test]
fn refusals_are_counted_by_reason() {
    let api = Api::start();
    let said = api.load(&["--scheme", "none", "-n", "50", "--json"]);
    assert_eq!((said.status, &said.json()["reasons"]["credentials.missing"]), (1, &50.into()), "{said:?}");
    let said = api.load_with_tokens(&["--scheme", "bearer", "-n", "50", "--json"]);
    assert_eq!((said.status, &said.json()["reasons"]["token.downgrade"]), (1, &50.into()), "{said:?}");
}

#[test]
fn interrupted_it_prints_what_there_is() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let words = ["load", "--scheme", "none", "-c", "1", "-t", "600", "--warm-up", "0", &url];
    let mut running = place.start(&words);
    let (mut stream, _) = server.accept().unwrap();
    answer(&mut stream).unwrap();
    answer(&mut stream).unwrap();
    running.signal("INT");
    // Whatever it sends until it has noticed.
    while answer(&mut stream).is_ok() {}
    let line = running.line("answers");
    let count: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(count >= 2, "{line}");
    assert_eq!(running.ended().code(), Some(0));
}

fn answer(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut seen = Vec::new();
    while !seen.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet)?;
        seen.extend(octet);
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
}

#[test]
fn what_cannot_be_done_is_told_with_its_status() {
    let place = Place::new();
    for (args, status, expected) in [
        (&["http://127.0.0.1:9/"][..], 2, "there is no token"),
        (&["--scheme", "none", "http://192.0.2.1/"], 2, "plain http is for loopback"),
        (&["--scheme", "none", "ftp://127.0.0.1/"], 2, "not an absolute http or https URL"),
        (&["--scheme", "none", "--rate", "0", "http://127.0.0.1:9/"], 2, "not a number above 0"),
        (&["--scheme", "none", "--connections", "0", "http://127.0.0.1:9/"], 2, "not a whole number above 0"),
        (&["--scheme", "none", "--duration", "1s", "http://127.0.0.1:9/"], 1, "cannot be reached"),
        (&["--scheme", "none", "--duration", "0s", "http://127.0.0.1:9/"], 2, "not a number of seconds above 0"),
        (&["--token", "t", "http://127.0.0.1:9/"], 2, "--token needs --key"),
        (&["--scheme", "none", "http://127.0.0.1:9/"], 1, "cannot be reached"),
    ] {
        let said = place.run(&[&["load"], args].concat());
        assert_eq!(said.status, status, "{said:?}");
        assert!(said.stderr.contains(expected), "{said:?}");
    }
}
