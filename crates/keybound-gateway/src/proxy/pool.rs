//! Connections to upstreams, of each server and worker. Those of HTTP/1.1 are a stack: the last one used is taken first, so
//! that those not needed rest at the bottom until they are closed. Those of HTTP/2 are shared, see `streams`.

use core::cell::RefCell;
use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use futures_util::{FutureExt as _, TryFutureExt as _};
use http::{Request, Response};
use hyper::client::conn::TrySendError;
use tokio::time::{Instant, timeout};

use super::Outbound;
use super::dial::{Dialled, dial};
use super::http1::{Connection, Scratch};
use super::received::Received;
use super::room::{Place, Placed};
use super::streams::{self, Connections, Stream};
use crate::answer::Problem;
use crate::body::{Lent, Progress};
use crate::config::{HttpVersion, Limits, UpstreamUrl};
use crate::front::Deadline;

/// One server that requests are passed on to.
pub(crate) struct Server {
    url: UpstreamUrl,
    idle: RefCell<Vec<Resting>>,
    shared: Connections,
    limits: Limits,
    scratch: Rc<Scratch>,
}

struct Resting {
    connection: Connection,
    deadline: Deadline,
    since: Instant,
}

impl Server {
    pub(crate) fn new(url: UpstreamUrl, limits: &Limits, scratch: &Rc<Scratch>) -> Self {
        let (idle, shared) = (RefCell::default(), Connections::default());
        Self { url, idle, shared, limits: *limits, scratch: Rc::clone(scratch) }
    }

    pub(crate) const fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// A connection that was used before and can be used at once.
    pub(crate) fn resting(self: &Rc<Self>) -> Option<Lease> {
        if self.url.version() == HttpVersion::Http2 {
            let place = self.shared.place(self.most_streams())?;
            return Some(Lease::new(Held::Part(place), self, Deadline::default()));
        }
        let mut idle = self.idle.borrow_mut();
        while let Some(Resting { connection, deadline, .. }) = idle.pop() {
            if connection.rests() {
                return Some(Lease::new(Held::Whole(connection), self, deadline));
            }
        }
        None
    }

    /// A new connection, in a place that there is for it.
    pub(crate) async fn connect(self: &Rc<Self>, place: Place) -> io::Result<Lease> {
        let connected = timeout(self.limits.connect_timeout, self.open(place)).await;
        let opened = connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        Ok(Lease::new(opened?, self, Deadline::default()))
    }

    async fn open(&self, place: Place) -> io::Result<Held> {
        let octets = Placed::new(dial(&self.url).await?, place);
        Ok(match self.url.version() {
            HttpVersion::Http1 => Held::Whole(Connection::new(octets, &self.scratch)),
            HttpVersion::Http2 => Held::Part(self.shared.open(octets, &self.limits).await?),
        })
    }

    fn most_streams(&self) -> usize {
        usize::try_from(self.limits.streams).unwrap_or(usize::MAX)
    }

    fn put_back(&self, connection: Connection, deadline: Deadline) {
        let mut idle = self.idle.borrow_mut();
        if connection.is_free() && idle.len() < self.limits.upstream_idle {
            idle.push(Resting { connection, deadline, since: Instant::now() });
        }
    }

    /// Closes the connection that has rested longest, if one does.
    pub(crate) fn close_resting(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let any = !idle.is_empty();
        if any {
            idle.remove(0);
        }
        any
    }

    /// Closes what has rested for this long, or was ended by the upstream; whether anything is open still.
    pub(crate) fn sweep(&self, now: Instant, rest: Duration) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|resting| now < resting.since + rest && resting.connection.rests());
        if let Some(then) = now.checked_sub(rest) {
            self.shared.sweep(then);
        }
        !idle.is_empty() || self.shared.count() > 0
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("idle", &self.idle.borrow().len())
            .field("shared", &self.shared.count())
            .finish_non_exhaustive()
    }
}

/// A connection in use, or a place on one. Dropped after a whole exchange it goes back to its server; dropped inside one it
/// is cut off, with whatever was still to be sent on it: an upstream that takes nothing would hold the client's body for
/// ever.
pub(crate) struct Lease {
    held: Option<Held>,
    server: Rc<Server>,
    deadline: Deadline,
    sent: Option<Rc<Progress>>,
    answered: bool,
}

enum Held {
    Whole(Connection),
    Part(Stream),
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// Nothing of the request went out; here it is back.
    Unsent(Outbound),
    /// Some of it did, and the upstream says that it took nothing of it; here it is, if there is all of it still.
    Refused(Option<Outbound>),
    /// Some of it did.
    Failed(Problem),
}

/// The request cannot be said in the version of HTTP that is spoken there.
pub(crate) struct Unfit;

/// What becomes of a request that was sent.
pub(crate) trait Sent: Future<Output = Result<Response<Received>, Unanswered>> {}

impl<F: Future<Output = Result<Response<Received>, Unanswered>>> Sent for F {}

impl Lease {
    fn new(held: Held, server: &Rc<Server>, deadline: Deadline) -> Self {
        Self { held: Some(held), server: Rc::clone(server), deadline, sent: None, answered: false }
    }

    /// Sends `outbound`; `progress` is that of its body, if it has one.
    pub(crate) fn send(
        &mut self,
        outbound: Outbound,
        progress: Option<Rc<Progress>>,
    ) -> Result<impl Sent + use<>, Unfit> {
        self.sent = progress.clone();
        Ok(match self.held.as_mut().expect("a lease has its connection until it is dropped") {
            Held::Whole(connection) => {
                let sent = connection.exchange(outbound, progress, self.server.limits.header_bytes);
                sent.map_err(|_broken| Unanswered::Failed(Problem::UpstreamInvalid)).left_future()
            }
            Held::Part(stream) => {
                let Outbound { head, body } = outbound;
                let (body, loan) = Lent::of(body);
                let mut request = Request::from_parts(*head.clone(), body);
                streams::to_http2(&mut request, self.server.url.scheme()).ok_or(Unfit)?;
                let call_back = move || Some(Outbound { head, body: loan.call_back()? });
                let sent = stream.sender().try_send_request(request);
                let sent = sent.map_ok(|response| response.map(Received::Multiplexed));
                sent.map_err(|error| Unanswered::of_several(error, call_back)).right_future()
            }
        })
    }

    /// The request is on its way elsewhere, if at all.
    pub(crate) fn is_rid_of_it(&mut self) {
        self.sent = None;
    }

    /// The timer of this connection.
    pub(crate) const fn deadline(&mut self) -> &mut Deadline {
        &mut self.deadline
    }

    /// The body of the request, if it has one.
    pub(crate) fn sent(&self) -> Option<&Progress> {
        self.sent.as_deref()
    }

    /// The response has come whole.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }

    /// The connection, which has become a tunnel.
    pub(crate) fn into_stream(mut self) -> Option<Placed<Dialled>> {
        match self.held.take() {
            Some(Held::Whole(connection)) => connection.into_stream(),
            Some(Held::Part(_)) | None => None,
        }
    }
}

impl Unanswered {
    /// On a shared connection; `call_back` gives the request that was sent, if it can be had.
    fn of_several(mut error: TrySendError<Request<Lent>>, call_back: impl FnOnce() -> Option<Outbound>) -> Self {
        let unsent = error.take_message().is_some();
        let error = error.into_error();
        if unsent {
            call_back().map_or_else(|| Self::Failed(blame(&error)), Self::Unsent)
        } else if streams::was_refused(&error) {
            Self::Refused(call_back())
        } else {
            Self::Failed(blame(&error))
        }
    }
}

/// Whose fault it was that there is no response: the client's, if its body failed on the way.
fn blame(error: &hyper::Error) -> Problem {
    let mut cause: Option<&(dyn core::error::Error + 'static)> = Some(error);
    while let Some(present) = cause {
        if let Some(problem) = present.downcast_ref::<Problem>() {
            return *problem;
        }
        cause = present.source();
    }
    // A ping that was not answered.
    if error.is_timeout() { Problem::UpstreamTimeout } else { Problem::UpstreamInvalid }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let sent = self.sent.as_ref().filter(|sent| sent.finished().is_none());
        match self.held.take() {
            Some(Held::Whole(connection)) if self.answered && sent.is_none() => {
                self.server.put_back(connection, core::mem::take(&mut self.deadline));
            }
            Some(Held::Whole(connection)) => drop(connection),
            // The response is gone by itself; the rest of the request would still be taken from the client.
            Some(Held::Part(_)) => sent.into_iter().for_each(|sent| sent.abandon()),
            None => {}
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.server.url)
    }
}
