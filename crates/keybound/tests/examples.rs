//! The example of a token endpoint is run, and the book shows what it says.
#![expect(clippy::disallowed_methods, reason = "tests read the project's own files")]

use std::fs;
use std::path::Path;

#[path = "../examples/token_endpoint.rs"]
#[expect(dead_code, reason = "its main writes to standard output")]
mod token_endpoint;

const PAGE: &str = "../../docs/libraries/authorization-server.md";

const COMMAND: &str = "$ cargo run -p keybound --example token_endpoint\n";

/// With one name for the thumbprint of the key, which is another each time.
fn with_any_key(output: &str) -> String {
    let key = output.lines().find_map(|line| line.strip_prefix("the client's key is ")).expect("a line with the key");
    assert_eq!(key.len(), 43, "{key}");
    output.replace(key, "KEY")
}

#[test]
fn the_book_shows_what_the_token_endpoint_says() {
    let mut said = Vec::new();
    token_endpoint::show(&mut said).unwrap();
    let said = with_any_key(core::str::from_utf8(&said).unwrap());
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(PAGE)).unwrap();
    let (_, shown) = page.split_once(COMMAND).expect("the command");
    let (shown, _) = shown.split_once("```").expect("the end of its output");
    assert_eq!(with_any_key(shown), said);
    // What the page is about: one proof is good for one token, and none for none.
    let begins: Vec<&str> = said.lines().skip(1).map(|line| line.split('{').next().unwrap()).collect();
    assert_eq!(begins, ["a proof: 200 OK ", "the same again: 400 Bad Request ", "no proof: 400 Bad Request "]);
}
