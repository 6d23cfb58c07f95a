//! How far a request's body has come, seen by the one who waits for the answer to it.

use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use core::time::Duration;

use tokio::time::Instant;

use crate::answer::Problem;

/// Shared by a request's body, the wait for its response, and the response's body.
#[derive(Debug)]
pub(crate) struct Progress {
    due: Instant,
    frames: Cell<u64>,
    last: Cell<Instant>,
    finished: Cell<Option<Instant>>,
    failed: Cell<Option<Problem>>,
    answered: Cell<Option<Answered>>,
    abandoned: Cell<bool>,
    /// Of whoever sends the body on.
    sender: RefCell<Option<Waker>>,
}

/// From when the response has begun, both bodies are one exchange: it is alive while either moves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answered {
    /// When something of the response last came.
    pub(crate) last: Instant,
    /// How long both may be silent.
    pub(crate) silence: Duration,
}

impl Progress {
    /// Of a body that must have come whole by `due`.
    pub(crate) fn until(due: Instant) -> Self {
        Self {
            due,
            frames: Cell::new(0),
            last: Cell::new(Instant::now()),
            finished: Cell::new(None),
            failed: Cell::new(None),
            answered: Cell::new(None),
            abandoned: Cell::new(false),
            sender: RefCell::default(),
        }
    }

    pub(crate) fn moved(&self, finished: bool) {
        self.frames.set(self.frames.get() + 1);
        self.last.set(Instant::now());
        if finished && self.finished.get().is_none() {
            self.finished.set(Some(Instant::now()));
        }
    }

    /// It will not come whole.
    pub(crate) fn fail(&self, problem: Problem) {
        self.failed.set(Some(problem));
        self.moved(true);
    }

    /// It is sent once more, from its first octet.
    pub(crate) fn begin_again(&self) {
        self.finished.set(None);
        self.abandoned.set(false);
    }

    /// Something of the response came; both bodies may be silent for so long.
    pub(crate) fn answer_moved(&self, silence: Duration) {
        self.answered.set(Some(Answered { last: Instant::now(), silence }));
    }

    /// Nobody wants the rest of it.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
        if let Some(sender) = self.sender.borrow_mut().take() {
            sender.wake();
        }
    }

    pub(crate) const fn is_abandoned(&self) -> bool {
        self.abandoned.get()
    }

    /// Whom to wake when it is abandoned.
    pub(crate) fn sent_by(&self, cx: &Context<'_>) {
        let mut sender = self.sender.borrow_mut();
        match &mut *sender {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
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

    /// When the last of them went by.
    pub(crate) const fn last(&self) -> Instant {
        self.last.get()
    }

    /// When its last piece went by.
    pub(crate) const fn finished(&self) -> Option<Instant> {
        self.finished.get()
    }

    /// Why it did not come whole.
    pub(crate) const fn failed(&self) -> Option<Problem> {
        self.failed.get()
    }

    /// Whether the response has begun.
    pub(crate) const fn answered(&self) -> Option<Answered> {
        self.answered.get()
    }
}
