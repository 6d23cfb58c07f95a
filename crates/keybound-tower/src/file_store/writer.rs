//! The thread that writes: everything that came during one flush goes into the next.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use tokio::sync::oneshot;

use super::folder::private;
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
}

impl Writer {
    pub(super) fn start(folder: &Path, key: [u8; 16]) -> io::Result<Self> {
        let (orders, queue) = sync_channel(QUEUE);
        let files = Files { folder: folder.to_owned(), key, open: BTreeMap::new() };
        let thread = std::thread::Builder::new().name("keybound-proofs".to_owned());
        let thread = thread.spawn(move || write_all(&queue, files))?;
        Ok(Self { orders: Some(orders), thread: Some(thread) })
    }

    pub(super) fn write(&self, job: Job) -> Result<(), Fault> {
        let orders = self.orders.as_ref().ok_or(Fault::ReplayUnreachable)?;
        orders.try_send(Order::Write(job)).map_err(|_| Fault::ReplayUnreachable)
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
    folder: PathBuf,
    key: [u8; 16],
    open: BTreeMap<u64, File>,
}

fn write_all(queue: &Receiver<Order>, mut files: Files) {
    while let Ok(first) = queue.recv() {
        let (mut group, mut swept) = (Vec::new(), None);
        for order in core::iter::once(first).chain(queue.try_iter().take(GROUP - 1)) {
            match order {
                Order::Write(job) => group.push(job),
                Order::Sweep(now) => swept = Some(now),
            }
        }
        let outcome = files.write(&group);
        let answer = outcome.as_ref().copied().map_err(|_| Fault::ReplayUnreachable);
        for job in group {
            let _ = job.done.send(answer);
        }
        if let Err(error) = outcome {
            // What the disk has now, nobody knows. The queue closes, and whoever waits is told.
            tracing::error!(%error, "used proofs cannot be written down: none is recorded until a restart");
            return;
        }
        if let Some(now) = swept {
            files.sweep(now);
        }
    }
}

impl Files {
    /// Returns once all of it is on the disk.
    fn write(&mut self, group: &[Job]) -> io::Result<()> {
        let mut texts = BTreeMap::<u64, Vec<u8>>::new();
        for Job { line, .. } in group {
            texts.entry(log::number_of(line.expires)).or_default().extend(line.to_octets(&self.key));
        }
        for (number, text) in texts {
            let file = self.file(number)?;
            file.write_all(&text)?;
            file.sync_data()?;
        }
        if let Some(now) = group.iter().map(|job| job.now).max() {
            self.open.retain(|number, _| *number >= log::number_of(now));
        }
        Ok(())
    }

    fn file(&mut self, number: u64) -> io::Result<&mut File> {
        use std::collections::btree_map::Entry;

        match self.open.entry(number) {
            Entry::Occupied(there) => Ok(there.into_mut()),
            Entry::Vacant(free) => {
                let file = private().create(true).append(true).open(self.folder.join(log::name_of(number)))?;
                // So that the file is found, and not only its content kept.
                File::open(&self.folder)?.sync_all()?;
                Ok(free.insert(file))
            }
        }
    }

    /// Removes files that have expired. One that stays is removed at the next start.
    fn sweep(&mut self, now: UnixTime) {
        let edge = log::number_of(now);
        self.open.retain(|number, _| *number >= edge);
        let Ok(names) = fs::read_dir(&self.folder) else { return };
        for entry in names.flatten() {
            let number = entry.file_name().to_str().and_then(log::number_in);
            if number.is_some_and(|number| number < edge) {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
