//! The body of a request that goes out by HTTP/2. There an upstream can say that it took nothing of the request, though some of it
//! is on the way (RFC 9113 section 8.7); as long as all that went out is still at hand, the body can be had back.

use core::cell::{Cell, RefCell};
use core::pin::Pin;
use core::task::{Context, Poll};
use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;
use http_body::{Body as _, Frame, SizeHint};

use super::RequestBody;
use crate::answer::Problem;

/// How much is kept of one body: most calls are shorter, and what streams for long is not begun again.
const MOST: usize = 64 << 10;

/// A body as the connection has it: it ends in an error once it was called back.
pub(crate) struct Lent(Option<Rc<Shared>>);

/// The right to call it back. Without it nothing is kept.
pub(crate) struct Loan(Option<Rc<Shared>>);

struct Shared {
    body: RefCell<Option<RequestBody>>,
    /// What went out, if that is all of it.
    gone: RefCell<Option<VecDeque<Frame<Bytes>>>>,
    octets: Cell<usize>,
}

impl Lent {
    pub(crate) fn of(body: RequestBody) -> (Self, Loan) {
        if body.0.is_none() {
            return (Self(None), Loan(None));
        }
        let (body, gone) = (RefCell::new(Some(body)), RefCell::new(Some(VecDeque::new())));
        let shared = Rc::new(Shared { body, gone, octets: Cell::new(0) });
        (Self(Some(Rc::clone(&shared))), Loan(Some(shared)))
    }
}

impl Loan {
    /// The body, from its first octet; nothing, if that is not at hand any more.
    pub(crate) fn call_back(self) -> Option<RequestBody> {
        let Some(shared) = &self.0 else { return Some(RequestBody(None)) };
        let gone = shared.gone.take()?;
        let mut body = shared.body.take()?;
        body.begin_again(gone);
        Some(body)
    }
}

impl Drop for Loan {
    fn drop(&mut self) {
        if let Some(shared) = &self.0 {
            shared.gone.take();
        }
    }
}

impl RequestBody {
    /// It is sent from its first octet; `gone` is what went out already.
    fn begin_again(&mut self, gone: VecDeque<Frame<Bytes>>) {
        let Some(sent) = &mut self.0 else { return };
        // Behind what had gone out may be the rest of what had before.
        sent.again = gone.into_iter().chain(core::mem::take(&mut sent.again)).collect();
        if let Some(progress) = &sent.progress {
            progress.begin_again();
        }
    }
}

impl Shared {
    fn keep(&self, frame: &Frame<Bytes>) {
        let mut gone = self.gone.borrow_mut();
        let Some(kept) = &mut *gone else { return };
        if let Some(data) = frame.data_ref() {
            self.octets.set(self.octets.get() + data.len());
            kept.push_back(Frame::data(data.clone()));
        } else if let Some(trailers) = frame.trailers_ref() {
            kept.push_back(Frame::trailers(trailers.clone()));
        }
        if self.octets.get() > MOST {
            *gone = None;
        }
    }

    fn poll_frame(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        let mut body = self.body.borrow_mut();
        let Some(body) = &mut *body else { return Poll::Ready(Some(Err(Problem::UpstreamInvalid))) };
        let polled = Pin::new(body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.keep(frame);
        }
        polled
    }
}

impl http_body::Body for Lent {
    type Data = Bytes;
    type Error = Problem;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        self.0.as_ref().map_or(Poll::Ready(None), |shared| shared.poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        let Some(shared) = &self.0 else { return true };
        shared.body.borrow().as_ref().is_some_and(|body| body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        let Some(shared) = &self.0 else { return SizeHint::with_exact(0) };
        shared.body.borrow().as_ref().map_or_else(SizeHint::new, |body| body.size_hint())
    }
}
