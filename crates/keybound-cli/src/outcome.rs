//! How a command ends: 0 done, 1 refused or failed, 2 usage or configuration.

use std::fmt;
use std::process::ExitCode;

use crate::{output, style};

/// A command that ran to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Everything asked for was done: status 0.
    Done,
    /// It ran, and the answer is no: status 1. The command has said why.
    Refused,
}

/// A command that could not run to its end.
#[derive(Debug)]
pub(crate) struct Failure {
    status: u8,
    message: String,
}

impl Failure {
    /// Something went wrong while running: status 1.
    pub(crate) fn failed(message: impl fmt::Display) -> Self {
        Self { status: 1, message: message.to_string() }
    }

    /// The command line or the configuration must be mended: status 2.
    pub(crate) fn usage(message: impl fmt::Display) -> Self {
        Self { status: 2, message: message.to_string() }
    }

    /// The configuration must be mended: status 2, and its mistakes as they are, one a line.
    pub(crate) fn configuration(mistakes: impl fmt::Display) -> Self {
        Self::usage(mistakes)
    }

    /// Nobody reads what the command writes: it ends quietly and well, as others do in front of `head`.
    pub(crate) const fn unread() -> Self {
        Self { status: 0, message: String::new() }
    }

    /// Whether the command line is to be mended.
    pub(crate) const fn is_usage(&self) -> bool {
        self.status == 2
    }

    /// The same, about this.
    pub(crate) fn about(mut self, subject: &str) -> Self {
        self.message = format!("{subject}: {}", self.message);
        self
    }

    /// What went wrong.
    pub(crate) fn message(&self) -> &str {
        &self.message
    }

    /// Says what went wrong on standard error.
    pub(crate) fn report(self) -> ExitCode {
        for (position, line) in self.message.lines().enumerate() {
            let lead = if position == 0 { format!("{}error:{} ", style::BAD, style::PLAIN) } else { String::new() };
            output::aside(format_args!("{lead}{line}"));
        }
        ExitCode::from(self.status)
    }
}

/// What every command returns.
pub(crate) type Result = std::result::Result<Outcome, Failure>;
