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
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use super::Outbound;
use super::dial::{Dialled, Octets, dial};
use super::room::{Place, Placed};
use super::streams::{self, Connections, Stream};
use crate::body::{Lent, Progress, RequestBody};
use crate::config::{HttpVersion, Limits, UpstreamUrl};
use crate::front::Deadline;
use crate::write::Gathering;

/// One server that requests are passed on to.
pub(crate) struct Server {
    url: UpstreamUrl,
    idle: RefCell<Vec<Resting>>,
    shared: Connections,
    limits: Limits,
}

struct Resting {
    connection: Connection,
    deadline: Deadline,
    since: Instant,
}

/// A connection, and the task that moves its octets.
struct Connection {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

impl Server {
    pub(crate) fn new(url: UpstreamUrl, limits: &Limits) -> Self {
        Self { url, idle: RefCell::default(), shared: Connections::default(), limits: *limits }
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
        let mut position = idle.len();
        while position > 0 {
            position -= 1;
            let Some(resting) = idle.get(position) else { break };
            if resting.connection.sender.is_closed() {
                idle.remove(position);
            } else if resting.connection.sender.is_ready() {
                let Resting { connection, deadline, .. } = idle.remove(position);
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
        match dial(&self.url).await? {
            Dialled::Plain(octets) => self.over(Placed::new(octets, place)).await,
            Dialled::Tls(octets) => self.over(Placed::new(octets, place)).await,
        }
    }

    async fn over<T: Octets>(&self, octets: T) -> io::Result<Held> {
        Ok(match self.url.version() {
            HttpVersion::Http1 => Held::Whole(self.in_turn(octets).await?),
            HttpVersion::Http2 => Held::Part(self.shared.open(octets, &self.limits).await?),
        })
    }

    async fn in_turn<T: Octets>(&self, octets: T) -> io::Result<Connection> {
        let header_bytes = self.limits.header_bytes;
        let mut builder = Builder::new();
        builder.max_header_size(header_bytes).max_buf_size(header_bytes.max(64 << 10));
        let (sender, connection) =
            builder.handshake(TokioIo::new(Gathering(octets))).await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            // What goes wrong on it is told to whoever waits for a response on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(Connection { sender, task: task.abort_handle() })
    }

    fn most_streams(&self) -> usize {
        usize::try_from(self.limits.streams).unwrap_or(usize::MAX)
    }

    fn put_back(&self, connection: Connection, deadline: Deadline) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.limits.upstream_idle && !connection.sender.is_closed() {
            idle.push(Resting { connection, deadline, since: Instant::now() });
        }
    }

    /// Closes the connection that has rested longest, if one does. It is gone once its task has had its turn.
    pub(crate) fn close_resting(&self) -> bool {
        let mut idle = self.idle.borrow_mut();
        let longest = idle.iter().position(|resting| !resting.connection.sender.is_closed());
        longest.map(|position| idle.remove(position).connection.task.abort()).is_some()
    }

    /// Closes what has rested for this long; whether anything is open still.
    pub(crate) fn sweep(&self, now: Instant, rest: Duration) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|resting| !resting.connection.sender.is_closed() && now < resting.since + rest);
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
    Failed(hyper::Error),
}

/// The request cannot be said in the version of HTTP that is spoken there.
pub(crate) struct Unfit;

/// What becomes of a request that was sent.
pub(crate) trait Sent: Future<Output = Result<Response<Incoming>, Unanswered>> {}

impl<F: Future<Output = Result<Response<Incoming>, Unanswered>>> Sent for F {}

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
        self.sent = progress;
        Ok(match self.held.as_mut().expect("a lease has its connection until it is dropped") {
            Held::Whole(connection) => {
                let sent = connection.sender.try_send_request(outbound.into_request());
                sent.map_err(Unanswered::of_one).left_future()
            }
            Held::Part(stream) => {
                let Outbound { head, body } = outbound;
                let (body, loan) = Lent::of(body);
                let mut request = Request::from_parts(*head.clone(), body);
                streams::to_http2(&mut request, self.server.url.scheme()).ok_or(Unfit)?;
                let call_back = move || Some(Outbound { head, body: loan.call_back()? });
                let sent = stream.sender().try_send_request(request);
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

    /// The connection has become a tunnel, and is nobody's.
    pub(crate) fn tunnelled(mut self) {
        self.held.take();
    }
}

impl Unanswered {
    /// On a connection that has one request at a time.
    fn of_one(mut error: TrySendError<Request<RequestBody>>) -> Self {
        match error.take_message() {
            Some(request) => Self::Unsent(Outbound::of(request)),
            None => Self::Failed(error.into_error()),
        }
    }

    /// On a shared one; `call_back` gives the request that was sent, if it can be had.
    fn of_several(mut error: TrySendError<Request<Lent>>, call_back: impl FnOnce() -> Option<Outbound>) -> Self {
        let unsent = error.take_message().is_some();
        let error = error.into_error();
        if unsent {
            call_back().map_or(Self::Failed(error), Self::Unsent)
        } else if streams::was_refused(&error) {
            Self::Refused(call_back())
        } else {
            Self::Failed(error)
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let sent = self.sent.as_ref().filter(|sent| sent.finished().is_none());
        match self.held.take() {
            Some(Held::Whole(connection)) if self.answered && sent.is_none() => {
                self.server.put_back(connection, core::mem::take(&mut self.deadline));
            }
            Some(Held::Whole(connection)) => connection.task.abort(),
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
