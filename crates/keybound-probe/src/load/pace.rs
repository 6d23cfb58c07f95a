//! When requests are due, and when there are no more.

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::UnboundedSender;

/// How soon a stop is noticed.
const LOOK: Duration = Duration::from_millis(20);

/// At this rate and above, sleeps are at least so long: to wake up for each request alone would cost more than the request, on
/// a processor that others may need.
const DENSE: f64 = 10_000.0;
const STEP: Duration = Duration::from_micros(150);

/// The times of a run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    pub(crate) begin: Instant,
    /// The end of the warm-up.
    pub(crate) counted: Instant,
    pub(crate) end: Option<Instant>,
}

/// How many requests may still be sent, shared by all who send.
#[derive(Debug)]
pub(crate) struct Budget {
    left: Option<AtomicU64>,
    stopped: AtomicBool,
}

impl Budget {
    pub(crate) fn new(requests: Option<u64>) -> Self {
        Self { left: requests.map(AtomicU64::new), stopped: AtomicBool::new(false) }
    }

    /// No more requests from now on.
    pub(crate) fn stop(&self) {
        self.stopped.store(true, Relaxed);
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stopped.load(Relaxed)
    }

    /// Whether a request that is due then may be sent.
    pub(crate) fn allows(&self, due: Instant, schedule: &Schedule) -> bool {
        if self.is_stopped() || schedule.end.is_some_and(|end| due >= end) {
            return false;
        }
        match &self.left {
            Some(left) if due >= schedule.counted => {
                left.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(1)).is_ok()
            }
            _ => true,
        }
    }
}

/// Says to each worker in turn when its next request is due, at the time it is.
pub(crate) fn keep(rate: f64, schedule: &Schedule, budget: &Budget, workers: &[UnboundedSender<Instant>]) {
    let step = if rate < DENSE { Duration::ZERO } else { STEP };
    for (number, worker) in workers.iter().cycle().enumerate() {
        let due = schedule.begin + Duration::from_secs_f64(number as f64 / rate);
        if let Some(end) = schedule.end.filter(|end| due >= *end) {
            // The run lasts for its time, though nothing is due in the rest of it.
            wait(end, step, budget);
            return;
        }
        // Before the wait: who would wait for a request that never comes?
        if !budget.allows(due, schedule) || !wait(due, step, budget) || worker.send(due).is_err() {
            return;
        }
    }
}

/// Returns then, or a step later at most; earlier with `false`, if the run is stopped.
fn wait(due: Instant, step: Duration, budget: &Budget) -> bool {
    loop {
        let left = due.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return !budget.is_stopped();
        }
        if budget.is_stopped() {
            return false;
        }
        thread::sleep(left.clamp(step, LOOK));
    }
}
