//! What the project does to itself: `cargo xtask COMMAND`.

mod figures;
mod run;
mod vectors;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test                       every test of the workspace
cargo xtask figures [NAME…] [--json]   the benchmarks: verify, prove, replay, gateway, dpop-price
cargo xtask vectors [--all]            write the test vectors that are missing, or all of them";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => run::cargo(&["test", "--workspace", "--locked"]),
        ["figures", names @ ..] => figures::print(names),
        ["vectors"] => vectors::write(vectors::Which::Missing),
        ["vectors", "--all"] => vectors::write(vectors::Which::All),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
