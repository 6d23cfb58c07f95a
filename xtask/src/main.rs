//! What the project does to itself: `cargo xtask COMMAND`.

mod docs;
mod figures;
mod package;
mod packaged;
mod postgres;
mod run;
mod scale;
mod test;

use std::process::ExitCode;

const USAGE: &str = "\
cargo xtask test                       every test: of the workspace, and against real peers, which it installs
cargo xtask docs                       the book of docs/, into target/book
cargo xtask figures [NAME…] [--json]   the benchmarks: verify, prove, replay, start, gateway, dpop-price,
                                       client, redis, issuer
cargo xtask scale [NAME=NUMBER…]        what many nodes need, reckoned from measured costs (docs/scale.md)
cargo xtask package [--static]         the Debian package, or one binary that needs nothing of its machine
cargo xtask vectors [--all]            write the test vectors that are missing, or all of them";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["test"] => test::all(),
        ["docs"] => docs::build(),
        ["figures", names @ ..] => figures::print(names),
        ["scale", words @ ..] => scale::print(words),
        ["package", words @ ..] => package::make(words),
        ["vectors", which @ ..] => {
            run::cargo(&[&["run", "--quiet", "--package", "keybound-vectors", "--"], which].concat())
        }
        _ => {
            eprintln!("{USAGE}");
            ExitCode::from(2)
        }
    }
}
