//! A load that runs: threads that sign, threads that send, and one that keeps the pace.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::io;
use std::num::NonZeroUsize;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use http::header::HOST;
use tokio::sync::mpsc::unbounded_channel;
use tokio::sync::{Mutex, watch};

use super::Load;
use super::error::LoadError;
use super::mint::Mint;
use super::pace::{self, Budget, Schedule};
use super::report::Report;
use super::tally::Tally;
use super::worker::{Job, Slots, Work};

/// How far a run is; the warm-up is counted here as well.
#[derive(Debug, Default)]
pub struct Progress {
    answered: AtomicU64,
    bad: AtomicU64,
}

impl Progress {
    /// Requests that are done with.
    pub fn done(&self) -> u64 {
        self.answered.load(Relaxed)
    }

    /// Those among them without a success.
    pub fn bad(&self) -> u64 {
        self.bad.load(Relaxed)
    }

    pub(crate) fn count(&self, good: bool) {
        self.answered.fetch_add(1, Relaxed);
        if !good {
            self.bad.fetch_add(1, Relaxed);
        }
    }
}

/// A load that runs. Dropped, it stops.
#[must_use = "dropped, it stops"]
pub struct Running {
    job: Arc<Job>,
    schedule: Schedule,
    workers: Vec<JoinHandle<io::Result<Tally>>>,
    others: Vec<JoinHandle<()>>,
}

impl Running {
    pub(crate) fn start(load: &Load) -> Result<Self, LoadError> {
        if let Some(rate) = load.rate.filter(|rate| !(rate.is_finite() && *rate > 0.0)) {
            return Err(LoadError::Rate(rate));
        }
        let job = Arc::new(job(load));
        let mut starting = Starting { job, workers: Vec::new(), others: Vec::new() };
        starting.signers(load.signers)?;
        let (slots, pacing) = slots(load);
        let (begin, begun) = watch::channel(None);
        let (ready, all_ready) = mpsc::channel();
        for (number, slots) in slots.into_iter().enumerate() {
            let work = Work {
                job: Arc::clone(&starting.job),
                connections: share(load.connections.get(), workers(load), number),
                slots,
                begun: begun.clone(),
            };
            let ready = ready.clone();
            let told = move |opened| drop(ready.send(opened));
            starting.workers.push(spawn("keybound-load", move || work.run(told))?);
        }
        drop(ready);
        for opened in all_ready {
            opened.map_err(|why| LoadError::Connect(load.target.htu.origin().to_owned(), why))?;
        }
        let now = Instant::now();
        let counted = now + load.warm_up;
        let schedule = Schedule { begin: now, counted, end: load.duration.map(|duration| counted + duration) };
        begin.send_replace(Some(schedule));
        if let Some(rate) = load.rate {
            let job = Arc::clone(&starting.job);
            starting.others.push(spawn("keybound-pace", move || pace::keep(rate, &schedule, &job.budget, &pacing))?);
        }
        Ok(starting.running(schedule))
    }

    /// How far it is.
    pub fn progress(&self) -> &Progress {
        &self.job.progress
    }

    /// When the warm-up ends, or has ended.
    pub const fn counted_from(&self) -> Instant {
        self.schedule.counted
    }

    /// Sends no more requests; those that were sent are waited for by [`Running::finish`].
    pub fn stop(&self) {
        self.job.budget.stop();
    }

    /// Whether everything has been sent and answered.
    pub fn is_over(&self) -> bool {
        self.workers.iter().all(JoinHandle::is_finished)
    }

    /// Waits for the end.
    ///
    /// # Errors
    ///
    /// [`LoadError::Signing`] if a key could not be used, [`LoadError::Thread`].
    pub fn finish(mut self) -> Result<Report, LoadError> {
        let mut tally = Tally::new();
        for worker in self.workers.drain(..) {
            let worked = worker.join().map_err(|_| io::Error::other("a worker panicked"));
            tally.add(&worked.and_then(|worked| worked).map_err(LoadError::Thread)?);
        }
        let now = Instant::now();
        let end = self.schedule.end.map_or(now, |end| end.min(now));
        if let Some(failure) = self.job.mint.as_ref().and_then(Mint::failure) {
            return Err(failure.into());
        }
        Ok(Report::new(tally, end.saturating_duration_since(self.schedule.counted)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        end(&self.job, &mut self.workers, &mut self.others);
    }
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("progress", &self.job.progress).finish_non_exhaustive()
    }
}

/// The threads so far. Dropped, because one of them could not be had, it ends the others.
struct Starting {
    job: Arc<Job>,
    workers: Vec<JoinHandle<io::Result<Tally>>>,
    others: Vec<JoinHandle<()>>,
}

impl Starting {
    fn signers(&mut self, signers: NonZeroUsize) -> Result<(), LoadError> {
        if self.job.mint.is_none() {
            return Ok(());
        }
        for _ in 0..signers.get() {
            let job = Arc::clone(&self.job);
            let sign = move || job.mint.as_ref().map_or((), Mint::work);
            self.others.push(spawn("keybound-sign", sign)?);
        }
        Ok(())
    }

    fn running(mut self, schedule: Schedule) -> Running {
        let (workers, others) = (std::mem::take(&mut self.workers), std::mem::take(&mut self.others));
        Running { job: Arc::clone(&self.job), schedule, workers, others }
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if !self.workers.is_empty() || !self.others.is_empty() {
            end(&self.job, &mut self.workers, &mut self.others);
        }
    }
}

/// Ends and waits: nothing is sent when this has returned.
fn end(job: &Job, workers: &mut Vec<JoinHandle<io::Result<Tally>>>, others: &mut Vec<JoinHandle<()>>) {
    job.budget.stop();
    if let Some(mint) = &job.mint {
        mint.close();
    }
    // Whoever asked for the end does not care how it was.
    workers.drain(..).for_each(|worker| drop(worker.join()));
    others.drain(..).for_each(|other| drop(other.join()));
}

fn spawn<T: Send + 'static>(name: &str, work: impl FnOnce() -> T + Send + 'static) -> Result<JoinHandle<T>, LoadError> {
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(LoadError::Thread)
}

fn job(load: &Load) -> Job {
    let mut fields = load.fields.clone();
    fields.entry(HOST).or_insert_with(|| load.target.host.clone());
    let mint = || Mint::new(load.callers.clone(), load.method.clone(), load.target.htu.clone());
    Job {
        target: Arc::clone(&load.target),
        method: load.method.clone(),
        fields,
        body: load.body.clone(),
        mint: (!load.callers.is_empty()).then(mint),
        patience: load.patience,
        budget: Budget::new(load.requests),
        progress: Progress::default(),
    }
}

/// A worker without a connection would do nothing.
fn workers(load: &Load) -> usize {
    load.workers.min(load.connections).get()
}

/// Where each worker gets its slots from, and where those are put in an open loop.
fn slots(load: &Load) -> (Vec<Slots>, Vec<tokio::sync::mpsc::UnboundedSender<Instant>>) {
    if load.rate.is_none() {
        return ((0..workers(load)).map(|_| Slots::Closed).collect(), Vec::new());
    }
    let channel = |_| {
        let (sender, receiver) = unbounded_channel();
        (Slots::Open(Mutex::new(receiver)), sender)
    };
    (0..workers(load)).map(channel).unzip()
}

/// The part of a number that falls to one of several.
fn share(all: usize, parts: usize, number: usize) -> usize {
    all / parts + usize::from(number < all % parts)
}
