//! Every row of `vectors/requirements.json` is named by a test or by a vector that a test judges, or says what it waits for;
//! a row that is named no longer waits.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// Roles of vectors, and the folder whose tests judge them.
const JUDGED: [(&str, &str); 6] = [
    ("rs", "crates/keybound"),
    ("rs-introspection", "crates/keybound"),
    ("gateway", "crates/keybound"),
    ("as", "crates/keybound"),
    ("as-endpoint", "crates/keybound-issuer"),
    ("as-flow", "crates/keybound-issuer"),
];

struct Row {
    id: String,
    waits: Option<String>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn json(path: &Path) -> Value {
    let text = fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn rows() -> Vec<Row> {
    let rows = json(&root().join("vectors/requirements.json"));
    let row = |row: &Value| {
        assert!(["MUST", "SHOULD", "MAY", "STRICT", "PROFILE"].contains(&row["level"].as_str().unwrap()), "{row}");
        assert!(row["says"].as_str().is_some_and(|says| !says.is_empty()), "{row}");
        let waits = row.get("waits").map(|waits| waits.as_str().unwrap().to_owned());
        Row { id: row["id"].as_str().unwrap().to_owned(), waits }
    };
    rows.as_array().unwrap().iter().map(row).collect()
}

fn files(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        match path.file_name().and_then(|name| name.to_str()) {
            Some("target" | "node_modules") => {}
            _ if path.is_dir() => files(&path, found),
            _ => found.push(path),
        }
    }
}

/// Where each row is named: in test code, in vectors that are judged, in the scripts of foreign peers.
fn named() -> BTreeMap<String, BTreeSet<PathBuf>> {
    let mut places: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
    let mut name = |text: &str, path: &Path| {
        for id in ids(text) {
            places.entry(id).or_default().insert(path.to_owned());
        }
    };
    let mut found = Vec::new();
    ["crates", "vectors", "interop"].iter().for_each(|folder| files(&root().join(folder), &mut found));
    for path in found {
        let ends = |end: &str| path.to_string_lossy().ends_with(end);
        if ends(".rs") {
            name(&test_code(&path), &path);
        } else if path.starts_with(root().join("vectors")) {
            if ends(".json") && json(&path)["role"].as_str().is_some_and(is_judged) {
                name(&json(&path)["rows"].to_string(), &path);
            }
        } else if path.starts_with(root().join("interop")) {
            name(&String::from_utf8_lossy(&fs::read(&path).unwrap()), &path);
        }
    }
    places
}

fn is_judged(role: &str) -> bool {
    JUDGED.iter().any(|(judged, folder)| *judged == role && root().join(folder).is_dir())
}

/// A file of tests whole; of another what stands behind `#[cfg(test)]`.
fn test_code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let is_test = path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs");
    match text.find("#[cfg(test)]") {
        _ if is_test => text,
        Some(start) => text[start..].to_owned(),
        None => String::new(),
    }
}

fn ids(text: &str) -> impl Iterator<Item = String> {
    text.match_indices("R-").filter_map(|(start, _)| {
        let rest = &text[start + 2..];
        let (area, rest) = rest.split_at(rest.find(|letter: char| !letter.is_ascii_uppercase())?);
        let number: String = rest.strip_prefix('-')?.chars().take_while(char::is_ascii_digit).collect();
        (!area.is_empty() && number.len() == 2).then(|| format!("R-{area}-{number}"))
    })
}

#[test]
fn every_requirement_is_named_by_a_test_or_waits() {
    let (rows, named) = (rows(), named());
    let missing: Vec<&str> = rows
        .iter()
        .filter(|row| row.waits.is_none() && !named.contains_key(&row.id))
        .map(|row| row.id.as_str())
        .collect();
    assert!(missing.is_empty(), "no test names {missing:?}");
    let over: Vec<_> = rows
        .iter()
        .filter(|row| row.waits.is_some())
        .filter_map(|row| named.get(&row.id).map(|places| (&row.id, places)))
        .collect();
    assert!(over.is_empty(), "these are tested now; take their `waits` out of vectors/requirements.json: {over:?}");
}

#[test]
fn every_requirement_that_is_named_exists() {
    let rows: BTreeSet<String> = rows().into_iter().map(|row| row.id).collect();
    assert_eq!(rows.len(), 226);
    let unknown: Vec<_> = named().into_iter().filter(|(id, _)| !rows.contains(id)).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

// R-SEC-11
#[test]
fn the_documentation_says_what_a_proof_does_not_cover() {
    let text = fs::read_to_string(root().join("SECURITY.md")).unwrap();
    let told = text.contains("**It covers neither the body, nor other fields, nor the query.**");
    assert!(told, "SECURITY.md says nothing of bodies");
}
