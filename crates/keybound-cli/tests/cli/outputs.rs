//! Output that nobody reads or that finds no room, and what is said on standard error.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, pipe};
use std::process::Stdio;

use crate::support::{Place, free_address, get};

const URL: &str = "https://api.example.com/orders";

/// Every command that ends by itself and asks no server, in a place where `k` is a key and `keybound.toml` a configuration.
const COMMANDS: [&[&str]; 21] = [
    &["--help"],
    &["--version"],
    &["help", "request"],
    &["config", "default"],
    &["config", "schema"],
    &["config", "check", "keybound.toml"],
    &["completions", "bash"],
    &["man"],
    &["man", "key", "new"],
    &["explain", "htu.mismatch"],
    &["explain", "--json", "htu.mismatch"],
    &["explain", "proof"],
    &["explain", "--json", "proof"],
    &["key", "list"],
    &["key", "list", "--json"],
    &["key", "show", "k"],
    &["key", "show", "k", "--private"],
    &["key", "thumbprint", "k"],
    &["proof", "--key", "k", URL],
    &["proof", "--header", "--key", "k", URL],
    &["demo"],
];

fn place() -> Place {
    let place = Place::new();
    place.run(&["key", "new", "k"]).good();
    let text = "[listen]\naddress = \"127.0.0.1:8080\"\n[[origin]]\nurl = \"http://127.0.0.1:8080\"\n[[route]]\npath = \
                \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\n[[issuer]]\nurl = \"https://id.example.com\"\naudience \
                = [\"https://api.example.com\"]\n";
    place.write("keybound.toml", text);
    place.run(&["config", "check", "keybound.toml"]).good();
    place
}

/// The status and what standard error holds.
fn run(place: &Place, args: &[&str], stdout: Stdio) -> (Option<i32>, String) {
    let done = place.command(args).stdout(stdout).stderr(Stdio::piped()).output().unwrap();
    (done.status.code(), String::from_utf8(done.stderr).unwrap())
}

fn unread() -> Stdio {
    let (reader, writer) = pipe().unwrap();
    drop(reader);
    writer.into()
}

fn full() -> Stdio {
    File::options().write(true).open("/dev/full").unwrap().into()
}

#[test]
fn a_pipe_that_nobody_reads_is_a_quiet_end() {
    let place = place();
    for args in COMMANDS {
        assert_eq!(run(&place, args, unread()), (Some(0), String::new()), "{args:?}");
    }
}

/// What is printed once is not lost in silence, not even where a pipe's other end is gone.
#[test]
fn a_secret_that_cannot_be_printed_is_missed() {
    let place = place();
    let store = ["--store", "sqlite:id.db", "--create"];
    for (name, to) in [("a", unread as fn() -> Stdio), ("b", full)] {
        let add = ["issuer", "client", "add", name, "--grant", "client_credentials"];
        let (status, said) = run(&place, &[&add[..], &store].concat(), to());
        assert!(status == Some(1) && said.contains(&format!("keybound issuer client secret {name}`")), "{said}");
        let (status, said) = run(&place, &[&["issuer", "user", "add", name, "--generate"], &store[..]].concat(), to());
        let again = format!("keybound issuer user password {name} --generate`");
        assert!(status == Some(1) && said.contains(&again), "{said}");
    }
}

#[test]
fn so_is_one_that_is_closed_after_its_first_octet() {
    let place = place();
    for args in COMMANDS {
        let mut child = place.command(args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let done = child.wait_with_output().unwrap();
        let stderr = String::from_utf8(done.stderr).unwrap();
        // What was written before the pipe was closed may have been the whole answer, and that a refusal.
        let refused = args[0] == "explain" && args.contains(&"proof");
        assert!(done.status.code() == Some(0) || refused && done.status.code() == Some(1), "{args:?}: {stderr}");
        assert_eq!(stderr, "", "{args:?}");
    }
}

/// As in front of `head`: what has nothing more to say ends all the same, and does not wait for something to happen.
#[test]
fn a_log_that_is_followed_by_nobody_ends() {
    let place = place();
    let store = ["--store", "sqlite:id.db"];
    let add = ["issuer", "client", "add", "a", "--grant", "client_credentials", "--create"];
    place.run(&[&add[..], &store].concat()).good();
    let (reader, writer) = pipe().unwrap();
    let mut following = place.start_into(&[&["issuer", "audit", "--follow"], &store[..]].concat(), writer.into());
    let mut lines = BufReader::new(reader);
    let mut first = String::new();
    lines.read_line(&mut first).unwrap();
    assert!(first.contains("client.registered"), "{first}");
    drop(lines);
    assert_eq!((following.ended().code(), following.said()), (Some(0), &[][..]));
}

#[test]
fn a_full_device_is_an_error() {
    let place = place();
    let expected = "error: standard output: No space left on device (os error 28)\n".to_owned();
    for args in COMMANDS {
        assert_eq!(run(&place, args, full()), (Some(1), expected.clone()), "{args:?}");
    }
}

#[test]
fn standard_error_may_go_unread() {
    let place = place();
    for args in [&["explain", ""][..], &["key", "show", "nobody"], &["request"]] {
        for stderr in [unread(), full()] {
            let status = place.command(args).stderr(stderr).status().unwrap();
            assert_eq!(status.code(), Some(2), "{args:?}");
        }
    }
}

#[test]
fn a_service_lives_on_when_its_announcement_is_lost() {
    let place = place();
    for command in ["serve", "issuer"] {
        for stdout in [unread(), full()] {
            let mut service = place.start_into(&[command, "--listen", "127.0.0.1:0"], stdout);
            service.line("what to try cannot be written");
            let answer = get(service.address(), "/elsewhere", "");
            assert!(answer.starts_with("HTTP/1.1 4"), "{command}: {answer}");
            assert_eq!(service.terminate(), Some(0), "{command}");
        }
    }
}

#[test]
fn a_service_stays_when_it_is_told_to_read_nothing_again() {
    let place = place();
    let address = free_address();
    place.write(
        "issuer.toml",
        &format!(
            "[listen]\naddress = \"{address}\"\n[authorization_server]\nurl = \"http://{address}\"\naudience = \
             [\"https://api.example.com\"]\n"
        ),
    );
    for (args, expected) in [
        (["serve", "--listen", "127.0.0.1:0"], "SIGHUP: there is no configuration file to read again"),
        (["issuer", "--listen", "127.0.0.1:0"], "SIGHUP: there is no configuration file to read again"),
        (["issuer", "--config", "issuer.toml"], "SIGHUP: the configuration is not read again while the issuer runs"),
    ] {
        let mut service = place.start(&args);
        let address = service.address();
        service.signal("HUP");
        service.line(expected);
        assert!(get(address, "/elsewhere", "").starts_with("HTTP/1.1 4"), "{args:?}");
        assert_eq!(service.terminate(), Some(0), "{args:?}");
    }
}

#[test]
fn a_filter_that_is_none_is_named() {
    let place = place();
    for (filter, expected) in [
        ("bogus,,=", "KEYBOUND_LOG is left aside, the level is info: \"bogus\" is not a level;"),
        ("info,keybound=loud", "KEYBOUND_LOG is left aside, the level is info: "),
        ("", ""),
        ("keybound=debug,warn", ""),
    ] {
        let said = place.run_with(&[("KEYBOUND_LOG", filter)], &["key", "list"]);
        said.good();
        assert!(said.stderr.contains(expected) && said.stderr.is_empty() == expected.is_empty(), "{said:?}");
    }
}

#[test]
fn help_begins_with_examples() {
    let place = Place::new();
    for args in [&["--help"][..], &["man"]] {
        let said = place.run(args);
        assert!(said.good().contains("keybound explain htu.mismatch"), "{said:?}");
    }
    let said = place.run(&["key", "new", "--help"]);
    assert!(
        said.good().contains("letters, digits, hyphens, underscores and dots, a letter or digit first"),
        "{said:?}"
    );
}
