//! `cargo xtask package`: the Debian package, or with `--static` one binary that needs nothing of the machine it runs on.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::{fs, io};

use crate::run;

mod debian;

pub(crate) use debian::{Compression, build as build_debian};

/// Built for a target by name, so that build scripts and macros, which cannot be static, stay as they are.
const TARGET: &str =
    if cfg!(target_arch = "aarch64") { "aarch64-unknown-linux-gnu" } else { "x86_64-unknown-linux-gnu" };

/// Builds it, for release, and says where it is.
pub(crate) fn make(words: &[&str]) -> ExitCode {
    let made = match words {
        [] => released().and_then(|program| build_debian(&program, &folder()?, Compression::Small)),
        ["--static"] => statically(&["--release"]).and_then(|program| {
            let made = folder()?.join("keybound");
            fs::copy(program, &made)?;
            Ok(made)
        }),
        _ => Err(io::Error::other("cargo xtask package takes --static or nothing")),
    };
    match made {
        Ok(made) => {
            println!("{}", made.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn folder() -> io::Result<PathBuf> {
    let folder = run::target_directory()?.join("package");
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

fn released() -> io::Result<PathBuf> {
    built(run::command().args(["build", "--release"]))
}

/// The program, with the C library in it; `how` says by which profile.
pub(crate) fn statically(how: &[&str]) -> io::Result<PathBuf> {
    let mut build = run::command();
    build.args(["build", "--target", TARGET]).args(how).env("RUSTFLAGS", "-C target-feature=+crt-static");
    built(&mut build)
}

/// Runs a build of the program and says where cargo has put it.
fn built(build: &mut Command) -> io::Result<PathBuf> {
    build.args(["--locked", "--package", "keybound-cli", "--message-format", "json-render-diagnostics"]);
    let output = build.stderr(Stdio::inherit()).output()?;
    let messages = String::from_utf8_lossy(&output.stdout);
    let program = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        message["executable"].as_str().map(PathBuf::from)
    });
    program.filter(|_| output.status.success()).ok_or_else(|| io::Error::other("keybound could not be built"))
}

/// The project's root.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}
