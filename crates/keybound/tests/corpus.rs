//! R-SEC-12: every parser on what fuzzing started from and what it found (`fuzz/corpus`), on the same with pieces cut out and
//! put in, and on any octets at all.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

#[path = "corpus/entries.rs"]
mod entries;

use std::fs;
use std::path::Path;

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
