//! The body of a request that goes out by HTTP/2. There an upstream can say that it took nothing of the request, though some of it
//! is on the way (RFC 9113 section 8.7); as long as all that went out is still at hand, the body can be had back.

use core::cell::RefCell;
use core::pin::Pin;
use core::task::{Context, Poll};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
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
    gone: RefCell<Option<Gone>>,
}

/// A copy: octets that come one by one would each keep the whole of what they were read with.
#[derive(Default)]
struct Gone {
    data: BytesMut,
    trailers: Option<HeaderMap>,
}

impl Lent {
    pub(crate) fn of(body: RequestBody) -> (Self, Loan) {
        if body.0.is_none() {
            return (Self(None), Loan(None));
        }
        let shared = Rc::new(Shared { body: RefCell::new(Some(body)), gone: RefCell::new(Some(Gone::default())) });
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
    /// It is sent from its first octet; what went out already comes first.
    fn begin_again(&mut self, Gone { data, trailers }: Gone) {
        let Some(sent) = &mut self.0 else { return };
        // Behind what had gone out may be the rest of what had before.
        let rest = core::mem::take(&mut sent.again);
        let data = (!data.is_empty()).then(|| Frame::data(data.freeze()));
        sent.again = data.into_iter().chain(trailers.map(Frame::trailers)).chain(rest).collect();
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
            if kept.data.len() + data.len() > MOST {
                *gone = None;
                return;
            }
            kept.data.extend_from_slice(data);
        } else if let Some(trailers) = frame.trailers_ref() {
            kept.trailers = Some(trailers.clone());
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_holds_nothing_else_and_no_more_than_its_bound() {
        let shared = Shared { body: RefCell::new(None), gone: RefCell::new(Some(Gone::default())) };
        let read = Bytes::from(vec![b'a'; MOST]);
        for _ in 0..MOST {
            shared.keep(&Frame::data(read.slice(..1)));
        }
        assert!(read.is_unique(), "the octet is kept, and with it all that it was read with");
        assert_eq!(shared.gone.borrow().as_ref().map(|gone| gone.data.len()), Some(MOST));
        shared.keep(&Frame::data(read.slice(..1)));
        assert!(shared.gone.borrow().is_none());
    }
}
