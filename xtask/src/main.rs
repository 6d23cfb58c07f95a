//! What the project does to itself: `cargo xtask COMMAND`.

mod vectors;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask vectors [--all]   write the test vectors that are missing, or all of them";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        ["vectors"] => vectors::write(vectors::Which::Missing),
        ["vectors", "--all"] => vectors::write(vectors::Which::All),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
