//! Connections to upstreams: one stack for each server and worker. The last one used is taken first, so that those not
//! needed rest at the bottom until they are closed.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::time::Duration;
use std::io;
use std::rc::Rc;

use http::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout};

use crate::body::{Progress, RequestBody};
use crate::config::{Limits, UpstreamUrl};
use crate::write::Gathering;

/// One server that requests are passed on to.
pub(crate) struct Server {
    url: UpstreamUrl,
    idle: RefCell<Vec<Resting>>,
    most_idle: usize,
    rest: Duration,
    connect_timeout: Duration,
    header_bytes: usize,
    /// Until then others are tried first, because it could not be connected to.
    down_until: Cell<Option<Instant>>,
}

struct Resting {
    connection: Connection,
    since: Instant,
}

/// A connection, and the task that moves its octets.
struct Connection {
    sender: SendRequest<RequestBody>,
    task: AbortHandle,
}

/// How long a server that could not be connected to is passed over while there are others.
const PASSED_OVER: Duration = Duration::from_secs(2);

impl Server {
    pub(crate) fn new(url: UpstreamUrl, limits: &Limits) -> Self {
        Self {
            url,
            idle: RefCell::default(),
            most_idle: limits.upstream_idle,
            rest: limits.upstream_idle_timeout,
            connect_timeout: limits.connect_timeout,
            header_bytes: limits.header_bytes,
            down_until: Cell::new(None),
        }
    }

    pub(crate) const fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// Whether a connection to it failed a moment ago.
    pub(crate) fn is_down(&self) -> bool {
        self.down_until.get().is_some_and(|until| Instant::now() < until)
    }

    /// A connection that was used before and can be used at once.
    pub(crate) fn resting(self: &Rc<Self>) -> Option<Lease> {
        let mut idle = self.idle.borrow_mut();
        let mut position = idle.len();
        while position > 0 {
            position -= 1;
            let Some(resting) = idle.get(position) else { break };
            if resting.connection.sender.is_closed() {
                idle.remove(position);
            } else if resting.connection.sender.is_ready() {
                let Resting { connection, .. } = idle.remove(position);
                return Some(Lease::new(connection, self));
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>) -> io::Result<Lease> {
        let connected = timeout(self.connect_timeout, self.open()).await;
        let opened = connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        self.down_until.set(opened.as_ref().err().map(|_| Instant::now() + PASSED_OVER));
        Ok(Lease::new(opened?, self))
    }

    async fn open(&self) -> io::Result<Connection> {
        let stream = TcpStream::connect((self.url.host(), self.url.port())).await?;
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder.max_header_size(self.header_bytes).max_buf_size(self.header_bytes.max(64 << 10));
        let (sender, connection) =
            builder.handshake(TokioIo::new(Gathering(stream))).await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            // What goes wrong on it is told to whoever waits for a response on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(Connection { sender, task: task.abort_handle() })
    }

    fn put_back(&self, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.most_idle && !connection.sender.is_closed() {
            idle.push(Resting { connection, since: Instant::now() });
        }
    }

    /// Closes what has rested for too long; whether anything rests still.
    pub(crate) fn sweep(&self, now: Instant) -> bool {
        let mut idle = self.idle.borrow_mut();
        idle.retain(|resting| !resting.connection.sender.is_closed() && now < resting.since + self.rest);
        !idle.is_empty()
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server")
            .field("url", &self.url)
            .field("idle", &self.idle.borrow().len())
            .finish_non_exhaustive()
    }
}

/// A connection in use. Dropped after a whole exchange it goes back to its server; dropped inside one it is cut off, with
/// whatever was still to be sent on it: an upstream that takes nothing would hold the client's body for ever.
pub(crate) struct Lease {
    connection: Option<Connection>,
    server: Rc<Server>,
    sent: Option<Rc<Progress>>,
    answered: bool,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// Nothing of the request went out; here it is back.
    Unsent(Box<Request<RequestBody>>),
    /// Some of it did.
    Failed(hyper::Error),
}

impl Lease {
    fn new(connection: Connection, server: &Rc<Server>) -> Self {
        Self { connection: Some(connection), server: Rc::clone(server), sent: None, answered: false }
    }

    /// Sends `request`; `progress` is that of its body, if it has one.
    pub(crate) async fn send(
        &mut self,
        request: Request<RequestBody>,
        progress: Option<Rc<Progress>>,
    ) -> Result<http::Response<Incoming>, Unanswered> {
        self.sent = progress;
        let connection = self.connection.as_mut().expect("a lease has its connection until it is dropped");
        connection.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Failed(error.into_error()),
        })
    }

    /// The response has come whole.
    pub(crate) const fn answered(&mut self) {
        self.answered = true;
    }

    /// The connection has become a tunnel, and is nobody's.
    pub(crate) fn tunnelled(mut self) {
        self.connection.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        if self.answered && self.sent.as_ref().is_none_or(|sent| sent.finished().is_some()) {
            self.server.put_back(connection);
        } else {
            connection.task.abort();
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.server.url)
    }
}
