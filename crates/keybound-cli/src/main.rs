//! The `keybound` command: reads the command line, runs one command, turns its outcome into an exit status.

mod access;
mod completions;
mod config;
mod demo;
mod explain;
mod issuer;
mod key;
mod logging;
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
    logging::begin();
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
