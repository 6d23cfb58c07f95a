//! One connection of a client: its requests, each to the handler. Here is HTTP/1.1; HTTP/2 is in `multiplexed`.

use core::cell::Cell;
use core::convert::Infallible;
use core::future::poll_fn;
use core::pin::{Pin, pin};
use core::task::{Context, Poll};
use core::time::Duration;
use std::future::Future as _;
use std::rc::Rc;
use std::sync::Arc;

use http::header::CONNECTION;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::{Instant, Sleep, sleep, sleep_until, timeout};

use super::guard::{Guard, Phase, Shared};
use super::multiplexed::{self, Flow};
use super::{Handler, Inbound, Peer, hygiene};
use crate::answer::{Asker, Problem};
use crate::body::{Body, RequestBody};
use crate::config::Limits;
use crate::share::PIECES;

/// Says, when dropped, that a response has been handed over whole.
#[derive(Debug)]
pub(crate) struct Ended {
    shared: Arc<Shared>,
    /// With HTTP/2: which of the requests it was.
    flow: Option<Rc<Flow>>,
}

impl Ended {
    /// The library asks for the next piece of the body: it is rid of the one before.
    pub(crate) fn asked(&self) {
        if let Some(flow) = &self.flow {
            flow.asked();
        }
    }

    /// It has been given a piece.
    pub(crate) fn gave(&self) {
        if let Some(flow) = &self.flow {
            flow.gave();
        }
    }
}

impl Drop for Ended {
    fn drop(&mut self) {
        if self.flow.as_ref().is_none_or(|flow| flow.ends()) {
            self.shared.enter(Phase::Resting);
        }
    }
}

/// Tells every connection of a worker to finish what it is at and close.
#[derive(Debug)]
pub(crate) struct Draining {
    /// How long a connection without a request is kept. Its next request may be on the way already, and would be lost; the
    /// answer to it says that it was the last.
    farewell: Duration,
    since: Cell<Option<Instant>>,
    told: Notify,
}

impl Draining {
    fn new(farewell: Duration) -> Self {
        Self { farewell, since: Cell::default(), told: Notify::new() }
    }

    pub(crate) fn begin(&self) {
        self.since.set(Some(Instant::now()));
        self.told.notify_waiters();
    }

    pub(crate) const fn has_begun(&self) -> bool {
        self.since.get().is_some()
    }

    /// Returns when it has begun.
    pub(crate) async fn beginning(&self) {
        if !self.has_begun() {
            self.told.notified().await;
        }
    }

    /// Returns when it has begun and a connection from which nothing comes has waited long enough.
    pub(crate) async fn farewell(&self) {
        self.beginning().await;
        sleep(self.farewell).await;
    }

    /// When a connection goes that rests since then.
    fn leave(&self, resting_since: Instant) -> Option<Instant> {
        Some(self.since.get()?.max(resting_since) + self.farewell)
    }
}

/// What the connections of a worker share.
#[derive(Debug)]
pub(crate) struct Shop<H> {
    pub(crate) handler: H,
    pub(crate) limits: Limits,
    asker: Asker,
    pub(crate) builder: http1::Builder,
    pub(crate) draining: Draining,
}

impl<H> Shop<H> {
    pub(crate) fn new(handler: H, limits: Limits, asker: Asker) -> Self {
        let mut builder = http1::Builder::new();
        builder
            .max_header_size(limits.header_bytes)
            .max_buf_size(limits.header_bytes.max(MIN_BUFFER))
            // The guard below keeps the time, for headers and for rest.
            .header_read_timeout(None);
        if limits.header_fields != LIBRARY_FIELDS {
            builder.max_headers(limits.header_fields);
        }
        let draining = Draining::new(limits.drain_idle_timeout);
        Self { handler, limits, asker, builder, draining }
    }
}

/// Bodies are read in pieces of at most this.
const MIN_BUFFER: usize = 64 << 10;

/// The library's own bound on the number of fields, which costs no allocation.
const LIBRARY_FIELDS: usize = 100;

/// Why a connection gets no service at all.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TurnedAway(pub(crate) Problem);

/// What octets of HTTP come through.
pub(crate) trait Octets: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Octets for S {}

/// Serves a connection without TLS until it ends, in the version that it begins with.
pub(crate) async fn serve<H: Handler, S: Octets>(
    shop: Rc<Shop<H>>,
    mut guard: Guard<S>,
    peer: Peer,
    turned_away: Option<TurnedAway>,
) {
    let begins = timeout(shop.limits.header_timeout, guard.begins_http2());
    let http2 = tokio::select! {
        biased;
        begins = begins => begins,
        () = shop.draining.farewell() => return,
    };
    match http2 {
        Ok(Ok(false)) => in_turn(shop, guard, peer, turned_away).await,
        Ok(Ok(true)) => Box::pin(multiplexed::serve(shop, guard, peer, turned_away)).await,
        Ok(Err(_)) | Err(_) => {}
    }
}

/// Serves HTTP/1.1; with `turned_away`, every request gets that.
pub(crate) async fn in_turn<H: Handler, S: Octets>(
    shop: Rc<Shop<H>>,
    guard: Guard<S>,
    peer: Peer,
    turned_away: Option<TurnedAway>,
) {
    let in_this_turn = Cell::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let has_had_enough = in_this_turn.replace(in_this_turn.get() + 1) >= PIECES;
        let shop = Rc::clone(&shop);
        let begun = shop.begin(request, peer.clone(), turned_away, None);
        // In a place of its own, which a connection at rest does not hold.
        Box::pin(async move {
            if has_had_enough {
                // Woken when the system was asked what has come.
                yield_now().await;
            }
            let mut response = shop.respond(begun).await;
            if shop.draining.has_begun() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
                response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        })
    });
    let connection = shop.builder.serve_connection(TokioIo::new(guard), service).with_upgrades();
    let mut connection = pin!(connection);
    let mut told = pin!(shop.draining.told.notified());
    let mut waits = false;
    let mut deadline = Deadline::default();
    poll_fn(|cx| {
        in_this_turn.set(0);
        if !waits && !shop.draining.has_begun() {
            // Once is enough: the task that waits stays the same.
            waits = told.as_mut().poll(cx).is_pending();
        }
        let polled = connection.as_mut().poll(cx);
        if let Some(problem) = unreadable(peer.shared(), &polled)
            && peer.shared().note_unreadable()
        {
            shop.handler.turned_away(None, problem);
        }
        match polled {
            Poll::Ready(ended) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "connection of a client broke off");
                }
                Poll::Ready(())
            }
            Poll::Pending => {
                let due = due(peer.shared(), &shop.limits);
                let rests = peer.shared().phase() == Phase::Resting;
                let leaves = rests.then(|| shop.draining.leave(peer.shared().since())).flatten();
                deadline.poll(cx, due.into_iter().chain(leaves).min())
            }
        }
    })
    .await;
}

/// What was wrong with octets that the library could not read as a request. The guard answers them, unless the response before
/// was still to be written.
fn unreadable(shared: &Shared, polled: &Poll<hyper::Result<()>>) -> Option<Problem> {
    shared.unreadable().or_else(|| match polled {
        Poll::Ready(Err(error)) if error.is_parse_too_large() => Some(Problem::HeaderOversized),
        Poll::Ready(Err(error)) if error.is_parse() => Some(Problem::RequestMalformed),
        _ => None,
    })
}

/// When the connection has to be given up, as things are.
pub(crate) fn due(shared: &Shared, limits: &Limits) -> Option<Instant> {
    let coming = match shared.phase() {
        Phase::Resting => Some(shared.since() + limits.idle_timeout),
        Phase::Header => Some(shared.since() + limits.header_timeout),
        Phase::Busy | Phase::Tunnel => None,
    };
    coming.into_iter().chain(takes_nothing(shared, limits)).min()
}

/// When a client has to be given up that takes nothing of what is to be written.
pub(crate) fn takes_nothing(shared: &Shared, limits: &Limits) -> Option<Instant> {
    shared.stuck_since().map(|since| since + limits.client_timeout)
}

/// One timer for all deadlines of a connection. It is set back only for an earlier one; for a later one it is set anew when
/// it has run out, so that a busy connection pays next to nothing for it.
#[derive(Default)]
pub(crate) struct Deadline(Option<Pin<Box<Sleep>>>);

impl Deadline {
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>, due: Option<Instant>) -> Poll<()> {
        let Some(due) = due else { return Poll::Pending };
        let timer = self.0.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if timer.deadline() >= due {
                return Poll::Ready(());
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }
}

/// A request that has begun: what the handler gets, or the answer that there is without it.
pub(crate) struct Begun<H: Handler> {
    inbound: Result<Inbound, Box<Response<Body>>>,
    unseen: Unseen<H>,
    peer: Peer,
    ended: Ended,
}

/// Says, when dropped, that a request was given up before the handler saw it: the library drops what came together with the
/// end of its connection.
struct Unseen<H: Handler>(Option<Rc<Shop<H>>>);

impl<H: Handler> Unseen<H> {
    fn seen(mut self) {
        self.0 = None;
    }
}

impl<H: Handler> Drop for Unseen<H> {
    fn drop(&mut self) {
        if let Some(shop) = self.0.take() {
            shop.handler.given_up();
        }
    }
}

impl<H: Handler> Shop<H> {
    fn turn_away(&self, method: &Method, problem: Problem) -> Box<Response<Body>> {
        self.handler.turned_away(Some(method), problem);
        Box::new(problem.answer_to(self.asker))
    }

    /// Makes sure of a request what the handler relies on; `flow` says which of several it is, with HTTP/2.
    pub(crate) fn begin(
        self: &Rc<Self>,
        mut request: Request<Incoming>,
        peer: Peer,
        turned_away: Option<TurnedAway>,
        flow: Option<Rc<Flow>>,
    ) -> Begun<H> {
        let shared = Arc::clone(peer.shared());
        let framing = shared.begin_request();
        let limits = &self.limits;
        let clean = match (turned_away, &flow) {
            (Some(TurnedAway(problem)), _) => Err(problem),
            (None, None) => hygiene::clean(&mut request, framing),
            (None, Some(_)) => hygiene::clean_multiplexed(&mut request, limits.header_bytes, limits.header_fields),
        };
        let (head, body) = request.into_parts();
        let body = clean.and_then(|()| {
            RequestBody::bounded(body, limits.body_bytes, limits.client_timeout, limits.request_timeout)
                .ok_or(Problem::BodyOversized)
        });
        let inbound = match body {
            Err(problem) => Err(self.turn_away(&head.method, problem)),
            Ok(body) => Ok(Inbound { head: Box::new(head), body, peer: peer.clone() }),
        };
        let unseen = Unseen(inbound.is_ok().then(|| Rc::clone(self)));
        Begun { inbound, unseen, peer, ended: Ended { shared, flow } }
    }

    /// Answers it.
    pub(crate) async fn respond(&self, Begun { inbound, unseen, peer, ended }: Begun<H>) -> Response<Body> {
        unseen.seen();
        let response = match inbound {
            Err(answer) => *answer,
            Ok(inbound) => self.handler.handle(inbound).await,
        };
        if peer.is_tunnel() {
            core::mem::forget(ended);
            return response;
        }
        response.map(|body| body.until(ended))
    }
}
