//! The end of files: a clock that steps back brings a time again whose proofs nobody knows any more, in a later process neither.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use keybound::time::UnixTime;

use super::log;

/// What the last file that went leaves behind.
const SUFFIX: &str = ".gone";

/// Removes the files whose time is over by this `now`. Says up to which time, not included, proofs may have gone, ever.
///
/// The last of them leaves its name, on the disk before anything goes. That takes no room, so it works where a disk is full, and says no
/// more than what has gone: where no clock steps back, that time has always passed.
pub(super) fn remove_expired(folder: &Path, now: UnixTime) -> io::Result<UnixTime> {
    let edge = log::number_of(now);
    let (mut expired, mut gone) = (Vec::new(), Vec::new());
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let Some(name) = name.to_str() else { continue };
        expired.extend(log::number_in(name).filter(|number| *number < edge));
        gone.extend(name.strip_suffix(SUFFIX).and_then(|number| number.parse::<u64>().ok()));
    }
    let last = expired.iter().chain(&gone).copied().max();
    if let (Some(last), false) = (last, expired.is_empty()) {
        let sign = folder.join(format!("{last}{SUFFIX}"));
        if expired.contains(&last) {
            fs::rename(folder.join(log::name_of(last)), &sign)?;
        }
        File::open(folder)?.sync_all()?;
        // Only its name counts from now on.
        OpenOptions::new().write(true).truncate(true).open(sign)?;
        for number in expired.into_iter().filter(|number| *number != last) {
            fs::remove_file(folder.join(log::name_of(number)))?;
        }
        for number in gone.into_iter().filter(|number| *number != last) {
            fs::remove_file(folder.join(format!("{number}{SUFFIX}")))?;
        }
    }
    Ok(last.map_or(UnixTime::from_secs(0), log::end_of))
}
