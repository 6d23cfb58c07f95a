//! `keybound completions`: a script for the shell.

use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use crate::Cli;
use crate::outcome::{Outcome, Result};
use crate::output;

/// Print a completion script for a shell.
///
/// Example: keybound completions bash > /etc/bash_completion.d/keybound
#[derive(Debug, Args)]
pub(crate) struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    pub(crate) fn run(&self) -> Result {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, &mut Cli::command(), "keybound", &mut script);
        output::write(&script)?;
        Ok(Outcome::Done)
    }
}
