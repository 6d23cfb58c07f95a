//! A file that entries are appended to, a line each. Where another program moves it away, a new one is made.

use core::fmt;
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use parking_lot::Mutex;

/// How often it is seen whether the file is still where it was.
const LOOKS: Duration = Duration::from_secs(1);

pub(super) struct LogFile {
    path: PathBuf,
    open: Mutex<Open>,
}

struct Open {
    file: File,
    looked: Instant,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let open = Open { file: append_to(path)?, looked: Instant::now() };
        Ok(Self { path: path.to_owned(), open: Mutex::new(open) })
    }

    /// In one write, so that lines of several processes stay whole.
    pub(super) fn append(&self, line: &str) -> io::Result<()> {
        let mut open = self.open.lock();
        if open.looked.elapsed() >= LOOKS {
            open.looked = Instant::now();
            if !is_there(&open.file, &self.path) {
                open.file = append_to(&self.path)?;
            }
        }
        open.file.write_all([line, "\n"].concat().as_bytes())
    }
}

/// For this user alone: names of users are in it.
fn append_to(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.append(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn is_there(file: &File, path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;

    let same = |there: std::fs::Metadata| {
        file.metadata().is_ok_and(|own| own.dev() == there.dev() && own.ino() == there.ino())
    };
    std::fs::metadata(path).is_ok_and(same)
}

#[cfg(not(unix))]
fn is_there(_file: &File, path: &Path) -> bool {
    path.exists()
}

impl fmt::Debug for LogFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogFile({})", self.path.display())
    }
}
