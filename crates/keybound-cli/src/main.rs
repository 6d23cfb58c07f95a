//! The `keybound` command: reads the command line, runs one command, turns its outcome into an exit status.

mod completions;
mod explain;
mod outcome;
mod style;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::outcome::Outcome;

/// Bound tokens instead of bearer tokens: DPoP (RFC 9449) for gateways, issuers, clients and testers.
#[derive(Debug, Parser)]
#[command(name = "keybound", version, propagate_version = true, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Explain(explain::Explain),
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Explain(explain) => explain.run(),
        Command::Completions(completions) => completions.run(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
