//! The `keybound` command: reads the command line, runs one command, turns its outcome into an exit status.

mod completions;
mod config;
mod explain;
mod outcome;
mod request;
mod sample;
mod serve;
mod style;

use std::io::IsTerminal as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

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
    Serve(serve::Serve),
    Request(Box<request::Request>),
    Explain(explain::Explain),
    Config(config::ConfigCommand),
    Completions(completions::Completions),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("KEYBOUND_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Request(request) => request.run(),
        Command::Config(config) => config.run(),
        Command::Explain(explain) => explain.run(),
        Command::Completions(completions) => completions.run(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
