//! One HTTP/2 connection of a client. The library keeps to the protocol and bounds what a client may make it hold; here
//! are the times, for the connection and for each response on it, and the end.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::{Pin, pin};
use core::task::{Context, Poll, Waker};
use core::time::Duration;
use std::rc::Rc;

use http::Request;
use http::header::CONNECTION;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2::Builder;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::connection::{Deadline, Octets, Shop, TurnedAway, due, takes_nothing};
use super::guard::{Guard, Phase};
use super::{Handler, Peer};
use crate::config::Limits;

/// What a client may send ahead of an upstream that takes it slowly, on one request and on all of a connection.
const WINDOW: u32 = 256 << 10;
const WINDOW_OF_ALL: u32 = 1 << 20;

/// The library answers lists of fields beyond its bound by itself, without a reason, and ends the connection at four times that.
/// It lets so many times `limits.header_bytes` through, so that it is we who refuse what is too long by any usual measure.
const HEADER_MARGIN: u32 = 4;

/// What may wait for a client to take it, beyond the piece that is being sent.
const SEND_BUFFER: usize = 64 << 10;

/// Requests that a client may take back unseen, or break, before the connection is ended.
const MOST_UNSEEN_RESETS: usize = 20;
const MOST_BROKEN: usize = 100;

/// Requests that a client may take back unanswered, beyond one for each that was answered: the work was done for nothing.
const MOST_TAKEN_BACK: u32 = 100;

/// How long a client that was told of the end, and has nothing under way, may take to hear of it.
const FAREWELL: Duration = Duration::from_secs(5);

fn builder(limits: &Limits, flows: Flows) -> Builder<Flows> {
    let mut builder = Builder::new(flows);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX).saturating_mul(HEADER_MARGIN))
        .max_pending_accept_reset_streams(MOST_UNSEEN_RESETS)
        .max_local_error_reset_streams(MOST_BROKEN)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW_OF_ALL)
        .max_send_buf_size(SEND_BUFFER)
        // Whoever does not answer a ping is gone, or is inside a header that does not end.
        .keep_alive_interval(limits.client_timeout)
        .keep_alive_timeout(limits.header_timeout);
    builder
}

/// Serves a connection until it ends; with `turned_away`, the first request gets that, and there is no second.
pub(crate) async fn serve<H: Handler, S: Octets>(
    shop: Rc<Shop<H>>,
    mut guard: Guard<S>,
    peer: Peer,
    turned_away: Option<TurnedAway>,
) {
    guard.multiplex();
    let flows = Flows(Rc::new(Shared { patience: shop.limits.client_timeout, ..Shared::default() }));
    let service = service_fn(|request: Request<Incoming>| {
        let (shop, flow) = (Rc::clone(&shop), flows.begin());
        let begun = shop.begin(request, peer.clone(), turned_away, Some(Rc::clone(&flow)));
        async move {
            let mut response = shop.respond(begun).await;
            flow.answered(turned_away.is_some());
            // Of one connection, which is not to end for this.
            response.headers_mut().remove(CONNECTION);
            Ok::<_, Infallible>(response)
        }
    });
    let connection = builder(&shop.limits, flows.clone()).serve_connection(TokioIo::new(guard), service);
    let mut connection = pin!(connection);
    let mut told = pin!(shop.draining.beginning());
    let mut ending = None;
    let mut deadline = Deadline::default();
    poll_fn(|cx| {
        flows.wake_at_rest(cx);
        loop {
            if flows.are_abused() {
                tracing::debug!("connection closed: its requests were taken back, one after the other");
                return Poll::Ready(());
            }
            let told = shop.draining.has_begun() || told.as_mut().poll(cx).is_ready();
            if ending.is_none() && (told || flows.had_the_last()) {
                ending = Some(Instant::now());
                connection.as_mut().graceful_shutdown();
            }
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection of a client broke off");
                }
                return Poll::Ready(());
            }
            let resting = peer.shared().phase() == Phase::Resting;
            let due = match ending.filter(|_| resting) {
                // It was told, and nothing is under way but what it still has to take.
                Some(since) => {
                    let leaves = since.max(peer.shared().since()) + FAREWELL;
                    takes_nothing(peer.shared(), &shop.limits).into_iter().chain([leaves]).min()
                }
                None => due(peer.shared(), &shop.limits),
            };
            if deadline.poll(cx, due).is_pending() {
                return Poll::Pending;
            }
            if ending.is_some() || !resting {
                return Poll::Ready(());
            }
            // Rested for too long: it is told to end, so that no request of its is lost on the way.
            ending = Some(Instant::now());
            connection.as_mut().graceful_shutdown();
        }
    })
    .await;
}

/// The requests of one connection that are under way, each in a task of its own.
#[derive(Clone)]
struct Flows(Rc<Shared>);

#[derive(Default)]
struct Shared {
    patience: Duration,
    open: Cell<usize>,
    taken_back: Cell<u32>,
    /// Nothing is to come after what was answered.
    last: Cell<bool>,
    /// The task of the connection, which has the time of its rest to look after.
    at_rest: RefCell<Option<Waker>>,
    /// Between the library's asking for a response and its wanting to run that: there is nothing else in between.
    begun: RefCell<Option<Rc<Flow>>>,
}

/// One request, from its header to the last of its response.
pub(crate) struct Flow {
    of: Rc<Shared>,
    answered: Cell<bool>,
    /// Since when the client has not taken the piece of the response that is to be sent.
    offered: Cell<Option<Instant>>,
}

impl Flows {
    fn begin(&self) -> Rc<Flow> {
        self.0.open.set(self.0.open.get() + 1);
        let flow = Rc::new(Flow { of: Rc::clone(&self.0), answered: Cell::new(false), offered: Cell::new(None) });
        *self.0.begun.borrow_mut() = Some(Rc::clone(&flow));
        flow
    }

    fn had_the_last(&self) -> bool {
        self.0.last.get()
    }

    fn are_abused(&self) -> bool {
        self.0.taken_back.get() > MOST_TAKEN_BACK
    }

    fn wake_at_rest(&self, cx: &Context<'_>) {
        let mut at_rest = self.0.at_rest.borrow_mut();
        match &mut *at_rest {
            Some(waker) => waker.clone_from(cx.waker()),
            none => *none = Some(cx.waker().clone()),
        }
    }
}

impl Shared {
    fn wake(&self) {
        if let Some(waker) = &*self.at_rest.borrow() {
            waker.wake_by_ref();
        }
    }
}

impl Flow {
    fn answered(&self, last: bool) {
        self.answered.set(true);
        self.of.taken_back.set(self.of.taken_back.get().saturating_sub(1));
        if last {
            self.of.last.set(true);
            self.of.wake();
        }
    }

    pub(super) fn asked(&self) {
        self.offered.set(None);
    }

    pub(super) fn gave(&self) {
        self.offered.set(Some(Instant::now()));
    }

    /// Whether there are none left.
    pub(super) fn ends(&self) -> bool {
        self.offered.set(None);
        self.of.open.set(self.of.open.get() - 1);
        if !self.answered.get() {
            self.of.taken_back.set(self.of.taken_back.get() + 1);
        }
        let last = self.of.open.get() == 0;
        if last || !self.answered.get() {
            self.of.wake();
        }
        last
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Flows {
    fn execute(&self, future: F) {
        let flow = self.0.begun.borrow_mut().take();
        let patience = self.0.patience;
        tokio::task::spawn_local(Watched { future: Box::pin(future), flow, patience, timer: Deadline::default() });
    }
}

/// One response on its way; given up, which resets it, when the client has taken nothing of it for too long.
struct Watched<F> {
    future: Pin<Box<F>>,
    flow: Option<Rc<Flow>>,
    patience: Duration,
    timer: Deadline,
}

impl<F: Future<Output = ()>> Future for Watched<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let Self { future, flow, patience, timer } = &mut *self;
        if future.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        let offered = flow.as_ref().and_then(|flow| flow.offered.get());
        timer.poll(cx, offered.map(|since| since + *patience))
    }
}

impl fmt::Debug for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flow").field("answered", &self.answered.get()).finish_non_exhaustive()
    }
}
