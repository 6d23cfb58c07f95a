//! Nobody keeps a worker to himself: after so much of one connection the others are heard.

use core::task::{Context, Poll};

use tokio::task::coop::poll_proceed;

/// How many tasks have their turn before the system is asked what has come. Asking costs as much as a quarter of a request, and with
/// hundreds of connections most of what it says has to wait for its turn anyway.
pub(crate) const TURNS: u32 = 255;

/// How many requests or pieces of a body a connection has in one turn. The HTTP library would have 16, and go to the end of the queue
/// for more without anybody asking the system: this many times [`TURNS`] are as many as 16 times tokio's own 61.
pub(crate) const PIECES: u8 = 4;

/// What a body has had of its turn.
#[derive(Debug, Default)]
pub(crate) struct Share(u8);

impl Share {
    /// Takes a piece more. Pending once it was enough: the task is woken when the system was asked, and others were heard.
    pub(crate) fn take(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.0 < PIECES {
            self.0 += 1;
            return Poll::Ready(());
        }
        self.0 = 0;
        // A task without steps left is one that waits for the system; it has 128 in a turn.
        for _ in 0..=128 {
            match poll_proceed(cx) {
                Poll::Ready(step) => step.made_progress(),
                Poll::Pending => return Poll::Pending,
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use super::*;

    #[test]
    fn a_share_ends_and_another_begins() {
        let (mut share, mut cx) = (Share::default(), Context::from_waker(Waker::noop()));
        for _ in 0..3 {
            for piece in 0..PIECES {
                assert!(share.take(&mut cx).is_ready(), "{piece}");
            }
            assert!(share.take(&mut cx).is_pending());
        }
    }
}
