//! The `keybound` command: reads the command line, runs one command, turns its outcome into an exit status.

mod access;
mod completions;
mod config;
mod demo;
mod explain;
mod issuer;
mod key;
mod man;
mod outcome;
mod output;
mod proof;
mod request;
mod sample;
mod serve;
mod service;
mod style;
mod token;

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
    Demo(demo::Demo),
    Issuer(issuer::Issuer),
    Key(key::Key),
    Proof(proof::Proof),
    Explain(explain::Explain),
    Token(token::Token),
    Request(Box<request::Request>),
    Config(config::ConfigCommand),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_env("KEYBOUND_LOG").unwrap_or_else(|_| EnvFilter::new("info")))
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .init();
    let outcome = match Cli::parse().command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Issuer(issuer) => issuer.run(),
        Command::Key(key) => key.run(),
        Command::Proof(proof) => proof.run(),
        Command::Config(config) => config.run(),
        Command::Explain(explain) => explain.run(),
        Command::Token(token) => token.run(),
        Command::Request(request) => request.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    };
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
