//! Standard output, where nobody to read is a quiet end and any other trouble an error; and standard error, which may go
//! unread. Neither is worth a panic.

use std::fmt;
use std::io::{self, Write as _};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::outcome::Failure;

/// Writes octets as they are.
pub(crate) fn write(octets: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    let written = stdout.write_all(octets).and_then(|()| stdout.flush());
    written.map_err(|why| failure("standard output", &why))
}

/// Writes one line.
pub(crate) fn line(text: impl fmt::Display) -> Result<(), Failure> {
    write(format!("{text}\n").as_bytes())
}

/// Waits for so long, or until nobody reads standard output any more: somebody who has nothing to write would not notice.
pub(crate) fn pause(time: Duration) -> Result<(), Failure> {
    let stdout = io::stdout();
    let end = Instant::now() + time;
    loop {
        let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).ok();
        let mut ended = [PollFd::new(&stdout, PollFlags::empty())];
        match poll(&mut ended, left.as_ref()) {
            Ok(0) => return Ok(()),
            Ok(_) => return Err(Failure::unread()),
            Err(Errno::INTR) => {}
            Err(why) => return Err(failure("standard output", &why.into())),
        }
    }
}

/// Writes one line, with its colours where they can be seen.
pub(crate) fn styled(text: impl fmt::Display) -> Result<(), Failure> {
    let mut stdout = anstream::stdout().lock();
    let written = writeln!(stdout, "{text}").and_then(|()| stdout.flush());
    written.map_err(|why| failure("standard output", &why))
}

/// Writes one line to standard error, with its colours where they can be seen. There is nowhere to say that it failed.
pub(crate) fn aside(text: impl fmt::Display) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Why `output` could not be written, for the end of a command.
pub(crate) fn failure(output: &str, why: &io::Error) -> Failure {
    if why.kind() == io::ErrorKind::BrokenPipe {
        Failure::unread()
    } else {
        Failure::failed(format!("{output}: {why}"))
    }
}

/// Text of somebody else for a terminal: what moves a cursor, turns the direction of writing or cannot be seen is spelled out.
pub(crate) fn tame(text: &str) -> String {
    let is_fit = |letter: char| {
        !letter.is_control()
            && !matches!(
                letter,
                '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                    | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
            )
    };
    let mut tame = String::with_capacity(text.len());
    for letter in text.chars() {
        match is_fit(letter) {
            true => tame.push(letter),
            false => tame.extend(letter.escape_unicode()),
        }
    }
    tame
}
