//! Forms on their way through: an access token may not come in one (RFC 9449 section 7.1), so that the beginning is held
//! back until it has been looked through, and the rest is looked through as it streams.

use core::cell::Cell;
use core::future::poll_fn;
use core::task::{Context, Poll, ready};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use keybound::request::FormScan;

use super::{Sent, longer};
use crate::answer::Problem;

/// How much of a form is held back: nearly every form is shorter, and so much of each connection can be afforded.
const HELD: usize = 16 << 10;

/// Whether there is an access token in a form, as far as it was held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    Token,
    Nothing,
}

/// What happens when the token comes behind the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Later {
    /// The request is broken off: the upstream never gets it whole.
    BreakOff,
    /// It is noted, and passes.
    Tell,
}

/// What was read ahead of a form, and where the look through it has come to.
#[derive(Debug)]
pub(super) struct Form {
    held: BytesMut,
    trailers: Option<HeaderMap>,
    over: bool,
    scan: Option<FormScan>,
    later: Later,
    came: Rc<Cell<bool>>,
}

impl Form {
    /// Whether all that was read ahead has been passed on.
    pub(super) fn holds_nothing(&self) -> bool {
        self.held.is_empty() && self.trailers.is_none()
    }

    /// Whether the client's body has been read to its end.
    pub(super) const fn is_over(&self) -> bool {
        self.over
    }

    pub(super) fn size_hint(&self, rest: &SizeHint) -> SizeHint {
        if self.over {
            return SizeHint::with_exact(self.held.len() as u64);
        }
        longer(rest, self.held.len())
    }

    fn next_held(&mut self) -> Option<Frame<Bytes>> {
        if !self.held.is_empty() {
            return Some(Frame::data(self.held.split().freeze()));
        }
        self.trailers.take().map(Frame::trailers)
    }
}

impl Sent {
    /// As [`RequestBody::hold_form`](super::RequestBody::hold_form) says.
    pub(super) async fn hold_form(&mut self, later: Later) -> Result<Found, Problem> {
        let (held, came) = (BytesMut::new(), Rc::default());
        let mut form = Form { held, trailers: None, over: false, scan: None, later, came };
        let mut scan = FormScan::new();
        let mut found = false;
        while form.held.len() < HELD && form.trailers.is_none() {
            let Some(frame) = poll_fn(|cx| self.poll(cx)).await else {
                form.over = true;
                break;
            };
            match frame?.into_data() {
                Ok(piece) => {
                    found |= scan.read(&piece);
                    form.held.extend_from_slice(&piece);
                }
                Err(frame) => form.trailers = frame.into_trailers().ok(),
            }
        }
        form.over |= form.trailers.is_some() || self.inner.is_end_stream();
        found |= form.over && scan.end();
        form.scan = (!found && !form.over).then_some(scan);
        self.form = Some(form);
        Ok(if found { Found::Token } else { Found::Nothing })
    }

    /// Whether, behind the beginning of a form that is looked through, there was a token that passed.
    pub(super) fn token_came(&self) -> Option<Rc<Cell<bool>>> {
        self.form.as_ref().map(|form| Rc::clone(&form.came))
    }

    /// What is held, then the rest as it comes.
    pub(super) fn poll_form(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Problem>>> {
        let Some(form) = &mut self.form else { return self.poll(cx) };
        if let Some(frame) = form.next_held() {
            return Poll::Ready(Some(Ok(frame)));
        }
        if form.over {
            return Poll::Ready(None);
        }
        let frame = ready!(self.poll(cx));
        let last = frame.is_none() || self.inner.is_end_stream();
        let Some(form) = &mut self.form else { return Poll::Ready(frame) };
        let Some(scan) = &mut form.scan else { return Poll::Ready(frame) };
        let piece = frame.as_ref().and_then(|frame| frame.as_ref().ok()).and_then(Frame::data_ref);
        if piece.is_some_and(|piece| scan.read(piece)) || (last && scan.end()) {
            if form.later == Later::Tell {
                form.came.set(true);
                form.scan = None;
                return Poll::Ready(frame);
            }
            // The octets that would end the parameter's name, or the body, are not passed on.
            return Poll::Ready(Some(Err(Problem::TokenInForm)));
        }
        Poll::Ready(frame)
    }
}
