//! A memory of used proofs that a restart does not empty, for one process whose clients take no nonces.

use core::fmt;
use core::hash::Hasher as _;
use std::io;
use std::path::Path;
use std::sync::Arc;

use keybound::crypto::aws_lc::random_array;
use keybound::refusal::Fault;
use keybound::replay::memory::{LimitsError, MemoryLimits};
use keybound::replay::{Epoch, MemoryStore, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use siphasher::sip128::{Hasher128 as _, SipHasher24};
use tokio::sync::oneshot;

use self::fill::{fill, put};
use self::folder::{Begun, Folder, Head};
use self::log::Line;
use self::writer::{Job, Writer};

mod fill;
mod folder;
mod gone;
mod log;
mod writer;

/// Remembers proofs in a folder of this process, and finds them again after a restart.
///
/// A proof is new once it is on the disk: what was answered is never forgotten, also if the power fails. Proofs that arrive during a
/// flush share the next one. So the epoch outlives the process, and no barrier is raised at its start, but for the very first.
/// It begins anew when what proofs are judged by differs from the time before, when a file is damaged, and when what is in the files does not
/// fit into the limits: what does is kept.
///
/// All that is looked at is in memory as well, in a [`MemoryStore`]; the files are read at the start alone. Each holds proofs that
/// expire within four minutes of each other and is removed whole. One process has the folder; another is refused, and so is a folder that
/// others may write to.
///
/// The clock is the caller's. If it has removed a file and steps back, be it over a restart, all that expires before the end of that file is
/// [`Seen::Forgotten`]: what was in it could be used again.
///
/// A file that was cut off is noticed at the start, and begins an epoch. Whoever puts an older copy of the folder back, or takes files out of
/// it, must remove it instead. On a full disk proofs are [`Fault::ReplayFull`] until there is room again. After any other failure
/// nothing is recorded any more until a restart: nobody knows what the disk has.
///
/// On the disk means that the operating system has said so (`fdatasync`); a disk that says so too early, and loses its power, forgets.
#[derive(Debug)]
pub struct FileStore {
    memory: MemoryStore,
    folder: Arc<Folder>,
    key: [u8; 16],
    /// Proofs that expire before this may have been here before the start, and be gone.
    floor: UnixTime,
    writer: Writer,
}

/// How it stands with a [`FileStore`], and what was counted since it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct FileStoreFigures {
    /// Whether anything can be recorded before a restart.
    pub is_there: bool,
    /// Proofs that found no room on the disk.
    pub no_room: u64,
    /// Proofs that were not written down because the disk failed or too many waited.
    pub unwritten: u64,
}

/// Why there can be no [`FileStore`].
#[derive(Debug)]
#[non_exhaustive]
pub enum FileStoreError {
    /// The folder or a file in it.
    Io(io::Error),
    /// Another process has the folder.
    Taken,
    /// What is in the folder is not of this kind, or of a later version.
    Foreign,
    /// The limits themselves.
    Limits(LimitsError),
}

impl fmt::Display for FileStoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Taken => f.write_str("another process has this folder"),
            Self::Foreign => f.write_str("there is something else in this folder, or of a later version"),
            Self::Limits(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for FileStoreError {}

impl From<io::Error> for FileStoreError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

impl FileStore {
    /// Opens the folder, which is made if it is not there, with a memory of these limits.
    ///
    /// `judged_by` says in any words what proofs are judged by: windows, nonce policy, for which paths they are recorded.
    ///
    /// # Errors
    ///
    /// [`FileStoreError`].
    pub fn open(folder: &Path, limits: MemoryLimits, judged_by: &str, now: UnixTime) -> Result<Self, FileStoreError> {
        let Begun { folder, mut head } = Folder::open(folder, judged_by, now)?;
        let mut contents = folder.found(&head.key, now)?;
        if contents.floor > now {
            tracing::warn!(
                until = contents.floor.as_secs(),
                "used proofs were removed by a clock that was ahead: those that expire before that time are refused"
            );
        }
        let secret = random_array().map_err(|_| io::Error::other("there are no random numbers"))?;
        let memory = MemoryStore::new(limits, secret, head.epoch).map_err(FileStoreError::Limits)?;
        let all_fit = fill(&memory, &mut contents, now);
        if !all_fit || contents.files.iter().any(|(_, found)| found.damaged) {
            let why = if all_fit {
                "may be missing in a file of them"
            } else {
                "do not fit into the memory or the quota that is set"
            };
            tracing::warn!("used proofs {why}: a new epoch begins, and those of before need a nonce, once");
            head = folder.begin(head.key, judged_by, now)?;
            memory.raise(head.epoch);
        }
        // Only now: neither the damage nor what was left out is to be seen any more then.
        folder.mend(&contents.files, &head.key)?;
        let folder = Arc::new(folder);
        let writer = Writer::start(Arc::clone(&folder), head.key)?;
        Ok(Self { memory, folder, key: head.key, floor: contents.floor, writer })
    }

    /// Opens a new epoch, which a restart finds again: what was judged before and is not recorded yet is [`Seen::Forgotten`]. Called
    /// when what proofs are judged by changes.
    ///
    /// # Errors
    ///
    /// If it cannot be written down. It is opened all the same, and again after a restart.
    pub fn raise(&self, judged_by: &str, epoch: Epoch) -> io::Result<()> {
        let written = self.folder.write(&Head::new(epoch, self.key, judged_by));
        self.memory.raise(epoch);
        written
    }

    /// Writes down what proofs are judged by from now on, where that costs no new epoch: a restart compares with it.
    ///
    /// # Errors
    ///
    /// If it cannot be written down.
    pub fn judge_by(&self, judged_by: &str) -> io::Result<()> {
        self.folder.write(&Head::new(self.memory.epoch(), self.key, judged_by))
    }

    /// How it stands.
    pub fn figures(&self) -> FileStoreFigures {
        FileStoreFigures {
            is_there: self.writer.is_there(),
            no_room: self.writer.no_room(),
            unwritten: self.writer.unwritten(),
        }
    }

    /// What is looked at, for its figures.
    pub const fn memory(&self) -> &MemoryStore {
        &self.memory
    }

    /// Gives back memory and files of what has expired.
    pub fn sweep(&self, now: UnixTime) {
        self.memory.sweep(now);
        self.writer.sweep(now);
    }

    fn line(&self, entry: &ReplayEntry<'_>) -> Line {
        let mut digest = SipHasher24::new_with_key(&self.key);
        entry.digest_input(|octets| digest.write(octets));
        let mut jkt = [0; 16];
        jkt.iter_mut().zip(entry.jkt().as_bytes()).for_each(|(to, from)| *to = *from);
        Line { jkt, digest: digest.finish128().as_bytes(), expires: entry.expires() }
    }
}

impl ReplayStore for FileStore {
    fn epoch(&self) -> Epoch {
        self.memory.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        if entry.expires() < self.floor {
            return Ok(Seen::Forgotten);
        }
        let line = self.line(entry);
        let seen = put(&self.memory, &line, entry.epoch(), now)?;
        if seen != Seen::Never {
            return Ok(seen);
        }
        let (done, written) = oneshot::channel();
        self.writer.write(Job { line, now, done })?;
        // Whoever comes with the same meanwhile is told that it was here: at worst nobody is admitted.
        written.await.unwrap_or_else(|_ended| Err(self.writer.lost())).map(|()| Seen::Never)
    }
}

#[cfg(test)]
mod tests;
