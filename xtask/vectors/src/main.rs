//! Writes `vectors/accept` and `vectors/refuse` with fixed keys and fixed times. What is expected is said here, case by
//! case, and never asked of the code under test. ECDSA signatures are random, so a file that is there stays as it is.

mod accept;
mod case;
mod claims;
mod endpoint;
mod flow;
mod header;
mod jws;
mod keys;
mod nonce;
mod octets;
mod resource;
mod server;
mod token;
mod uri;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use case::{Case, World};
use keybound::refusal::Reason;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Which {
    Missing,
    All,
}

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let which = match words.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => Which::Missing,
        ["--all"] => Which::All,
        _ => {
            eprintln!("cargo xtask vectors [--all]");
            return ExitCode::from(2);
        }
    };
    match write(which) {
        Ok((written, kept)) => {
            println!("{written} vectors written, {kept} kept");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn write(which: Which) -> io::Result<(usize, usize)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../vectors");
    let world = World::load(&root.join("keys"))?;
    let cases = [
        accept::cases(&world),
        octets::cases(&world),
        header::cases(&world),
        claims::cases(&world),
        uri::cases(&world),
        nonce::cases(&world),
        resource::cases(&world),
        token::cases(&world),
        server::cases(&world),
        endpoint::cases(&world),
        flow::cases(&world),
    ]
    .concat();
    let (mut written, mut kept, mut names) = (0, 0, BTreeSet::new());
    for case in &cases {
        let path = path(&root, case)?;
        if !names.insert(path.clone()) {
            return Err(io::Error::other(format!("{} is written twice", path.display())));
        }
        if which == Which::Missing && path.exists() {
            kept += 1;
            continue;
        }
        fs::create_dir_all(path.parent().expect("a file lies in a folder"))?;
        fs::write(path, case.to_text())?;
        written += 1;
    }
    Ok((written, kept))
}

fn path(root: &Path, case: &Case) -> io::Result<PathBuf> {
    let folder = match case.expect {
        "admit" => root.join("accept"),
        code if Reason::from_code(code).is_some() => root.join("refuse").join(code),
        unknown => return Err(io::Error::other(format!("{unknown} is no reason code"))),
    };
    Ok(folder.join(format!("{}.json", case.name)))
}
