//! `keybound config`: checks a file, prints the documented default, prints the schema.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use keybound_gateway::config::{Config, Overrides, Reader, default_text, schema};

use crate::outcome::{Failure, Outcome, Result};
use crate::output;

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
    /// Check a file: every mistake at once, with its line; status 2 if there is one
    Check {
        /// The file
        file: PathBuf,
        /// Check it for `keybound issuer`, which needs other tables than `keybound serve`
        #[arg(long)]
        issuer: bool,
    },
    /// Print every setting with its meaning and default
    Default,
    /// Print the JSON Schema of the file
    Schema,
}

impl ConfigCommand {
    pub(crate) fn run(&self) -> Result {
        match &self.what {
            What::Check { file, issuer } => {
                let text = std::fs::read_to_string(file)
                    .map_err(|error| Failure::usage(format!("{}: {error}", file.display())))?;
                let reader = if *issuer { Reader::Issuer } else { Reader::Serve };
                let flags = Overrides::default().reader(reader);
                Config::from_parts(&text, file, [], &flags).map_err(Failure::configuration)?;
                output::line(format_args!("{}: no mistakes", file.display()))?;
            }
            What::Default => output::write(default_text().as_bytes())?,
            What::Schema => output::line(format_args!("{:#}", schema()))?,
        }
        Ok(Outcome::Done)
    }
}
