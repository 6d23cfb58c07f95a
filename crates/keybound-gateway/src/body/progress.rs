//! How far a request's body has come, seen by the one who waits for the answer to it.

use core::cell::Cell;

use tokio::time::Instant;

/// Shared by a request's body and the wait for its response.
#[derive(Debug)]
pub(crate) struct Progress {
    due: Instant,
    frames: Cell<u64>,
    finished: Cell<Option<Instant>>,
}

impl Progress {
    /// Of a body that must have come whole by `due`.
    pub(crate) const fn until(due: Instant) -> Self {
        Self {
            due,
            frames: Cell::new(0),
            finished: Cell::new(None),
        }
    }

    pub(crate) fn moved(&self, finished: bool) {
        self.frames.set(self.frames.get() + 1);
        if finished && self.finished.get().is_none() {
            self.finished.set(Some(Instant::now()));
        }
    }

    /// When it must have come whole.
    pub(crate) const fn due(&self) -> Instant {
        self.due
    }

    /// How many pieces have gone by.
    pub(crate) const fn frames(&self) -> u64 {
        self.frames.get()
    }

    /// When its last piece went by.
    pub(crate) const fn finished(&self) -> Option<Instant> {
        self.finished.get()
    }
}
