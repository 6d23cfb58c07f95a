//! Colours, which `anstream` leaves out where the output is no terminal.

use anstyle::{AnsiColor, Reset, Style};

/// What went well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// What did not.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// What the eye may pass over.
pub(crate) const FAINT: Style = Style::new().dimmed();
/// What stands out.
pub(crate) const STRONG: Style = Style::new().bold();
/// Back to plain text.
pub(crate) const PLAIN: Reset = Reset;
