//! `keybound config`: checks a file, prints the documented default, prints the schema.

use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use keybound_gateway::config::{Config, ConfigErrors, Overrides, Place, Reader, default_text, schema};
use keybound_gateway::nonce_ring;
use serde_json::{Value, json};

use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::service::environment;

/// Check a configuration file, or print the documented default or its schema
#[derive(Debug, Args)]
#[command(after_help = "Example:
  keybound config default > keybound.toml && keybound config check keybound.toml")]
pub(crate) struct ConfigCommand {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Check a file, with the environment over it as for `serve`: every mistake at once, with its line; status 2 if there is
    /// one
    #[command(after_help = "Examples:
  keybound config check keybound.toml
  keybound config check --issuer issuer.toml
  KEYBOUND_PROOF_NONCE=require keybound config check --json keybound.toml")]
    Check {
        /// The file
        file: PathBuf,
        /// Check it for `keybound issuer`, which needs other tables than `keybound serve`
        #[arg(long)]
        issuer: bool,
        /// Print each mistake as a JSON object on a line: file, line, variable, setting, message; nothing if there is none
        #[arg(long)]
        json: bool,
    },
    /// Print every setting with its meaning and default
    #[command(after_help = "Example:
  keybound config default > keybound.toml")]
    Default,
    /// Print the JSON Schema of the file
    #[command(after_help = "Example:
  keybound config schema > keybound.schema.json")]
    Schema,
    /// Make the ring of nonce keys that processes share (proof.nonce_keys), or turn it: the next key becomes the current one. Prints
    /// its number, and no key
    #[command(after_help = "Examples:
  keybound config nonce-keys nonce-ring.json
  keybound config nonce-keys --turn nonce-ring.json

Processes that have the ring from before a turn and from after it know each other's nonces. Hand the file to all of them
before it is turned again, and leave at least proof.nonce_lifetime in between.")]
    NonceKeys {
        /// The file; a new one is readable by its owner alone
        file: PathBuf,
        /// Turn the ring that is there
        #[arg(long)]
        turn: bool,
        /// Print an object
        #[arg(long)]
        json: bool,
    },
}

impl ConfigCommand {
    pub(crate) fn run(&self) -> Result {
        match &self.what {
            What::Check { file, issuer, json } => {
                let reader = if *issuer { Reader::Issuer } else { Reader::Serve };
                return check(file, reader, *json);
            }
            What::NonceKeys { file, turn, json } => return nonce_keys(file, *turn, *json),
            What::Default => output::write(default_text().as_bytes())?,
            What::Schema => output::line(format_args!("{:#}", schema()))?,
        }
        Ok(Outcome::Done)
    }
}

fn check(file: &Path, reader: Reader, json: bool) -> Result {
    match Config::load(file, environment(), &Overrides::default().reader(reader)) {
        Ok(_) if json => {}
        Ok(_) => output::line(format_args!("{}: no mistakes", file.display()))?,
        Err(errors) if json => {
            objects(&errors).try_for_each(output::line)?;
            // All is said.
            return Err(Failure::configuration(""));
        }
        Err(errors) => return Err(Failure::configuration(errors)),
    }
    Ok(Outcome::Done)
}

fn nonce_keys(file: &Path, turn: bool, json: bool) -> Result {
    let done = if turn { nonce_ring::turn(file) } else { nonce_ring::make(file) };
    let ring = done.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => {
            Failure::usage(format!("{} is there already and stays; --turn turns it", file.display()))
        }
        io::ErrorKind::NotFound => Failure::usage(format!("{}: {error}", file.display())),
        _ => Failure::failed(format!("{}: {error}", file.display())),
    })?;
    let id = ring.current_id();
    if json {
        output::line(json!({"file": file, "current": id}))?;
    } else {
        output::line(format_args!("{}: nonces are made by key {id}", file.display()))?;
    }
    Ok(Outcome::Done)
}

/// What cannot be said of a mistake is `null`: one of the environment stands in no line.
fn objects(errors: &ConfigErrors) -> impl Iterator<Item = Value> {
    errors.iter().map(|error| {
        let (line, variable) = match &error.place {
            Place::Line(line) => (Some(line), None),
            Place::Environment(variable) => (None, Some(variable)),
            _ => (None, None),
        };
        let setting = Some(&error.path).filter(|path| !path.is_empty());
        json!({
            "file": errors.file(), "line": line, "variable": variable, "setting": setting, "message": error.message,
        })
    })
}
