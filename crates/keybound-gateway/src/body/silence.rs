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
        Self { most, began: None, timer: None }
    }

    pub(crate) const fn most(&self) -> Duration {
        self.most
    }

    /// Something came.
    pub(crate) const fn broken(&mut self) {
        self.began = None;
    }

    /// From now on it may last so long.
    pub(crate) const fn allow(&mut self, most: Duration) {
        self.most = most;
    }

    /// Nothing came just now: ready once that has lasted too long, or `due` is past. What came the other way at `last`
    /// counts too.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>, last: Option<Instant>) -> Poll<()> {
        let now = Instant::now();
        let began = *self.began.get_or_insert(now);
        let end = last.map_or(began, |last| began.max(last)) + self.most;
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
