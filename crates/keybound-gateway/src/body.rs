//! Bodies on their way through: bounded in size and in silence. What is held of one is bounded too: the beginning of a form, and
//! of what may have to be sent again over HTTP/2. A request's is counted and its trailers are cleaned; a response's gives its
//! upstream connection back at the end.

use core::cell::Cell;
use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use core::time::Duration;
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::time::Instant;

use crate::answer::Problem;
use crate::front::Ended;
use crate::proxy::{Lease, Received, fields};
use crate::share::Share;

use form::Form;

mod form;
mod lent;
mod progress;
mod silence;

pub(crate) use form::{Found, Later};
pub(crate) use lent::Lent;
pub(crate) use progress::Progress;
use silence::Silence;

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// The body of a request, as the client sends it.
///
/// It fails with a [`Problem`] when it is too long, too slow, stops, or breaks its framing.
///
/// Most requests have none, and every request is moved from hand to hand: what there is to know of a body has a place of its
/// own.
pub struct RequestBody(Option<Box<Sent>>);

/// What a client sends, on its way.
struct Sent {
    inner: Incoming,
    left: u64,
    silence: Silence,
    due: Instant,
    progress: Option<Rc<Progress>>,
    form: Option<Form>,
    share: Share,
    /// What an upstream was sent that took nothing of it.
    again: VecDeque<Frame<Bytes>>,
}

impl RequestBody {
    /// `None` if its declared length is more than `most`.
    pub(crate) fn bounded(inner: Incoming, most: u64, silence: Duration, whole: Duration) -> Option<Self> {
        if inner.is_end_stream() {
            return Some(Self(None));
        }
        if inner.size_hint().lower() > most {
            return None;
        }
        Some(Self(Some(Box::new(Sent {
            inner,
            left: most,
            silence: Silence::of(silence),
            due: Instant::now() + whole,
            progress: None,
            form: None,
            share: Share::default(),
            again: VecDeque::new(),
        }))))
    }

    /// How much of it has gone by, for whoever waits for the answer; `None` if there is no body.
    pub(crate) fn progress(&mut self) -> Option<Rc<Progress>> {
        let sent = self.0.as_mut()?;
        Some(Rc::clone(sent.progress.get_or_insert_with(|| Rc::new(Progress::until(sent.due)))))
    }

    /// Reads the beginning of a form, up to its end or 16 KiB and a piece, holds it back, and says whether there is an
    /// access token in it. Afterwards the body is passed on from its first octet, as if nothing had been read.
    ///
    /// # Errors
    ///
    /// What is wrong with the body: too slow, too long, malformed.
    pub(crate) async fn hold_form(&mut self, later: Later) -> Result<Found, Problem> {
        match &mut self.0 {
            None => Ok(Found::Nothing),
            Some(sent) => sent.hold_form(later).await,
        }
    }

    /// Whether, behind the beginning of a form that is looked through, there was a token that passed.
    pub(crate) fn token_came(&self) -> Option<Rc<Cell<bool>>> {
        self.0.as_ref().and_then(|sent| sent.token_came())
    }
}

impl Sent {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        let frame = match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let late = ready!(self.poll_late(cx));
                return Poll::Ready(Some(Err(late)));
            }
        };
        self.silence.broken();
        Poll::Ready(match frame {
            None => None,
            Some(Err(_)) => Some(Err(Problem::BodyMalformed)),
            Some(Ok(mut frame)) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                if let Some(trailers) = frame.trailers_mut() {
                    fields::clean_trailers(trailers);
                }
                match self.left.checked_sub(length) {
                    Some(left) => {
                        self.left = left;
                        Some(Ok(frame))
                    }
                    None => Some(Err(Problem::BodyOversized)),
                }
            }
        })
    }
}

impl Sent {
    /// Nothing came: ready with what is wrong once that has lasted too long. Where the response has begun, that keeps the
    /// exchange alive, and there is no time by which the body must have come.
    fn poll_late(&mut self, cx: &mut Context<'_>) -> Poll<Problem> {
        let answered = self.progress.as_ref().and_then(|progress| {
            progress.sent_by(cx);
            progress.answered()
        });
        if let Some(answered) = answered {
            self.silence.allow(answered.silence);
            ready!(self.silence.poll(cx, None, Some(answered.last)));
            return Poll::Ready(Problem::BodyStalled);
        }
        ready!(self.silence.poll(cx, Some(self.due), None));
        let slow = self.due <= Instant::now();
        Poll::Ready(if slow { Problem::BodySlow } else { Problem::BodyStalled })
    }

    fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        if self.progress.as_ref().is_some_and(|progress| progress.is_abandoned()) {
            return Poll::Ready(Some(Err(Problem::UpstreamInvalid)));
        }
        let polled = match (self.again.pop_front(), &self.form) {
            (Some(frame), _) => Poll::Ready(Some(Ok(frame))),
            (None, None) => self.poll(cx),
            (None, Some(_)) => self.poll_form(cx),
        };
        if let Some(progress) = &self.progress {
            match &polled {
                Poll::Pending => {}
                Poll::Ready(Some(Ok(_))) => progress.moved(self.is_end_stream()),
                Poll::Ready(Some(Err(problem))) => progress.fail(*problem),
                Poll::Ready(None) => progress.moved(true),
            }
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.again.is_empty()
            && match &self.form {
                None => self.inner.is_end_stream(),
                Some(form) => form.holds_nothing() && (form.is_over() || self.inner.is_end_stream()),
            }
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.form {
            None => self.inner.size_hint(),
            Some(form) => form.size_hint(&self.inner.size_hint()),
        };
        if self.again.is_empty() {
            return rest;
        }
        longer(&rest, self.again.iter().filter_map(Frame::data_ref).map(Bytes::len).sum())
    }
}

impl http_body::Body for RequestBody {
    type Data = Bytes;
    type Error = Problem;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        let Some(sent) = &mut self.0 else { return Poll::Ready(None) };
        ready!(sent.share.take(cx));
        sent.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|sent| sent.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), |sent| sent.size_hint())
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequestBody").field("left", &self.0.as_ref().map(|sent| sent.left)).finish_non_exhaustive()
    }
}

/// The length of what has so many octets before it.
fn longer(rest: &SizeHint, octets: usize) -> SizeHint {
    let octets = octets as u64;
    let mut whole = SizeHint::new();
    whole.set_lower(rest.lower().saturating_add(octets));
    if let Some(upper) = rest.upper() {
        whole.set_upper(upper.saturating_add(octets));
    }
    whole
}

/// The body of a response: from an upstream, of our own, or anything else that streams.
pub struct Body {
    kind: Kind,
    /// Dropped with the body, which is when the response has been handed to the connection whole.
    ended: Option<Ended>,
}

enum Kind {
    Empty,
    Whole(Bytes),
    Upstream(Box<UpstreamBody>),
    Streaming(Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError>>>, Share),
}

impl Body {
    /// No octets.
    pub const fn empty() -> Self {
        Self { kind: Kind::Empty, ended: None }
    }

    /// What another service makes, such as a router of the same process.
    pub fn streaming<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + 'static,
        B::Error: Into<BoxError>,
    {
        Self { kind: Kind::Streaming(Box::pin(body.map_err(Into::into)), Share::default()), ended: None }
    }

    /// What an upstream sends; it may be silent for this long, and gives the connection back at its end.
    pub(crate) fn upstream(inner: Received, silence: Duration, mut lease: Lease) -> Self {
        let inner = match inner {
            Received::Whole(octets) if lease.sent().is_none_or(|sent| sent.finished().is_some()) => {
                lease.answered();
                return Self::from(octets);
            }
            inner => inner,
        };
        let body = UpstreamBody {
            inner,
            silence: Silence::of(silence),
            lease: Some(lease),
            share: Share::default(),
            broken: None,
        };
        Self { kind: Kind::Upstream(Box::new(body)), ended: None }
    }

    pub(crate) fn until(mut self, ended: Ended) -> Self {
        self.ended = Some(ended);
        self
    }
}

impl From<Bytes> for Body {
    fn from(octets: Bytes) -> Self {
        Self { kind: Kind::Whole(octets), ended: None }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(ended) = &self.ended {
            ended.asked();
        }
        let polled = match &mut self.kind {
            Kind::Empty => Poll::Ready(None),
            Kind::Whole(octets) => {
                let octets = core::mem::take(octets);
                self.kind = Kind::Empty;
                Poll::Ready((!octets.is_empty()).then(|| Ok(Frame::data(octets))))
            }
            Kind::Upstream(body) => {
                ready!(body.share.take(cx));
                body.poll(cx)
            }
            Kind::Streaming(body, share) => {
                ready!(share.take(cx));
                body.as_mut().poll_frame(cx)
            }
        };
        if let (Some(ended), Poll::Ready(Some(_))) = (&self.ended, &polled) {
            ended.gave();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Empty => true,
            Kind::Whole(octets) => octets.is_empty(),
            Kind::Upstream(body) => body.inner.is_end_stream(),
            Kind::Streaming(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Whole(octets) => SizeHint::with_exact(octets.len() as u64),
            Kind::Upstream(body) => body.inner.size_hint(),
            Kind::Streaming(body, _) => body.size_hint(),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match &self.kind {
            Kind::Empty => "empty",
            Kind::Whole(_) => "whole",
            Kind::Upstream(_) => "upstream",
            Kind::Streaming(..) => "streaming",
        };
        write!(f, "Body({kind})")
    }
}

/// What an upstream sends, and the connection it comes on.
struct UpstreamBody {
    inner: Received,
    silence: Silence,
    lease: Option<Lease>,
    share: Share,
    /// What broke it off, which is said a turn later than it is seen: what came before has to go out first.
    broken: Option<BoxError>,
}

impl UpstreamBody {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        if let Some(error) = self.broken.take() {
            return Poll::Ready(Some(Err(error)));
        }
        match Pin::new(&mut self.inner).poll_frame(cx) {
            Poll::Ready(Some(Err(error))) => {
                self.broken = Some(error);
                cx.waker().wake_by_ref();
                Poll::Pending
            }
            Poll::Ready(frame) => {
                self.silence.broken();
                if let Some(sent) = self.sent() {
                    sent.answer_moved(self.silence.most());
                }
                if frame.is_none() {
                    self.give_back();
                }
                Poll::Ready(frame.map(|frame| {
                    let mut frame = frame?;
                    if let Some(trailers) = frame.trailers_mut() {
                        fields::back(trailers);
                    }
                    Ok(frame)
                }))
            }
            Poll::Pending => {
                let last = self.sent().map(|sent| sent.last());
                ready!(self.silence.poll(cx, None, last));
                Poll::Ready(Some(Err(Problem::UpstreamTimeout.into())))
            }
        }
    }

    /// The body of the request, if it had one and it is still being sent.
    fn sent(&self) -> Option<&Progress> {
        self.lease.as_ref().and_then(Lease::sent).filter(|sent| sent.finished().is_none())
    }

    fn give_back(&mut self) {
        if let Some(mut lease) = self.lease.take() {
            lease.answered();
        }
    }
}

impl Drop for UpstreamBody {
    fn drop(&mut self) {
        // Of a body with a known length nobody asks for the end.
        if self.inner.is_end_stream() {
            self.give_back();
        }
    }
}
