//! How a user learns where to log in.

use std::io;

use keybound_client::{Prompt, Show, SystemBrowser};

use crate::output;
use crate::style::{FAINT, PLAIN, STRONG};

/// What is done besides saying it.
#[derive(Clone, Copy, Debug)]
pub(super) enum OnTerminal {
    /// The browser of this machine is opened.
    Browser,
    /// Nothing.
    Alone,
    /// There is a code to type elsewhere.
    Device,
}

impl Show for OnTerminal {
    fn show(&self, prompt: &Prompt<'_>) -> io::Result<()> {
        match prompt.user_code {
            Some(code) => output::aside(format_args!("log in at {} with the code {STRONG}{code}{PLAIN}", prompt.url)),
            None => output::aside(format_args!("log in at {}", prompt.url)),
        }
        if let Some(complete) = prompt.complete {
            output::aside(format_args!("{FAINT}or, without typing the code, at {complete}{PLAIN}"));
        }
        if matches!(self, Self::Browser)
            && let Err(why) = SystemBrowser::new().show(prompt)
        {
            output::aside(format_args!("{FAINT}no browser could be opened ({why}); open the URL yourself{PLAIN}"));
        }
        Ok(())
    }
}
