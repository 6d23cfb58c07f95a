//! Running other programs as children, with their output passed through.

use std::io::{self, BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use serde_json::Value;

/// The cargo that runs this program.
pub(crate) fn command() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// Runs cargo with these arguments, to its own exit status.
pub(crate) fn cargo(arguments: &[&str]) -> ExitCode {
    match command().args(arguments).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("cargo could not be started: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs a command and says whether it succeeded.
pub(crate) fn succeeds(command: &mut Command) -> bool {
    match command.status() {
        Ok(status) => status.success(),
        Err(error) => {
            eprintln!("{} could not be started: {error}", command.get_program().display());
            false
        }
    }
}

/// Runs a command, shows its output as it comes, and returns whether it succeeded and the lines that `wanted` picks.
pub(crate) fn watched(command: &mut Command, wanted: impl Fn(&str) -> bool) -> io::Result<(bool, Vec<String>)> {
    let mut child = command.stdout(Stdio::piped()).spawn()?;
    let mut picked = Vec::new();
    if let Some(output) = child.stdout.take() {
        for line in BufReader::new(output).lines() {
            let line = line?;
            println!("{line}");
            if wanted(&line) {
                picked.push(line);
            }
        }
    }
    Ok((child.wait()?.success(), picked))
}

/// Where cargo builds.
pub(crate) fn target_directory() -> io::Result<PathBuf> {
    let output = command().args(["metadata", "--no-deps", "--format-version", "1"]).output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    metadata["target_directory"]
        .as_str()
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("cargo has no target directory"))
}
