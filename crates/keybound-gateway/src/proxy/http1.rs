//! A connection to an upstream in HTTP/1.1 (RFC 9112), which has one request at a time.
//!
//! It has no task and no buffers of its own: whoever waits for a response reads it, into a place that all connections of a
//! worker share. Where there are hundreds, what each alone needs is in no cache when its turn comes, and a task and buffers for
//! each cost a third of what a request takes above the system's part. Only a body that is not there at once is sent by a task,
//! so that it goes on whatever becomes of the response.

use core::cell::{Cell, RefCell};
use core::fmt;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll, Waker, ready};
use std::rc::Rc;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body::Body as _;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::task::AbortHandle;

use super::Outbound;
use super::dial::Dialled;
use super::received::Received;
use super::room::Placed;
use crate::body::{Progress, RequestBody};
use head::{Asked, Begun, Head, Length};
use sender::{Framing, Sender};
pub(crate) use streamed::Streamed;

mod chunks;
mod head;
mod sender;
mod streamed;
#[cfg(test)]
mod tests;

/// What is read at once, unless a long body is on its way.
const SCRATCH: usize = 16 << 10;

/// Why an exchange came to nothing, or broke off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Broken {
    /// The connection ended too early.
    Off,
    /// What came is no HTTP.
    Malformed,
    /// The body of the request did not come whole.
    Body,
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "the upstream's connection ended too early",
            Self::Malformed => "the upstream sent what is no HTTP",
            Self::Body => "the body of the request broke off",
        })
    }
}

impl core::error::Error for Broken {}

impl From<httparse::Error> for Broken {
    fn from(_: httparse::Error) -> Self {
        Self::Malformed
    }
}

/// Where the connections of a worker write and read, each in its turn.
pub(crate) struct Scratch {
    out: RefCell<Vec<u8>>,
    inbox: RefCell<Box<[u8]>>,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { out: RefCell::default(), inbox: RefCell::new(vec![0; SCRATCH].into_boxed_slice()) }
    }
}

impl fmt::Debug for Scratch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scratch").finish_non_exhaustive()
    }
}

/// One connection.
pub(crate) struct Connection(Rc<Wire>);

struct Wire {
    stream: RefCell<Placed<Dialled>>,
    scratch: Rc<Scratch>,
    sending: Cell<Sending>,
    /// Whether the last response has come whole, and another may follow.
    free: Cell<bool>,
    /// The task that sends, if there is one.
    sender: RefCell<Option<AbortHandle>>,
    /// Who waits for the response while it does.
    reader: Cell<Option<Waker>>,
}

/// How far a request has gone out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Sending {
    Done,
    UnderWay,
    /// The upstream takes no more of it. It may say why.
    Stopped,
    /// The client's body broke off, so that there will be no response.
    Failed,
}

impl Connection {
    pub(super) fn new(stream: Placed<Dialled>, scratch: &Rc<Scratch>) -> Self {
        Self(Rc::new(Wire {
            stream: RefCell::new(stream),
            scratch: Rc::clone(scratch),
            sending: Cell::new(Sending::Done),
            free: Cell::new(true),
            sender: RefCell::default(),
            reader: Cell::default(),
        }))
    }

    /// Whether another request may follow: what was asked has been answered, and is no longer being asked.
    pub(super) fn is_free(&self) -> bool {
        self.0.free.get() && self.0.sending.get() == Sending::Done
    }

    /// Whether nothing has come since.
    pub(super) fn rests(&self) -> bool {
        self.is_free() && self.0.stream.borrow_mut().stream().is_quiet()
    }

    /// Sends a request, and waits for the response; its header has at most `most` octets.
    pub(super) fn exchange(
        &self,
        outbound: Outbound,
        progress: Option<Rc<Progress>>,
        most: usize,
    ) -> impl Future<Output = Result<Response<Received>, Broken>> + use<> {
        let wire = Rc::clone(&self.0);
        async move {
            let asked = wire.send(outbound, progress, most).await?;
            let mut begun = Begun::default();
            let (head, rest) = poll_fn(|cx| wire.poll_head(cx, &mut begun, asked)).await?;
            Ok(wire.received(head, rest))
        }
    }

    /// The octets themselves, once the upstream has agreed to speak something else.
    pub(super) fn into_stream(self) -> Option<Placed<Dialled>> {
        let wire = Rc::clone(&self.0);
        drop(self);
        Rc::into_inner(wire).map(|wire| wire.stream.into_inner())
    }
}

/// Nobody waits for a response any more, and what is still to be sent is not.
impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(sender) = self.0.sender.take() {
            sender.abort();
        }
        if self.is_free() {
            self.0.stream.borrow_mut().stream().take_leave();
        }
    }
}

impl Wire {
    /// Sends what there is of a request, and leaves the rest to a task.
    async fn send(
        self: &Rc<Self>,
        outbound: Outbound,
        progress: Option<Rc<Progress>>,
        most: usize,
    ) -> Result<Asked, Broken> {
        let Outbound { mut head, body } = outbound;
        let framing = head::frame(&mut head, &body);
        self.free.set(false);
        let asked = Asked::by(&head, most);
        let mut body = (!body.is_end_stream()).then_some((body, framing));
        let rest = poll_fn(|cx| {
            let mut out = self.scratch.out.borrow_mut();
            out.clear();
            head::write(&mut out, &head);
            Poll::Ready(self.begin(cx, &out, body.take()))
        });
        match rest.await {
            Ok(None) => {}
            Ok(Some(rest)) => self.go_on(rest, progress),
            Err(Broken::Off) => self.has_stopped(progress.as_deref()),
            Err(broken) => return Err(broken),
        }
        Ok(asked)
    }

    /// Sends as much as can be sent at once; the rest is returned.
    fn begin(
        &self,
        cx: &mut Context<'_>,
        header: &[u8],
        body: Option<(RequestBody, Framing)>,
    ) -> Result<Option<Sender>, Broken> {
        let mut stream = self.stream.borrow_mut();
        let stream = stream.stream();
        let mut header = header;
        if body.is_none() {
            // Most requests have none, and their header goes out by one call, from where it was written.
            match Pin::new(&mut *stream).poll_write(cx, header) {
                Poll::Ready(Ok(length)) => header = header.get(length..).unwrap_or_default(),
                Poll::Ready(Err(_)) => return Err(Broken::Off),
                Poll::Pending => {}
            }
            if header.is_empty()
                && let Poll::Ready(flushed) = Pin::new(&mut *stream).poll_flush(cx)
            {
                return flushed.map(|()| None).map_err(|_| Broken::Off);
            }
        }
        let mut sender = Sender::of(header, body);
        match sender.poll(cx, stream) {
            Poll::Ready(sent) => sent.map(|()| None),
            Poll::Pending => Ok(Some(sender)),
        }
    }

    /// Sends the rest, by a task.
    fn go_on(self: &Rc<Self>, mut rest: Sender, progress: Option<Rc<Progress>>) {
        self.sending.set(Sending::UnderWay);
        let wire = Rc::clone(self);
        let task = tokio::task::spawn_local(async move {
            let sent = poll_fn(|cx| rest.poll(cx, wire.stream.borrow_mut().stream())).await;
            match sent {
                Ok(()) => wire.sending.set(Sending::Done),
                Err(Broken::Off) => wire.has_stopped(progress.as_deref()),
                Err(Broken::Body | Broken::Malformed) => wire.sending.set(Sending::Failed),
            }
            wire.sender.take();
            if let Some(reader) = wire.reader.take() {
                reader.wake();
            }
        });
        self.sender.replace(Some(task.abort_handle()));
    }

    /// The upstream takes no more of the request, and has as long for its response as if that were all.
    fn has_stopped(&self, progress: Option<&Progress>) {
        self.sending.set(Sending::Stopped);
        if let Some(progress) = progress {
            progress.moved(true);
        }
    }

    /// Reads the header of the response.
    fn poll_head(&self, cx: &mut Context<'_>, begun: &mut Begun, asked: Asked) -> Poll<Result<(Head, Bytes), Broken>> {
        loop {
            let mut inbox = self.scratch.inbox.borrow_mut();
            let read = ready!(self.poll_read(cx, &mut inbox))?;
            if read == 0 {
                return Poll::Ready(Err(Broken::Off));
            }
            if let Some(whole) = begun.take(&inbox[..read], asked)? {
                return Poll::Ready(Ok(whole));
            }
        }
    }

    /// No octets mean the end.
    fn poll_read(&self, cx: &mut Context<'_>, room: &mut [u8]) -> Poll<Result<usize, Broken>> {
        self.watch(cx)?;
        let mut room = ReadBuf::new(room);
        let mut stream = self.stream.borrow_mut();
        ready!(Pin::new(stream.stream()).poll_read(cx, &mut room)).map_err(|_| Broken::Off)?;
        Poll::Ready(Ok(room.filled().len()))
    }

    /// As long as the request is being sent, how that ends concerns whoever waits for the response.
    fn watch(&self, cx: &Context<'_>) -> Result<(), Broken> {
        match self.sending.get() {
            Sending::Done | Sending::Stopped => {}
            Sending::UnderWay => self.reader.set(Some(cx.waker().clone())),
            Sending::Failed => return Err(Broken::Body),
        }
        Ok(())
    }

    fn received(self: &Rc<Self>, head: Head, mut rest: Bytes) -> Response<Received> {
        let Head { response, length, lasts } = head;
        let received = match length {
            _ if response.status() == StatusCode::SWITCHING_PROTOCOLS => Received::Switched(rest),
            Length::Octets(length) if length <= rest.len() as u64 => {
                let octets = rest.split_to(usize::try_from(length).unwrap_or(0));
                self.free.set(lasts && rest.is_empty());
                Received::Whole(octets)
            }
            length => Received::Streamed(Box::new(Streamed::new(Rc::clone(self), rest, length, lasts))),
        };
        response.map(|()| received)
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("free", &self.0.free.get()).finish_non_exhaustive()
    }
}
