//! The thread that writes: everything that came during one flush goes into the next.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use tokio::sync::oneshot;

use super::folder::Folder;
use super::gone::remove_expired;
use super::log::{self, Line};

/// Lines that wait; more are refused at once.
const QUEUE: usize = 16 * 1024;

/// Lines of one flush.
const GROUP: usize = 4 * 1024;

/// A line and who waits for it.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) line: Line,
    pub(super) now: UnixTime,
    pub(super) done: oneshot::Sender<Result<(), Fault>>,
}

#[derive(Debug)]
enum Order {
    Write(Job),
    Sweep(UnixTime),
}

/// The thread, which ends with this after what was ordered.
#[derive(Debug)]
pub(super) struct Writer {
    orders: Option<SyncSender<Order>>,
    thread: Option<std::thread::JoinHandle<()>>,
    told: Arc<Told>,
}

/// How it stands with the disk.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// For good.
    failed: AtomicBool,
    full: AtomicBool,
    no_room: AtomicU64,
    unwritten: AtomicU64,
}

impl Told {
    /// What is answered to so many lines; says in the log when it changes.
    fn of(&self, outcome: &Result<(), Failure>, lines: usize) -> Result<(), Fault> {
        let lines = log::count(lines);
        match outcome {
            Ok(()) => {
                // A group of nothing says nothing.
                if lines > 0 && self.full.swap(false, Ordering::Relaxed) {
                    tracing::info!("used proofs can be written down again");
                }
                Ok(())
            }
            Err(Failure::NoRoom(error)) => {
                if !self.full.swap(true, Ordering::Relaxed) {
                    tracing::error!(%error, "there is no room on the disk: used proofs cannot be written down");
                }
                self.no_room.fetch_add(lines, Ordering::Relaxed);
                Err(Fault::ReplayFull)
            }
            Err(Failure::Unknown(error)) => {
                self.failed.store(true, Ordering::Release);
                self.unwritten.fetch_add(lines, Ordering::Relaxed);
                tracing::error!(%error, "used proofs cannot be written down: none is recorded until a restart");
                Err(Fault::ReplayUnreachable)
            }
        }
    }
}

impl Writer {
    pub(super) fn start(folder: Arc<Folder>, key: [u8; 16]) -> io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE);
        let files = Files { folder, key, open: BTreeMap::new() };
        let thread = std::thread::Builder::new().name("keybound-proofs".to_owned());
        let told = Arc::<Told>::default();
        let own = Arc::clone(&told);
        let thread = thread.spawn(move || write_all(&queue, files, &own))?;
        Ok(Self { orders: Some(orders), thread: Some(thread), told })
    }

    pub(super) fn write(&self, job: Job) -> Result<(), Fault> {
        let sent = self.orders.as_ref().is_some_and(|orders| orders.try_send(Order::Write(job)).is_ok());
        if sent {
            return Ok(());
        }
        Err(self.lost())
    }

    /// What is said of a line that nobody took, or that still waited when the thread ended.
    pub(super) fn lost(&self) -> Fault {
        self.told.unwritten.fetch_add(1, Ordering::Relaxed);
        Fault::ReplayUnreachable
    }

    /// Whether anything can be written down before a restart.
    pub(super) fn is_there(&self) -> bool {
        !self.told.failed.load(Ordering::Acquire)
    }

    /// How many lines had no room on the disk.
    pub(super) fn no_room(&self) -> u64 {
        self.told.no_room.load(Ordering::Relaxed)
    }

    /// How many others were not written down.
    pub(super) fn unwritten(&self) -> u64 {
        self.told.unwritten.load(Ordering::Relaxed)
    }

    pub(super) fn sweep(&self, now: UnixTime) {
        match self.orders.as_ref().map(|orders| orders.try_send(Order::Sweep(now))) {
            // There will be another.
            None | Some(Ok(()) | Err(TrySendError::Full(_) | TrySendError::Disconnected(_))) => {}
        }
    }
}

impl Drop for Writer {
    /// Whoever opens the folder next finds it at rest.
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Files {
    folder: Arc<Folder>,
    key: [u8; 16],
    open: BTreeMap<u64, Open>,
}

/// A file that is written to, and how many lines it has.
struct Open {
    file: File,
    lines: u64,
}

/// Why lines are not on the disk.
enum Failure {
    /// There is no room, and the file is as it was.
    NoRoom(io::Error),
    /// What the disk has now, nobody knows.
    Unknown(io::Error),
}

fn write_all(queue: &Receiver<Order>, mut files: Files, told: &Told) {
    while let Ok(first) = queue.recv() {
        let (mut group, mut swept) = (Vec::new(), None);
        for order in core::iter::once(first).chain(queue.try_iter().take(GROUP - 1)) {
            match order {
                Order::Write(job) => group.push(job),
                Order::Sweep(now) => swept = Some(now),
            }
        }
        let outcome = files.write(&group);
        let answer = told.of(&outcome, group.len());
        for job in group {
            let _ = job.done.send(answer);
        }
        if let Err(Failure::Unknown(_)) = outcome {
            // The queue closes, and whoever waits is told.
            return;
        }
        if let Some(now) = swept {
            files.sweep(now);
        }
    }
}

impl Files {
    /// Returns once all of it is on the disk.
    fn write(&mut self, group: &[Job]) -> Result<(), Failure> {
        let mut texts = BTreeMap::<u64, Vec<Line>>::new();
        for Job { line, .. } in group {
            texts.entry(log::number_of(line.expires)).or_default().push(*line);
        }
        for (number, lines) in texts {
            let key = self.key;
            self.file(number)?.append(&lines, &key)?;
        }
        if let Some(now) = group.iter().map(|job| job.now).max() {
            self.open.retain(|number, _| *number >= log::number_of(now));
        }
        Ok(())
    }

    fn file(&mut self, number: u64) -> Result<&mut Open, Failure> {
        use std::collections::btree_map::Entry;

        match self.open.entry(number) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(free) => {
                let name = log::name_of(number);
                let path = self.folder.path().join(&name);
                if !path.try_exists().map_err(Failure::Unknown)? {
                    self.folder.put(&name, &log::beginning(0, &self.key)).map_err(Failure::of)?;
                }
                let file = OpenOptions::new().write(true).open(path).map_err(Failure::Unknown)?;
                let length = file.metadata().map_err(Failure::Unknown)?.len();
                let lines = length.saturating_sub(log::count(log::BEGINNING)) / log::count(log::LINE);
                Ok(free.insert(Open { file, lines }))
            }
        }
    }

    /// Removes files that have expired. One that stays is removed by the next sweep, or at the next start.
    fn sweep(&mut self, now: UnixTime) {
        let edge = log::number_of(now);
        self.open.retain(|number, _| *number >= edge);
        let _ = remove_expired(self.folder.path(), now);
    }
}

impl Open {
    fn append(&mut self, lines: &[Line], key: &[u8; 16]) -> Result<(), Failure> {
        let end = log::count(log::BEGINNING) + self.lines * log::count(log::LINE);
        let text: Vec<u8> = lines.iter().flat_map(|line| line.to_octets(key)).collect();
        if let Err(error) = self.write_at(end, &text) {
            self.file.set_len(end).map_err(Failure::Unknown)?;
            return Err(Failure::of(error));
        }
        self.file.sync_data().map_err(Failure::Unknown)?;
        self.lines += log::count(lines.len());
        // Not waited for. It says that nothing was taken away from behind, and a power failure takes nothing that was synced.
        self.write_at(0, &log::beginning(self.lines, key)).map_err(Failure::Unknown)
    }

    fn write_at(&mut self, position: u64, octets: &[u8]) -> io::Result<()> {
        self.file.seek(io::SeekFrom::Start(position))?;
        self.file.write_all(octets)
    }
}

impl Failure {
    /// Of something that leaves what was there before.
    fn of(error: io::Error) -> Self {
        use io::ErrorKind::{FileTooLarge, QuotaExceeded, StorageFull};

        match error.kind() {
            FileTooLarge | QuotaExceeded | StorageFull => Self::NoRoom(error),
            _ => Self::Unknown(error),
        }
    }
}
