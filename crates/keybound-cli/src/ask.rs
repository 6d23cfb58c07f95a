//! What is asked of a person, where one is there.

use std::io::{self, IsTerminal as _, Write as _};

use crate::outcome::Failure;

/// Whether a person agrees. Where nobody is there to be asked, `--yes` has to say it.
pub(crate) fn agreed(yes: bool, question: &str) -> Result<bool, Failure> {
    if yes {
        return Ok(true);
    }
    somebody_is_here("; give --yes")?;
    // The answer is read all the same.
    let _ = write!(io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).map_err(Failure::failed)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

/// A failure that ends in these words where standard input is no terminal.
pub(crate) fn somebody_is_here(instead: &str) -> Result<(), Failure> {
    if io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::usage(format_args!("nobody is here to be asked{instead}")))
}
