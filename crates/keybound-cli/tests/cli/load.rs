//! `keybound load` against the self-contained default.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;

use crate::support::{PATIENCE, Place, Said, Service, after};

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

/// One that was got before, with the key that it is bound to.
#[test]
fn a_token_can_be_given() {
    let api = Api::start();
    let (issuer, url) = (format!("{}/issuer", api.base), format!("{}/hello", api.base));
    api.place.run(&["key", "new", "k"]).good();
    let access = ["token", "--issuer", &issuer, "--client-id", "demo", "--key", "k"];
    let token = api.place.run_with(&[("KEYBOUND_CLIENT_SECRET", &api.secret)], &access).good().trim_end().to_owned();
    for variables in [&[][..], &[("KEYBOUND_TOKEN", &*token)]] {
        let given = if variables.is_empty() { &["--token", &token][..] } else { &[] };
        let args = [&["load", &url, "--key", "k", "-n", "50", "--json"], given].concat();
        let said = api.place.run_with(variables, &args);
        said.good();
        assert_eq!(said.json()["statuses"]["200"], 50, "{said:?}");
    }
    // Of another key it is of no use.
    api.place.run(&["key", "new", "other"]).good();
    let said = api.load(&["--token", &token, "--key", "other", "-n", "50", "--json"]);
    assert_eq!((said.status, &said.json()["reasons"]["key.mismatch"]), (1, &50.into()), "{said:?}");
}

/// The same command with a terminal for its output, which comes from there.
fn on_a_terminal(command: &Command) -> Command {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    let words: Vec<String> = words.map(|word| format!("'{}'", word.to_str().unwrap())).collect();
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-f", "-c", &words.join(" "), "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::piped());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    terminal.current_dir(command.get_current_dir().unwrap()).env("TERM", "xterm");
    terminal
}

/// While it runs; then the line is gone.
#[test]
fn a_terminal_shows_how_far_it_is() {
    let place = Place::new();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let (go, going) = channel::<()>();
    thread::spawn(move || {
        let (mut stream, _) = server.accept().unwrap();
        (0..20).for_each(|_| answer(&mut stream).unwrap());
        going.recv().unwrap();
        (0..20).for_each(|_| answer(&mut stream).unwrap());
    });
    let command = place.command(&["load", "--scheme", "none", "-c", "1", "-n", "40", "-m", "600", &url]);
    let mut child = on_a_terminal(&command).spawn().expect("script, of util-linux, is a terminal");
    let mut output = child.stdout.take().unwrap();
    let (piece, pieces) = channel();
    thread::spawn(move || {
        let mut chunk = [0; 4096];
        while let Ok(length @ 1..) = output.read(&mut chunk) {
            let _ = piece.send(String::from_utf8_lossy(&chunk[..length]).into_owned());
        }
    });
    let mut shown = String::new();
    while !shown.contains(" 20 answers, ") {
        shown += &pieces.recv_timeout(PATIENCE).unwrap_or_else(|_| panic!("no line of progress: {shown:?}"));
    }
    go.send(()).unwrap();
    let mut rest = String::new();
    loop {
        match pieces.recv_timeout(PATIENCE) {
            Ok(piece) => rest += &piece,
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => panic!("it does not end: {rest:?}"),
        }
    }
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let (_, report) = rest.rsplit_once("\x1b[2K").expect("the line is cleared");
    assert!(report.contains("answers") && !report.contains("answers, "), "{report:?}");
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
