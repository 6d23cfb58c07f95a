//! The octets of a client's connection, and what they tell: how long it rests, whether a header is coming or a response is
//! not taken, and how a header frames its body. Deadlines are kept one level up, by the task of the connection.

use core::future::poll_fn;
use core::pin::Pin;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering::Relaxed};
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::io::{self, IoSlice};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep};

use super::head::{Framing, Head};
use super::opening::Opening;
use crate::answer::{Asker, Problem};
use crate::write;

/// What is going on on a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Phase {
    /// Nothing.
    Resting,
    /// A header is coming.
    Header,
    /// A request is being read or answered.
    Busy,
    /// It is no HTTP any more.
    Tunnel,
}

/// What is known on both sides of the HTTP library: of the octets below it, and of the requests above. It is shared in one
/// task; the atomics are there because the library wants to move a tunnel between threads.
#[derive(Debug)]
pub(crate) struct Shared {
    began: Instant,
    phase: AtomicU8,
    /// Milliseconds from `began` to the beginning of the phase; in a tunnel, to the last octet.
    since: AtomicU64,
    /// Milliseconds from `began`, less one, to when writing got stuck; 0 while it is not.
    stuck: AtomicU64,
    framing: AtomicU8,
    /// Whether a response is due, or some of it may not be written yet.
    owing: AtomicBool,
    /// What the client is told of octets that are no request.
    unreadable: OnceLock<Problem>,
    /// Whether that has been counted, which it is before the client hears it.
    noted: AtomicBool,
}

impl Shared {
    /// Of a new connection. Whoever connects means to ask: the first header is expected at once.
    pub(crate) fn new() -> Self {
        Self {
            began: Instant::now(),
            phase: AtomicU8::new(Phase::Header as u8),
            since: AtomicU64::new(0),
            stuck: AtomicU64::new(0),
            framing: AtomicU8::new(Framing::Unseen as u8),
            owing: AtomicBool::new(false),
            unreadable: OnceLock::new(),
            noted: AtomicBool::new(false),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.store(phase as u8, Relaxed);
        if phase != Phase::Busy {
            self.since.store(self.now(), Relaxed);
        }
    }

    pub(crate) fn phase(&self) -> Phase {
        match self.phase.load(Relaxed) {
            0 => Phase::Resting,
            1 => Phase::Header,
            2 => Phase::Busy,
            _ => Phase::Tunnel,
        }
    }

    /// A request has been read; this is how its header framed it.
    pub(crate) fn begin_request(&self) -> Framing {
        self.enter(Phase::Busy);
        self.owing.store(true, Relaxed);
        match self.framing.swap(Framing::Unseen as u8, Relaxed) {
            1 => Framing::Plain,
            2 => Framing::Both,
            _ => Framing::Unseen,
        }
    }

    /// What the client is told, if what it sent was no request.
    pub(crate) fn unreadable(&self) -> Option<Problem> {
        self.unreadable.get().copied()
    }

    /// Takes that for noted; whether it was not before.
    pub(crate) fn note_unreadable(&self) -> bool {
        !self.noted.swap(true, Relaxed)
    }

    /// When the phase began; in a tunnel, when the last octet passed.
    pub(crate) fn since(&self) -> Instant {
        self.began + Duration::from_millis(self.since.load(Relaxed))
    }

    /// Since when the client has taken nothing of what is to be written.
    pub(crate) fn stuck_since(&self) -> Option<Instant> {
        self.stuck.load(Relaxed).checked_sub(1).map(|milliseconds| self.began + Duration::from_millis(milliseconds))
    }

    /// All that there was to write has been taken.
    fn has_flushed(&self) {
        self.stuck.store(0, Relaxed);
        if matches!(self.phase(), Phase::Resting | Phase::Header) {
            self.owing.store(false, Relaxed);
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn got_stuck(&self) {
        if self.stuck.load(Relaxed) == 0 {
            self.stuck.store(self.now() + 1, Relaxed);
        }
    }
}

/// The octets of a connection, as they are inside TLS.
#[derive(Debug)]
pub(crate) struct Guard<S> {
    stream: S,
    shared: Arc<Shared>,
    head: Head,
    opening: Opening,
    linger: Option<Linger>,
    /// More fields make a header crowded.
    most_fields: usize,
    asker: Asker,
    last_words: Option<LastWords>,
    /// Whether several requests may be under way, whose headers are the library's alone to see.
    multiplexed: bool,
}

/// The answer to octets that are no request. The library has one of its own, without a reason; this is sent instead.
#[derive(Debug)]
struct LastWords {
    octets: Vec<u8>,
    written: usize,
}

/// The last of a connection: we have said all, and take what the client still sends, so that it can read our last words.
#[derive(Debug)]
struct Linger {
    patience: Pin<Box<Sleep>>,
    octets: usize,
}

const LINGER: Duration = Duration::from_secs(2);
const MOST_LINGERING: usize = 1 << 20;

impl<S: AsyncRead + Unpin> Guard<S> {
    pub(crate) fn new(stream: S, shared: Arc<Shared>, most_fields: usize, asker: Asker) -> Self {
        let (head, opening) = (Head::default(), Opening::default());
        Self { stream, shared, head, opening, linger: None, most_fields, asker, last_words: None, multiplexed: false }
    }

    /// Whether the client begins as one who knows that we speak HTTP/2 (RFC 9113 section 3.3). Nothing is lost of what it
    /// says.
    pub(crate) async fn begins_http2(&mut self) -> io::Result<bool> {
        let Self { stream, opening, .. } = self;
        poll_fn(|cx| opening.poll(Pin::new(&mut *stream), cx)).await
    }

    /// From here on it is HTTP/2: at rest until there are requests.
    pub(crate) fn multiplex(&mut self) {
        self.multiplexed = true;
        self.shared.enter(Phase::Resting);
    }

    /// Looks at what was read, before the library does.
    fn has_read(&mut self, octets: &[u8]) {
        match self.shared.phase() {
            Phase::Busy => return,
            _ if self.multiplexed => return,
            Phase::Tunnel => return self.shared.enter(Phase::Tunnel),
            Phase::Resting if octets.is_empty() => return,
            Phase::Resting => {
                self.shared.enter(Phase::Header);
                self.head = Head::default();
            }
            Phase::Header => {}
        }
        self.head.read(octets);
        self.shared.framing.store(self.head.framing() as u8, Relaxed);
    }

    /// Whether what is to be written answers no request that was read: so does the library when it can read none.
    fn is_unasked(&self) -> bool {
        !self.multiplexed && self.shared.phase() != Phase::Tunnel && !self.shared.owing.load(Relaxed)
    }

    /// Takes the library's own answer for written, and has another for the client.
    fn answer_instead(&mut self, theirs: &[u8]) {
        if self.last_words.is_none() {
            let problem = self.unreadable(theirs);
            let _ = self.shared.unreadable.set(problem);
            self.last_words = Some(LastWords { octets: problem.octets(self.asker, theirs), written: 0 });
        }
    }

    /// The library knows only that it was too much, or that it was wrong.
    fn unreadable(&self, theirs: &[u8]) -> Problem {
        // With 414, it was the target that is too long.
        match theirs.get(9..12) {
            Some(b"431" | b"414") if self.head.is_crowded(self.most_fields) => Problem::HeaderCrowded,
            Some(b"431" | b"414") => Problem::HeaderOversized,
            _ if self.head.is_ambiguous() => Problem::FramingAmbiguous,
            _ => Problem::RequestMalformed,
        }
    }

    fn has_written(&self, written: &Poll<io::Result<usize>>) {
        if written.is_pending() {
            self.shared.got_stuck();
            return;
        }
        self.shared.stuck.store(0, Relaxed);
        if self.shared.phase() == Phase::Tunnel {
            self.shared.enter(Phase::Tunnel);
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Guard<S> {
    fn poll_last_words(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.last_words.is_some() && !self.shared.noted.load(Relaxed) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        while let Some(LastWords { octets, written }) = &mut self.last_words
            && let Some(rest) = octets.get(*written..).filter(|rest| !rest.is_empty())
        {
            let taken = Pin::new(&mut self.stream).poll_write(cx, rest);
            if let Poll::Ready(Ok(length)) = &taken {
                *written += length;
            }
            self.has_written(&taken);
            if ready!(taken)? == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let Self { stream, opening, .. } = &mut *self;
        opening.give(buffer);
        let read = Pin::new(stream).poll_read(cx, buffer);
        if buffer.filled().len() == before {
            ready!(read)?;
        }
        self.has_read(buffer.filled().get(before..).unwrap_or_default());
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        if self.is_unasked() {
            self.answer_instead(octets);
            return Poll::Ready(Ok(octets.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, octets);
        self.has_written(&written);
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_unasked() {
            let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.answer_instead(&octets);
            return Poll::Ready(Ok(octets.len()));
        }
        let written = write::parts(&mut self.stream, cx, parts);
        self.has_written(&written);
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_last_words(cx))?;
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        // TLS takes octets before the client does.
        if flushed.is_pending() {
            self.shared.got_stuck();
        } else {
            self.shared.has_flushed();
        }
        flushed
    }

    /// Ends our side, then reads and throws away until the client has ended its own. Closing with unread octets would reset
    /// the connection, and the client might never see the answer that says what it did wrong.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.linger.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.shared.enter(Phase::Busy);
        }
        let Self { stream, linger, .. } = &mut *self;
        let linger = linger.get_or_insert_with(|| Linger { patience: Box::pin(sleep(LINGER)), octets: 0 });
        let mut scratch = [0; 4096];
        while linger.octets < MOST_LINGERING {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => linger.octets += buffer.filled().len(),
                Poll::Ready(_) => return Poll::Ready(Ok(())),
                Poll::Pending => return linger.patience.as_mut().poll(cx).map(Ok),
            }
        }
        Poll::Ready(Ok(()))
    }
}
