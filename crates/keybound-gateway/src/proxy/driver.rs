//! What moves the octets of a connection of HTTP/1.1. Nearly always that is whoever waits for them: the request that was sent
//! and what comes of it are looked at in one turn of one task, and a connection at rest costs nobody a turn.

use core::cell::RefCell;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, Ordering::Relaxed};
use core::task::{Context, Poll, Waker};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Wake;

use futures_util::task::AtomicWaker;
use tokio::task::AbortHandle;

/// The library's future of a connection, in the hands of whoever has the connection, or of a task of its own.
pub(super) struct Driver {
    moving: Rc<RefCell<Moving>>,
    relay: Arc<Relay>,
    task: Option<AbortHandle>,
}

struct Moving {
    /// What goes wrong is told to whoever waits for a response. `None` once it has ended.
    connection: Option<Pin<Box<dyn Future<Output = hyper::Result<()>>>>>,
    relay: Arc<Relay>,
    waker: Waker,
}

/// Wakes whoever last moved the connection: not always the same task.
#[derive(Default)]
struct Relay {
    task: AtomicWaker,
    /// Whether the one that would be woken is looking anyway.
    quiet: AtomicBool,
}

impl Wake for Relay {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.quiet.load(Relaxed) {
            self.task.wake();
        }
    }
}

impl Moving {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(connection) = &mut self.connection else { return Poll::Ready(()) };
        self.relay.task.register(cx.waker());
        let polled = connection.as_mut().poll(&mut Context::from_waker(&self.waker));
        if polled.is_ready() {
            self.connection = None;
        }
        polled.map(|_| ())
    }
}

impl Driver {
    pub(super) fn new(connection: impl Future<Output = hyper::Result<()>> + 'static) -> Self {
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        let moving = Moving { connection: Some(Box::pin(connection)), relay: Arc::clone(&relay), waker };
        Self { moving: Rc::new(RefCell::new(moving)), relay, task: None }
    }

    /// Moves what can be moved, unless that goes by itself; whether it was so.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let ours = self.task.is_none();
        if ours {
            let _ = self.moving.borrow_mut().poll(cx);
        }
        ours
    }

    /// Looks at what has come of moving it, or gives it something to move. Nothing comes in any other way, so where the one
    /// who looks is the one who moves it next, nobody need be woken, to find that all has been seen.
    pub(super) fn look<T>(&self, cx: &mut Context<'_>, look: impl FnOnce(&mut Context<'_>) -> T) -> T {
        if self.task.is_some() {
            return look(cx);
        }
        self.relay.quiet.store(true, Relaxed);
        let seen = look(&mut Context::from_waker(Waker::noop()));
        self.relay.quiet.store(false, Relaxed);
        seen
    }

    /// From here on it moves by itself, until it rests.
    pub(super) fn detach(&mut self) {
        if self.task.is_none() {
            let moving = Rc::clone(&self.moving);
            self.task = Some(tokio::task::spawn_local(poll_fn(move |cx| moving.borrow_mut().poll(cx))).abort_handle());
        }
    }

    /// It moves by itself to its end.
    pub(super) fn run(mut self) {
        self.detach();
        self.task = None;
    }

    /// Nobody waits for anything on it.
    pub(super) fn rest(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
        self.relay.task.take();
    }
}

/// It is cut off, with whatever was still to be sent on it.
impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(task) = self.task.take() {
            task.abort();
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver").field("alone", &self.task.is_some()).finish_non_exhaustive()
    }
}
