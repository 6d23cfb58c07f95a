//! A file that entries are appended to, a line each, on a thread of its own: a disk that is slow holds up no other request. Where
//! another program moves it away, a new one is made.

use core::fmt;
use core::time::Duration;
use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;
use std::time::Instant;

use tokio::sync::oneshot;

use super::PATIENCE;

/// How often it is seen whether the file is still where it was.
const LOOKS: Duration = Duration::from_secs(1);

/// Lines that wait for a disk; more are lost to the file, and counted.
const MOST_WAITING: usize = 4096;

/// Lines that share a write.
const GROUP: usize = 256;

pub(super) struct LogFile {
    path: PathBuf,
    lines: SyncSender<Line>,
}

struct Line {
    /// With its end.
    text: String,
    written: oneshot::Sender<Result<(), io::ErrorKind>>,
}

impl LogFile {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let mut open = Open { file: append_to(path)?, path: path.to_owned(), looked: Instant::now() };
        let (lines, waiting) = sync_channel(MOST_WAITING);
        // It ends when nobody has lines for it any more.
        thread::Builder::new().name("keybound-audit".to_owned()).spawn(move || open.write_all(&waiting))?;
        Ok(Self { path: path.to_owned(), lines })
    }

    /// When this is done, the line is in the file; what is late is written all the same.
    pub(super) async fn append(&self, line: String) -> io::Result<()> {
        let (written, done) = oneshot::channel();
        let line = Line { text: line + "\n", written };
        self.lines.try_send(line).map_err(|_| io::Error::other("too many entries wait for it"))?;
        let ended = |_| io::Error::other("nobody writes to it any more");
        let late = |_| io::Error::new(io::ErrorKind::TimedOut, "it takes long");
        Ok(tokio::time::timeout(PATIENCE, done).await.map_err(late)?.map_err(ended)??)
    }
}

/// The file, for the thread that writes to it.
struct Open {
    file: File,
    path: PathBuf,
    looked: Instant,
}

impl Open {
    fn write_all(&mut self, waiting: &Receiver<Line>) {
        while let Ok(first) = waiting.recv() {
            let group: Vec<Line> = core::iter::once(first).chain(waiting.try_iter().take(GROUP - 1)).collect();
            let text: String = group.iter().map(|line| &*line.text).collect();
            let written = self.write(text.as_bytes()).map_err(|error| error.kind());
            for line in group {
                // Whoever waited may have gone.
                let _ = line.written.send(written);
            }
        }
    }

    /// In one write, so that lines of several processes stay whole.
    fn write(&mut self, lines: &[u8]) -> io::Result<()> {
        if self.looked.elapsed() >= LOOKS {
            self.looked = Instant::now();
            if !is_there(&self.file, &self.path) {
                self.file = append_to(&self.path)?;
            }
        }
        self.file.write_all(lines)
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
