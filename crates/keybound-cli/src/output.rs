//! Standard output, where a closed pipe is an error and no panic.

use std::fmt;
use std::io::Write as _;

use crate::outcome::Failure;

/// Writes octets as they are.
pub(crate) fn write(octets: &[u8]) -> Result<(), Failure> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(octets).and_then(|()| stdout.flush());
    written.map_err(|why| Failure::failed(format!("standard output: {why}")))
}

/// Writes one line.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Writes one line, with its colours where they can be seen.
pub(crate) fn styled(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|why| Failure::failed(format!("standard output: {why}")))
}
