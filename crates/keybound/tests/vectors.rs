//! Judges every file of `vectors/accept` and `vectors/refuse`, and uses every file of `vectors/spec`.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

#[path = "vectors/judge.rs"]
mod judge;
#[path = "vectors/spec.rs"]
mod spec;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use keybound::refusal::Reason;
use serde_json::Value;

use self::judge::{Bench, Verdict};

/// What each vector has, and nothing else.
const MEMBERS: [&str; 12] =
    ["answer", "before", "expect", "now", "policy", "request", "rfc", "role", "rows", "title", "token", "why"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors")
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry of the folder").path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name().expect("a name").to_string_lossy().into_owned()
}

fn read(path: &Path) -> Value {
    let text = fs::read(path).expect("a vector is a file");
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Every vector with the folder it lies in: `admit` or a reason code.
fn vectors() -> Vec<(PathBuf, String, Value)> {
    let accept = entries(&root().join("accept")).into_iter().map(|path| (path, "admit".to_owned()));
    let refuse = entries(&root().join("refuse")).into_iter().flat_map(|folder| {
        let code = name(&folder);
        entries(&folder).into_iter().map(move |path| (path, code.clone()))
    });
    accept
        .chain(refuse)
        .map(|(path, code)| {
            let vector = read(&path);
            (path, code, vector)
        })
        .collect()
}

// R-PRF-41, R-RS-04, R-ERR-10, R-ERR-11, R-ERR-12: one thing is wrong, and that very thing is told.
#[test]
fn every_vector_is_judged_as_it_says() {
    let mut wrong = Vec::new();
    let mut judged = 0;
    for (path, _, vector) in vectors() {
        if !matches!(vector["role"].as_str(), Some("rs" | "rs-introspection" | "gateway" | "as")) {
            continue;
        }
        let expected = Verdict {
            code: vector["expect"].as_str().expect("a code").to_owned(),
            status: vector["answer"]["status"].as_u64().expect("a status"),
            error: vector["answer"]["error"].as_str().map(str::to_owned),
        };
        let verdict = Bench::new(&vector).judge();
        if verdict != expected {
            wrong.push(format!("{}: {verdict:?}", path.display()));
        }
        judged += 1;
    }
    assert!(judged > 600, "{judged} vectors");
    assert!(wrong.is_empty(), "{} vectors:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_vector_has_the_same_members_and_lies_where_it_says() {
    for (path, folder, vector) in vectors() {
        let members: Vec<&String> = vector.as_object().expect("an object").keys().collect();
        assert_eq!(members, MEMBERS, "{}", path.display());
        assert_eq!(vector["expect"], folder.as_str(), "{}", path.display());
        let role = vector["role"].as_str();
        let known = ["rs", "gateway", "as", "as-endpoint", "as-flow", "rs-introspection"];
        assert!(role.is_some_and(|role| known.contains(&role)), "{}", path.display());
        for text in ["title", "rfc", "why"] {
            assert!(vector[text].as_str().is_some_and(|text| !text.is_empty()), "{}", path.display());
        }
        // Of where browsers are sent and of how people sign in the requirements say nothing.
        let is_besides = ["redirect.", "login.", "consent."].iter().any(|about| folder.starts_with(about));
        assert_eq!(vector["rows"].as_array().map(Vec::is_empty), Some(is_besides), "{}", path.display());
    }
}

#[test]
fn every_reason_has_a_vector_and_back() {
    let folders: BTreeSet<String> = entries(&root().join("refuse")).iter().map(|path| name(path)).collect();
    let codes: BTreeSet<String> = Reason::ALL.iter().map(|reason| reason.code().to_owned()).collect();
    assert_eq!(folders, codes);
    let empty: Vec<_> = folders.iter().filter(|code| entries(&root().join("refuse").join(code)).is_empty()).collect();
    assert!(empty.is_empty(), "{empty:?}");
}

#[test]
fn every_file_of_the_specifications_is_used() {
    let used: BTreeSet<String> =
        spec::USED.iter().chain(&spec::USED_ELSEWHERE).map(|name| (*name).to_owned()).collect();
    let found: BTreeSet<String> = entries(&root().join("spec")).iter().map(|path| name(path)).collect();
    assert_eq!(used, found);
}
