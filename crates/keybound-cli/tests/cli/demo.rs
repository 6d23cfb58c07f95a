//! `keybound demo`: every attack for its own reason, and nothing left behind.

use std::fs;
use std::io::Read as _;
use std::net::TcpStream;

use crate::support::{PATIENCE, Place};

/// Attacks the tour must at least play, and the reason for each.
const ATTACKS: &[(&str, &str)] = &[
    ("token-as-bearer", "token.downgrade"),
    ("token-alone", "proof.missing"),
    ("thief-key", "key.mismatch"),
    ("proof-replayed", "replay.seen"),
    ("other-path", "htu.mismatch"),
    ("other-method", "htm.mismatch"),
    ("other-token", "ath.mismatch"),
    ("old-proof", "iat.past"),
    ("future-proof", "iat.future"),
    ("alg-none", "alg.forbidden"),
    ("hs256-public-key", "alg.forbidden"),
    ("private-key", "key.private"),
    ("two-proofs", "proof.repeated"),
    ("forwarded-host", "htu.mismatch"),
    ("small-order-key", "key.weak"),
    ("ahead-after-restart", "nonce.barrier"),
];

#[test]
fn every_attack_gets_its_reason() {
    let place = Place::new();
    let said = place.run(&["demo", "--json"]);
    let cases = said.json();
    let cases = cases.as_array().unwrap();
    let wrong: Vec<_> = cases.iter().filter(|case| case["ok"] != true).collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    assert_eq!(said.status, 0);
    assert_eq!(said.stderr, "");
    for case in cases {
        let mut names: Vec<_> = case.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["case", "error", "expected_reason", "kind", "ok", "reason", "status"]);
        let honest = case["kind"] == "honest";
        assert!(honest || case["kind"] == "attack", "{case}");
        assert_eq!(case["status"] == 200, honest, "{case}");
        assert_eq!(case["reason"], case["expected_reason"], "{case}");
        assert_eq!(case["reason"].is_null(), honest, "{case}");
    }
    let mut names: Vec<_> = cases.iter().map(|case| case["case"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert!(names.windows(2).all(|pair| pair[0] != pair[1]), "each case has a name of its own: {names:?}");
    for (case, reason) in ATTACKS {
        let found = cases.iter().find(|found| found["case"] == *case && found["reason"] == *reason);
        assert!(found.is_some(), "{case}");
    }
    // Honest requests pass between the attacks, and last of all, after the restart.
    let kinds: Vec<_> = cases.iter().map(|case| case["kind"] == "honest").collect();
    assert!(kinds[0] && *kinds.last().unwrap());
    assert!(kinds.iter().filter(|honest| **honest).count() >= 8);
    nothing_is_left(&place);
}

#[test]
fn people_read_what_was_tried_and_why_it_failed() {
    let place = Place::new();
    let said = place.run(&["demo"]);
    let text = said.good();
    assert!(text.starts_with("keybound demo: an issuer on http://127.0.0.1:"), "{text}");
    assert!(text.contains(
        "  refused  the token as a bearer token                            401  invalid_token       token.downgrade\n           \
         a token bound to a key was sent as a bearer token\n"
    ));
    assert!(text.contains("  passed   GET /hello with a proof for it                         200\n"), "{text}");
    assert!(text.contains("\nAll ") && text.contains(" attacks were refused, each for its own reason"), "{text}");
    assert!(!text.contains('\u{1b}'), "no colours where there is no terminal");
    nothing_is_left(&place);
}

#[test]
fn interrupted_it_takes_everything_with_it() {
    for signal in ["INT", "TERM"] {
        let place = Place::new();
        let mut demo = place.start(&["demo"]);
        demo.line("keybound demo: ");
        demo.signal(signal);
        assert_eq!(demo.ended().code(), Some(1));
        nothing_is_left(&place);
    }
}

/// Killed, it can clean up nothing; its processes end all the same.
#[test]
fn killed_it_takes_its_processes_with_it() {
    let place = Place::new();
    let mut demo = place.start(&["demo"]);
    let line = demo.line("keybound demo: ");
    let addresses = line.split("http://").skip(1).map(|rest| rest.split([',', ' ']).next().unwrap());
    let connections: Vec<TcpStream> = addresses.map(|address| TcpStream::connect(address).unwrap()).collect();
    assert_eq!(connections.len(), 2);
    demo.signal("KILL");
    for mut connection in connections {
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        // The end of a connection is the end of its process, or comes right before.
        assert!(matches!(connection.read(&mut [0; 64]), Ok(0) | Err(_)));
    }
    demo.ended();
}

/// Neither files nor processes.
fn nothing_is_left(place: &Place) {
    assert_eq!(fs::read_dir(place.tmp()).unwrap().count(), 0);
    assert_eq!(fs::read_dir(place.work()).unwrap().count(), 0);
    let Ok(processes) = fs::read_dir("/proc") else { return };
    let own = place.path().to_str().unwrap();
    for process in processes.flatten() {
        // Those that end meanwhile have none.
        let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
        assert!(!String::from_utf8_lossy(&words).contains(own), "{process:?}");
    }
}
