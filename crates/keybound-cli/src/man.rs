//! `keybound man`: the manual, made from the same words as `--help`.

use clap::{Args, CommandFactory as _};
use clap_mangen::Man as Page;

use crate::Cli;
use crate::outcome::{Failure, Outcome, Result};
use crate::output;

/// Print the manual page of a command, as roff
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound man | man -l -
  keybound man request > /usr/local/share/man/man1/keybound-request.1")]
pub(crate) struct Man {
    /// The command, and its own command if it has some: `key new`; none for the page of keybound itself
    command: Vec<String>,
}

impl Man {
    pub(crate) fn run(&self) -> Result {
        let mut root = Cli::command();
        root.build();
        let mut command = &root;
        for name in &self.command {
            command = command
                .find_subcommand(name)
                .ok_or_else(|| Failure::usage(format!("{name:?} is no command of {}", command.get_name())))?;
        }
        let mut page = Vec::new();
        Page::new(command.clone()).render(&mut page).map_err(Failure::failed)?;
        output::write(&page)?;
        Ok(Outcome::Done)
    }
}
