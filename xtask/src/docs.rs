//! `cargo xtask docs`: builds the book of `docs/` into `target/book`, and takes a warning for a failure.

mod transcript;

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::run;

/// The mdBook that the book is written for. It is installed into the target directory, once.
const VERSION: &str = "0.5.4";

/// Builds the book and says where it is.
pub(crate) fn build() -> ExitCode {
    match book() {
        Ok(index) => {
            println!("{}", index.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("the book was not built: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the book without a warning, and returns its first page.
pub(crate) fn book() -> io::Result<PathBuf> {
    let target = run::target_directory()?;
    let mdbook = mdbook(&target)?;
    let output = target.join("book");
    let built = Command::new(mdbook)
        .args(["build", "--dest-dir"])
        .arg(&output)
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs"))
        .output()?;
    let said = String::from_utf8_lossy(&built.stderr);
    eprint!("{said}");
    let complaint = said.lines().find(|line| ["WARN", "ERROR"].iter().any(|level| line.contains(level)));
    match (complaint, built.status.success()) {
        (None, true) => Ok(output.join("index.html")),
        (complaint, _) => Err(io::Error::other(complaint.unwrap_or("mdbook failed").trim().to_owned())),
    }
}

/// Runs the commands of the quick start with this `keybound`, and returns how many there were.
pub(crate) fn quick_start(keybound: &Path) -> io::Result<usize> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/quick-start.md");
    transcript::run(&page, keybound, &run::target_directory()?.join("quick-start"))
}

/// The program, built if it is not there: without its server, and unoptimized, for the book is small.
fn mdbook(target: &Path) -> io::Result<PathBuf> {
    let root = target.join("tools").join(format!("mdbook-{VERSION}"));
    let program = root.join("bin/mdbook").with_extension(std::env::consts::EXE_EXTENSION);
    if !program.exists() {
        println!("mdbook {VERSION} is not there; building it");
        let mut install = run::command();
        install
            .args(["install", "mdbook", "--version", VERSION, "--locked", "--debug"])
            .args(["--no-default-features", "--features", "search", "--root"])
            .arg(&root)
            // Elsewhere than in the workspace, whose settings are not for it.
            .current_dir(target);
        if !run::succeeds(&mut install) {
            return Err(io::Error::other("mdbook could not be installed"));
        }
    }
    Ok(program)
}
