//! HTTP/2 to an upstream: connections that several requests share.

use core::cell::{Cell, RefCell};
use core::error::Error as _;
use core::future::{Future, poll_fn};
use core::pin::pin;

use std::io;
use std::rc::Rc;

use http::header::{CONNECTION, HOST};
use http::uri::{Authority, Parts, Scheme};
use http::{Request, Uri};
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;

use super::dial::Octets;
use crate::body::Lent;
use crate::config::Limits;

/// What an upstream may send ahead of a client that takes it slowly, on one request and on all of a connection.
const WINDOW: u32 = 256 << 10;
const WINDOW_OF_ALL: u32 = 1 << 20;

/// One connection, and how many requests are on it.
#[derive(Debug)]
pub(super) struct Shared {
    sender: SendRequest<Lent>,
    open: Cell<usize>,
    /// How many may be, as the upstream says.
    most: Rc<Cell<usize>>,
    rests_since: Cell<Instant>,
}

/// The connections to one upstream.
#[derive(Debug, Default)]
pub(super) struct Connections(RefCell<Vec<Rc<Shared>>>);

/// The place of one request on a connection.
#[derive(Debug)]
pub(super) struct Stream(Rc<Shared>);

impl Connections {
    /// A place on a connection that there is.
    pub(super) fn place(&self, most: usize) -> Option<Stream> {
        let mut all = self.0.borrow_mut();
        all.retain(|shared| !shared.sender.is_closed());
        all.iter().find(|shared| shared.open.get() < most.min(shared.most.get())).map(Stream::on)
    }

    /// A connection over `octets`, and the first place on it.
    pub(super) async fn open<T: Octets>(&self, octets: T, limits: &Limits) -> io::Result<Stream> {
        let mut builder = Builder::new(Here);
        builder
            .timer(TokioTimer::new())
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW_OF_ALL)
            .max_header_list_size(u32::try_from(limits.header_bytes).unwrap_or(u32::MAX))
            // An upstream that is gone without a word is found out while somebody waits for it.
            .keep_alive_interval(limits.connect_timeout * 10)
            .keep_alive_timeout(limits.connect_timeout);
        let (sender, connection) = builder.handshake(TokioIo::new(octets)).await.map_err(io::Error::other)?;
        let most = Rc::new(Cell::new(connection.current_max_send_streams()));
        let told = Rc::clone(&most);
        tokio::task::spawn_local(async move {
            let mut connection = pin!(connection);
            poll_fn(|cx| {
                let polled = connection.as_mut().poll(cx);
                told.set(connection.current_max_send_streams());
                // What goes wrong on it is told to whoever waits for a response on it.
                polled.map(drop)
            })
            .await;
        });
        let shared = Rc::new(Shared { sender, open: Cell::new(0), most, rests_since: Cell::new(Instant::now()) });
        let stream = Stream::on(&shared);
        self.0.borrow_mut().push(shared);
        Ok(stream)
    }

    /// Closes what has rested since before `then`.
    pub(super) fn sweep(&self, then: Instant) {
        let kept = |shared: &Rc<Shared>| {
            !shared.sender.is_closed() && (shared.open.get() > 0 || shared.rests_since.get() > then)
        };
        self.0.borrow_mut().retain(kept);
    }

    pub(super) fn count(&self) -> usize {
        self.0.borrow().len()
    }
}

impl Stream {
    fn on(shared: &Rc<Shared>) -> Self {
        shared.open.set(shared.open.get() + 1);
        Self(Rc::clone(shared))
    }

    pub(super) fn sender(&self) -> SendRequest<Lent> {
        self.0.sender.clone()
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.rests_since.set(Instant::now());
    }
}

/// Runs the library's tasks on this worker.
#[derive(Clone, Copy, Debug)]
struct Here;

impl<F: Future<Output = ()> + 'static> Executor<F> for Here {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// Gives a request the form of HTTP/2: `Host` becomes `:authority`, and there is no `Connection`. `None` if its `Host` is
/// none.
pub(super) fn to_http2(request: &mut Request<Lent>, scheme: &'static str) -> Option<()> {
    let host = request.headers_mut().remove(HOST)?;
    request.headers_mut().remove(CONNECTION);
    let mut parts = Parts::default();
    parts.scheme = Some(if scheme == "https" { Scheme::HTTPS } else { Scheme::HTTP });
    parts.authority = Some(Authority::try_from(host.as_bytes()).ok()?);
    parts.path_and_query = request.uri().path_and_query().cloned();
    *request.uri_mut() = Uri::from_parts(parts).ok()?;
    Some(())
}

/// Whether the upstream says that it took nothing of the request: it ended the connection before that, or refused it by name
/// (RFC 9113 section 8.7).
pub(super) fn was_refused(error: &hyper::Error) -> bool {
    let cause = error.source().and_then(|cause| cause.downcast_ref::<h2::Error>());
    // Requests that were before the end get to know of it in another way.
    cause.is_some_and(|error| {
        error.is_remote() && (error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM))
    })
}
