//! The octets of a client's connection under watch: how long it may rest, take for a header, or leave a response untaken.
//! One timer a connection, set forward only when it has run out, so that a busy connection pays next to nothing for it.

use core::pin::Pin;
use core::sync::atomic::{AtomicU8, AtomicU32, Ordering};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::connection::Phase;
use super::head::{Framing, Head};
use crate::config::Limits;

/// What is known on both sides of the HTTP library: the octets below it, and the requests above.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    phase: AtomicU8,
    /// Counts the requests: the watch below begins anew with each.
    requests: AtomicU32,
    framing: AtomicU8,
}

impl Shared {
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Relaxed);
    }

    fn phase(&self) -> Phase {
        match self.phase.load(Ordering::Relaxed) {
            0 => Phase::Between,
            1 => Phase::Busy,
            _ => Phase::Tunnel,
        }
    }

    /// A request has been read; this is how its header framed it.
    pub(crate) fn begin_request(&self) -> Framing {
        self.enter(Phase::Busy);
        self.requests.fetch_add(1, Ordering::Relaxed);
        match self.framing.swap(Framing::Unseen as u8, Ordering::Relaxed) {
            1 => Framing::Plain,
            2 => Framing::Both,
            _ => Framing::Unseen,
        }
    }
}

/// A connection under watch.
#[derive(Debug)]
pub(crate) struct Guard {
    stream: TcpStream,
    shared: Arc<Shared>,
    times: Times,
    head: Head,
    /// Of which request `head` and `since` speak.
    request: u32,
    /// When the client began to rest, or the header began to come.
    since: Instant,
    header_began: bool,
    read_due: Option<Instant>,
    write_due: Option<Instant>,
    linger: Option<Linger>,
    timer: Option<Pin<Box<Sleep>>>,
}

#[derive(Clone, Copy, Debug)]
struct Times {
    header: Duration,
    idle: Duration,
    client: Duration,
    tunnel: Duration,
}

/// The last of a connection: we have said all, and take what the client still sends, so that it can read our last words.
#[derive(Debug)]
struct Linger {
    until: Instant,
    octets: usize,
}

const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERING: usize = 1 << 20;

impl Guard {
    pub(crate) fn new(stream: TcpStream, shared: Arc<Shared>, limits: &Limits) -> Self {
        let times = Times {
            header: limits.header_timeout,
            idle: limits.idle_timeout,
            client: limits.client_timeout,
            tunnel: limits.tunnel_timeout,
        };
        Self {
            stream,
            shared,
            times,
            head: Head::default(),
            request: 0,
            since: Instant::now(),
            // Whoever connects means to ask: the first header is expected at once.
            header_began: true,
            read_due: None,
            write_due: None,
            linger: None,
            timer: None,
        }
    }

    /// Looks at what was read before the library does.
    fn has_read(&mut self, octets: &[u8]) {
        match self.shared.phase() {
            Phase::Between => {
                self.begin_rest();
                if !self.header_began && !octets.is_empty() {
                    self.header_began = true;
                    self.since = Instant::now();
                }
                self.head.read(octets);
                self.shared.framing.store(self.head.framing() as u8, Ordering::Relaxed);
            }
            Phase::Busy => {}
            Phase::Tunnel => self.since = Instant::now(),
        }
    }

    /// Notes that the last request is over, if there has been one since.
    fn begin_rest(&mut self) {
        let request = self.shared.requests.load(Ordering::Relaxed);
        if request != self.request {
            self.request = request;
            self.head = Head::default();
            self.header_began = false;
            self.since = Instant::now();
        }
    }

    /// By when the next octets have to come.
    fn read_deadline(&mut self) -> Option<Instant> {
        match self.shared.phase() {
            Phase::Between => {
                self.begin_rest();
                Some(
                    self.since
                        + if self.header_began {
                            self.times.header
                        } else {
                            self.times.idle
                        },
                )
            }
            Phase::Busy => None,
            Phase::Tunnel => Some(self.since + self.times.tunnel),
        }
    }

    /// Fails once the earliest of what is due is past; otherwise sees to it that the task is woken then.
    fn watch(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let due = match (self.read_due, self.write_due) {
            (Some(read), Some(write)) => read.min(write),
            (Some(due), None) | (None, Some(due)) => due,
            (None, None) => return Poll::Pending,
        };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(due)));
        if timer.deadline() > due {
            timer.as_mut().reset(due);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= due {
                return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
            }
            timer.as_mut().reset(due);
        }
        Poll::Pending
    }

    fn has_written(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.write_due = None;
            if self.shared.phase() == Phase::Tunnel {
                self.since = Instant::now();
            }
            return written;
        }
        if self.write_due.is_none() {
            self.write_due = Some(Instant::now() + self.times.client);
        }
        ready!(self.watch(cx))?;
        Poll::Pending
    }
}

impl AsyncRead for Guard {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buffer) {
            Poll::Ready(read) => {
                self.read_due = None;
                self.has_read(buffer.filled().get(before..).unwrap_or_default());
                Poll::Ready(read)
            }
            Poll::Pending => {
                self.read_due = self.read_deadline();
                self.watch(cx)
            }
        }
    }
}

impl AsyncWrite for Guard {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.has_written(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, parts);
        self.has_written(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// Ends our side, then reads and throws away until the client has ended its own. Closing with unread octets would reset
    /// the connection, and the client might never see the answer that says what it did wrong.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.linger = Some(Linger {
                until: Instant::now() + LINGER,
                octets: 0,
            });
        }
        let mut scratch = [0; 4096];
        let this = &mut *self;
        let Some(linger) = &mut this.linger else {
            return Poll::Ready(Ok(()));
        };
        while linger.octets < MOST_LINGERING {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut this.stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => linger.octets += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => {
                    (this.read_due, this.write_due) = (Some(linger.until), None);
                    let _ = ready!(this.watch(cx));
                    return Poll::Ready(Ok(()));
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}
