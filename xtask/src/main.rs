//! What the project does to itself: `cargo xtask test` and `cargo xtask figures`.

mod figures;
mod run;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test                       every test of the workspace
cargo xtask figures [NAME…] [--json]   the benchmarks: verify, prove, replay";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => run::cargo(&["test", "--workspace", "--locked"]),
        ["figures", names @ ..] => figures::print(names),
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
