//! Connections of programs: how long each may stay, and which of them makes room for another. Whoever does not know the secret
//! keeps none.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::{Instant, timeout};

/// Connections at once: more than the programs of one user open.
const CONNECTIONS: usize = 512;

/// How long a program may take to send the fields of a request, and a new connection until one of its requests is let in.
const HEAD: Duration = Duration::from_secs(30);

/// How long a connection that is to end may take to say so, once nothing is under way on it.
const FAREWELL: Duration = Duration::from_secs(1);

/// Requests at once on one connection of HTTP/2.
const STREAMS: u32 = 100;

/// All connections that are open.
pub(super) struct Lines {
    places: Arc<Semaphore>,
    open: Mutex<Open>,
    /// One of them has come to rest.
    rested: Notify,
}

#[derive(Default)]
struct Open {
    count: u64,
    lines: BTreeMap<u64, Arc<Line>>,
}

/// One connection.
pub(super) struct Line(watch::Sender<Use>);

/// What it is used for.
#[derive(Clone, Copy, Debug)]
struct Use {
    /// Requests that were let in, and whose answers have not come to their end.
    busy: usize,
    /// Whether there was ever one.
    known: bool,
    /// Since when there is none.
    since: Instant,
    leave: Leave,
}

/// How it is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Leave {
    Stay,
    /// Once what is under way is done.
    Gently,
    AtOnce,
}

impl Lines {
    pub(super) fn new() -> Arc<Self> {
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        Arc::new(Self { places, open: Mutex::default(), rested: Notify::new() })
    }

    /// A place for one more connection. If there is none, the one that is used least makes room.
    pub(super) async fn place(self: &Arc<Self>) -> Option<Place> {
        loop {
            if self.places.available_permits() == 0 {
                self.make_room();
            }
            tokio::select! {
                permit = Arc::clone(&self.places).acquire_owned() => {
                    return permit.ok().map(|permit| self.open(permit));
                }
                () = self.rested.notified() => {}
            }
        }
    }

    /// Ends all of them, each once it has done what is under way.
    pub(super) async fn end(&self) {
        self.each(|line| line.leave(Leave::Gently));
        let all = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let _ = self.places.acquire_many(all).await; // nobody closes it
    }

    fn open(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Place {
        let now = Use { busy: 0, known: false, since: Instant::now(), leave: Leave::Stay };
        let line = Arc::new(Line(watch::Sender::new(now)));
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.count += 1;
        let number = open.count;
        open.lines.insert(number, Arc::clone(&line));
        Place { all: Arc::clone(self), number, line, _permit: permit }
    }

    /// First those that nobody was let in by, then those at rest for the longest.
    fn make_room(&self) {
        let mut leaving = false;
        let mut least: Option<(bool, Instant, Arc<Line>)> = None;
        self.each(|line| {
            let now = *line.0.borrow();
            leaving |= now.leave == Leave::AtOnce;
            let better = least.as_ref().is_none_or(|(known, since, _)| (now.known, now.since) < (*known, *since));
            if now.busy == 0 && better {
                least = Some((now.known, now.since, Arc::clone(line)));
            }
        });
        match least {
            Some((known, _, line)) if !leaving => line.leave(if known { Leave::Gently } else { Leave::AtOnce }),
            _ => {}
        }
    }

    fn each(&self, each: impl FnMut(&Arc<Line>)) {
        self.open.lock().unwrap_or_else(PoisonError::into_inner).lines.values().for_each(each);
    }
}

/// The place of one connection, which is free again when this is dropped.
pub(super) struct Place {
    all: Arc<Lines>,
    number: u64,
    line: Arc<Line>,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.all.open.lock().unwrap_or_else(PoisonError::into_inner).lines.remove(&self.number);
    }
}

impl Place {
    /// Answers the requests that come on `stream` until it ends or is to end.
    pub(super) async fn serve<S, A, F, B>(self, stream: S, answer: A)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        A: Fn(Request<Incoming>, Asked) -> F,
        F: Future<Output = Result<Response<B>, Infallible>> + Send + 'static,
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let service = service_fn(|request| answer(request, Asked(Arc::clone(&self.all), Arc::clone(&self.line))));
        let builder = builder();
        let mut served = pin!(builder.serve_connection(TokioIo::new(stream), service));
        tokio::select! {
            ended = served.as_mut() => return log(ended),
            known = timeout(HEAD, self.line.until(|now| now.known || now.leave != Leave::Stay)) => {
                if known.is_err() {
                    return tracing::debug!("a connection was closed: none of its requests was let in");
                }
            }
        }
        tokio::select! {
            ended = served.as_mut() => return log(ended),
            () = self.line.until(|now| now.leave != Leave::Stay) => served.as_mut().graceful_shutdown(),
        }
        tokio::select! {
            ended = served => log(ended),
            () = self.line.gone() => tracing::debug!("a connection was closed"),
        }
    }
}

fn log<E: Into<Box<dyn std::error::Error + Send + Sync>>>(ended: Result<(), E>) {
    if let Err(why) = ended {
        tracing::debug!(why = %why.into(), "a connection broke off");
    }
}

/// Both versions of HTTP, told apart by how a connection begins (RFC 9113 section 3.4).
fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEAD);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .keep_alive_interval(HEAD)
        .keep_alive_timeout(HEAD);
    builder
}

impl Line {
    fn leave(&self, how: Leave) {
        self.0.send_modify(|now| now.leave = now.leave.max(how));
    }

    async fn until(&self, enough: impl FnMut(&Use) -> bool) {
        let mut seen = self.0.subscribe();
        let _ = seen.wait_for(enough).await; // the sender is this one
    }

    /// Until it has had its time to end, or has none.
    async fn gone(&self) {
        loop {
            self.until(|now| now.busy == 0).await;
            let again = self.until(|now| now.busy > 0 || now.leave == Leave::AtOnce);
            if timeout(FAREWELL, again).await.is_err() || self.0.borrow().busy == 0 {
                return;
            }
        }
    }
}

/// The connection of one request, which decides whether it goes on.
pub(super) struct Asked(Arc<Lines>, Arc<Line>);

impl Asked {
    /// The request is let in. The connection is in use until the answer has come to its end.
    pub(super) fn admitted(self) -> Busy {
        self.1.0.send_modify(|now| {
            now.busy += 1;
            now.known = true;
        });
        Busy(self)
    }

    /// The request is not: a program does not guess, and connects again when it knows better.
    pub(super) fn refused(self) {
        self.1.leave(Leave::Gently);
    }
}

/// A request that is under way.
pub(super) struct Busy(Asked);

impl Drop for Busy {
    fn drop(&mut self) {
        let Asked(lines, line) = &self.0;
        line.0.send_modify(|now| {
            now.busy -= 1;
            now.since = Instant::now();
        });
        lines.rested.notify_one();
    }
}

/// A body that keeps its connection in use.
pub(super) struct Keeping<B> {
    body: B,
    _busy: Option<Busy>,
}

impl<B> Keeping<B> {
    pub(super) const fn new(body: B, busy: Option<Busy>) -> Self {
        Self { body, _busy: busy }
    }
}

impl<B: Body + Unpin> Body for Keeping<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};

    use super::*;

    /// A connection of HTTP/2 begins, with settings and nothing else.
    const HTTP2: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

    /// Another end for each connection, whose requests are let in if they say so.
    async fn connect(lines: &Arc<Lines>) -> DuplexStream {
        let (ours, theirs) = duplex(64 * 1024);
        let place = lines.place().await.unwrap();
        tokio::spawn(place.serve(theirs, |request: Request<Incoming>, asked: Asked| {
            let busy = if request.headers().contains_key("secret") {
                Some(asked.admitted())
            } else {
                asked.refused();
                None
            };
            async { Ok(Response::new(Keeping::new(Full::new(Bytes::from_static(b"ok")), busy))) }
        }));
        ours
    }

    /// Answers pings and acknowledges settings, as an honest peer does, until the connection ends.
    async fn stay(mut stream: DuplexStream) -> Duration {
        let begun = Instant::now();
        let mut read = Vec::new();
        while stream.read_buf(&mut read).await.is_ok_and(|length| length > 0) {
            while let Some((frame, rest)) = frame(&read) {
                let answer = match (frame[3], frame[4]) {
                    (4, 0) => b"\0\0\0\x04\x01\0\0\0\0".to_vec(),
                    (6, 0) => [b"\0\0\x08\x06\x01\0\0\0\0", &frame[9..17]].concat(),
                    _ => Vec::new(),
                };
                let rest = rest.to_vec();
                if stream.write_all(&answer).await.is_err() {
                    return begun.elapsed();
                }
                read = rest;
            }
        }
        begun.elapsed()
    }

    fn frame(read: &[u8]) -> Option<(&[u8], &[u8])> {
        let length = usize::from(*read.get(2)?) + (usize::from(read[1]) << 8);
        read.split_at_checked(9 + length)
    }

    async fn ask(stream: &mut DuplexStream, fields: &str) -> String {
        stream.write_all(format!("GET / HTTP/1.1\r\nHost: a\r\n{fields}\r\n").as_bytes()).await.unwrap();
        let mut read = vec![0; 4096];
        let length = stream.read(&mut read).await.unwrap();
        String::from_utf8(read[..length].to_vec()).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn who_is_never_let_in_does_not_stay() {
        let lines = Lines::new();
        for begin in [&b""[..], b"PRI * HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n", HTTP2] {
            let mut stream = connect(&lines).await;
            stream.write_all(begin).await.unwrap();
            let stayed = stay(stream).await;
            assert!(stayed <= HEAD + FAREWELL, "{begin:?}: {stayed:?}");
        }
        assert_eq!(lines.places.available_permits(), CONNECTIONS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_ends_a_connection() {
        let lines = Lines::new();
        let mut stream = connect(&lines).await;
        assert!(ask(&mut stream, "").await.starts_with("HTTP/1.1 200"));
        assert!(stay(stream).await < HEAD);
        let mut stream = connect(&lines).await;
        assert!(ask(&mut stream, "Secret: 1\r\n").await.starts_with("HTTP/1.1 200"));
        assert!(ask(&mut stream, "Secret: 1\r\n").await.starts_with("HTTP/1.1 200"), "it goes on");
    }

    #[tokio::test(start_paused = true)]
    async fn idle_ones_make_room() {
        let lines = Lines::new();
        let mut known = connect(&lines).await;
        ask(&mut known, "Secret: 1\r\n").await;
        let mut strangers = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            let mut stream = timeout(FAREWELL / 2, connect(&lines)).await.expect("a place, at once");
            stream.write_all(HTTP2).await.unwrap();
            strangers.push(stream);
        }
        assert!(ask(&mut known, "Secret: 1\r\n").await.starts_with("HTTP/1.1 200"), "strangers go first");
        let mut more = Vec::new();
        for _ in 0..2 * CONNECTIONS {
            let mut stream = timeout(2 * FAREWELL, connect(&lines)).await.expect("a place");
            assert!(ask(&mut stream, "Secret: 1\r\n").await.starts_with("HTTP/1.1 200"));
            more.push(stream);
        }
        assert!(stay(known).await < HEAD, "and then who has rested for the longest");
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_waits_for_nobody_at_rest() {
        let lines = Lines::new();
        let mut stream = connect(&lines).await;
        ask(&mut stream, "Secret: 1\r\n").await;
        let mut silent = connect(&lines).await;
        silent.write_all(HTTP2).await.unwrap();
        timeout(2 * FAREWELL, lines.end()).await.expect("an end");
    }
}
