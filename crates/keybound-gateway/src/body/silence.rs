//! Notices that nothing has come for too long. There is no timer until something is waited for.

use core::pin::Pin;
use core::task::{Context, Poll};
use core::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

/// The longest silence allowed, and the present one.
pub(crate) struct Silence {
    most: Duration,
    began: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Silence {
    pub(crate) const fn of(most: Duration) -> Self {
        Self {
            most,
            began: None,
            timer: None,
        }
    }

    /// Something came.
    pub(crate) const fn broken(&mut self) {
        self.began = None;
    }

    /// Nothing came just now: ready once that has lasted too long, or `due` is past.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let now = Instant::now();
        let end = *self.began.get_or_insert(now) + self.most;
        let end = due.map_or(end, |due| end.min(due));
        if end <= now {
            return Poll::Ready(());
        }
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(end)));
        if timer.deadline() != end {
            timer.as_mut().reset(end);
        }
        timer.as_mut().poll(cx)
    }
}
