//! The `keybound` command: reads the command line, runs one command, turns its outcome into an exit status.

mod access;
mod agent;
mod ask;
mod completions;
mod config;
mod demo;
mod explain;
mod issuer;
mod key;
mod load;
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

/// Each request takes and gives back buffers of 8 KiB, which the system's allocator looks for in long lists. Without huge pages,
/// of which an idle process would fill but a small part.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Bound tokens instead of bearer tokens: DPoP (RFC 9449) for gateways, issuers, clients and testers.
#[derive(Debug, Parser)]
#[command(
    name = "keybound",
    version,
    propagate_version = true,
    max_term_width = 100,
    after_help = "Examples:
  keybound demo                          see what a stolen token is worth
  keybound serve                         a gateway, an issuer and an API to try, on loopback
  keybound explain htu.mismatch          why a request was refused, and what to do
  keybound help request                  more about one command; keybound man request for a pager"
)]
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
    Token(Box<token::Token>),
    Request(Box<request::Request>),
    Agent(Box<agent::Agent>),
    Load(Box<load::Load>),
    Config(config::ConfigCommand),
    Completions(completions::Completions),
    Man(man::Man),
}

fn main() -> ExitCode {
    logging::begin();
    match Cli::try_parse() {
        Ok(cli) => end(run(cli.command)),
        // Help and version are asked for, and go to standard output.
        Err(asked) if !asked.use_stderr() => {
            end(output::styled(asked.render().ansi().to_string().trim_end()).map(|()| Outcome::Done))
        }
        Err(mistake) => {
            output::aside(mistake.render().ansi().to_string().trim_end());
            ExitCode::from(2)
        }
    }
}

fn run(command: Command) -> outcome::Result {
    match command {
        Command::Serve(serve) => serve.run(),
        Command::Demo(demo) => demo.run(),
        Command::Issuer(issuer) => issuer.run(),
        Command::Key(key) => key.run(),
        Command::Proof(proof) => proof.run(),
        Command::Config(config) => config.run(),
        Command::Explain(explain) => explain.run(),
        Command::Token(token) => token.run(),
        Command::Request(request) => request.run(),
        Command::Agent(agent) => agent.run(),
        Command::Load(load) => load.run(),
        Command::Completions(completions) => completions.run(),
        Command::Man(man) => man.run(),
    }
}

fn end(outcome: outcome::Result) -> ExitCode {
    match outcome {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        Ok(Outcome::Refused) => ExitCode::from(1),
        Err(failure) => failure.report(),
    }
}
