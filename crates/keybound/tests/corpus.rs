//! R-SEC-12: every parser on what fuzzing started from and what it found (`fuzz/corpus`), on the same with pieces cut out and
//! put in, and on any octets at all.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

#[path = "corpus/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;

use http::Request;
use keybound::challenge::parse_line;
use keybound::jws::json::Value;
use keybound::nonce::Nonce;
use keybound::refusal::Reason;
use keybound::request::{Presented, ProofField, RequestPath, TargetUri};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

fn corpus(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(name);
    let files = fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).unwrap()).collect()
}

#[test]
fn every_file_of_the_corpus_is_survived() {
    for (name, entry) in entries::ENTRIES {
        let files = corpus(name);
        assert!(files.len() >= 10, "{name}: {} files", files.len());
        files.iter().for_each(|file| entry(file));
    }
}

#[test]
fn pieces_of_the_corpus_are_survived() {
    for (name, entry) in entries::ENTRIES {
        let files = corpus(name);
        let cases = (0..files.len(), 0..files.len(), any::<u16>(), any::<u16>(), any::<u16>());
        TestRunner::default()
            .run(&cases, |(one, other, cut, from, to)| {
                let (one, other) = (&files[one], &files[other]);
                let within = |place: u16, whole: &Vec<u8>| usize::from(place) % (whole.len() + 1);
                let (from, to) = (within(from, other), within(to, other));
                let (head, tail) = one.split_at(within(cut, one));
                entry(&[head, &other[from.min(to)..from.max(to)], tail].concat());
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

#[test]
fn any_octets_are_survived() {
    for (name, entry) in entries::ENTRIES {
        let octets = prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..400),
            "[ -~\n]{0,200}".prop_map(String::into_bytes),
            "\\PC{0,100}".prop_map(String::into_bytes),
        ];
        TestRunner::default()
            .run(&octets, |octets| {
                entry(&octets);
                Ok(())
            })
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

// R-PRF-42, R-SEC-12: a mebibyte of anything is refused without being read, and deep nesting without a deep stack.
#[test]
fn a_mebibyte_is_refused() {
    const MEBIBYTE: usize = 1 << 20;
    let proof = ProofField::from_octets(&vec![b'a'; MEBIBYTE]).map(|_| ()).unwrap_err();
    assert_eq!(proof.reason(), Reason::ProofOversized);
    let credentials = format!("DPoP {}", "a".repeat(MEBIBYTE));
    let request = Request::get("/").header("authorization", credentials).header("dpop", "a.b.c");
    let (parts, ()) = request.body(()).unwrap().into_parts();
    let refusal = Presented::read(&parts, &"https://api.example.com".parse().unwrap()).map(drop).unwrap_err();
    assert_eq!(refusal.reason(), Reason::TokenOversized);
    for open in ["[", "{\"a\":", "[[{\"a\":["] {
        assert!(Value::parse(open.repeat(MEBIBYTE / open.len()).as_bytes()).is_err());
    }
    assert!(Value::parse(format!("[{}1]", "1,".repeat(MEBIBYTE / 2)).as_bytes()).is_err());
    assert!(TargetUri::parse(&format!("https://a/{}", "a/".repeat(MEBIBYTE / 2))).is_err());
    assert!(RequestPath::parse(&"/..".repeat(MEBIBYTE / 3)).is_err());
    assert!(parse_line(&"DPoP a=\"b\", ".repeat(MEBIBYTE / 12)).is_err());
    assert!(Nonce::parse(&"n".repeat(MEBIBYTE)).is_none());
}
