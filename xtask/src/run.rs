//! Running cargo as a child, with its output passed through.

use std::process::{Command, ExitCode};

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
