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
use tokio::time::{Instant, timeout};

use crate::body::RequestBody;
use crate::config::{Limits, UpstreamUrl};

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
    sender: SendRequest<RequestBody>,
    since: Instant,
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
            if resting.sender.is_closed() {
                idle.remove(position);
            } else if resting.sender.is_ready() {
                let Resting { sender, .. } = idle.remove(position);
                return Some(Lease {
                    sender: Some(sender),
                    server: Rc::clone(self),
                });
            }
        }
        None
    }

    /// A new connection.
    pub(crate) async fn connect(self: &Rc<Self>) -> io::Result<Lease> {
        let connected = timeout(self.connect_timeout, self.open()).await;
        let opened = connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut)));
        self.down_until
            .set(opened.as_ref().err().map(|_| Instant::now() + PASSED_OVER));
        Ok(Lease {
            sender: Some(opened?),
            server: Rc::clone(self),
        })
    }

    async fn open(&self) -> io::Result<SendRequest<RequestBody>> {
        let stream = TcpStream::connect((self.url.host(), self.url.port())).await?;
        stream.set_nodelay(true)?;
        let mut builder = Builder::new();
        builder
            .max_header_size(self.header_bytes)
            .max_buf_size(self.header_bytes.max(64 << 10));
        let (sender, connection) = builder
            .handshake(TokioIo::new(stream))
            .await
            .map_err(io::Error::other)?;
        tokio::task::spawn_local(async move {
            // What goes wrong on it is told to whoever waits for a response on it.
            let _ = connection.with_upgrades().await;
        });
        Ok(sender)
    }

    fn put_back(&self, sender: SendRequest<RequestBody>) {
        let mut idle = self.idle.borrow_mut();
        if idle.len() < self.most_idle && !sender.is_closed() {
            idle.push(Resting {
                sender,
                since: Instant::now(),
            });
        }
    }

    /// Closes what has rested for too long.
    pub(crate) fn sweep(&self, now: Instant) {
        self.idle
            .borrow_mut()
            .retain(|resting| !resting.sender.is_closed() && now < resting.since + self.rest);
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

/// A connection in use. It goes back to its server when dropped; if it is not fit for another request by then, it is not
/// taken again.
pub(crate) struct Lease {
    sender: Option<SendRequest<RequestBody>>,
    server: Rc<Server>,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// Nothing of the request went out; here it is back.
    Unsent(Box<Request<RequestBody>>),
    /// Some of it did.
    Failed(hyper::Error),
}

impl Lease {
    pub(crate) async fn send(&mut self, request: Request<RequestBody>) -> Result<http::Response<Incoming>, Unanswered> {
        let sender = self
            .sender
            .as_mut()
            .expect("a lease has its connection until it is dropped");
        sender
            .try_send_request(request)
            .await
            .map_err(|mut error| match error.take_message() {
                Some(request) => Unanswered::Unsent(Box::new(request)),
                None => Unanswered::Failed(error.into_error()),
            })
    }

    /// Does not give the connection back.
    pub(crate) fn discard(mut self) {
        self.sender.take();
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some(sender) = self.sender.take() {
            self.server.put_back(sender);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Lease({})", self.server.url)
    }
}
