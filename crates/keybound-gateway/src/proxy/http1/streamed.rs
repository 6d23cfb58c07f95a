//! A body that comes from an upstream piece by piece.

use core::future::Future as _;
use core::pin::pin;
use core::task::{Context, Poll, ready};
use std::rc::Rc;

use bytes::{Bytes, BytesMut};
use http_body::Frame;
use tokio::io::AsyncReadExt as _;

use super::chunks::{Decoder, Taken};
use super::head::Length;
use super::{Broken, SCRATCH, Wire};

/// What is read at once of a long body.
const LARGE: usize = 64 << 10;

/// The body of a response that has not come whole with its header.
pub(crate) struct Streamed {
    wire: Rc<Wire>,
    /// What came and was not looked at.
    rest: Bytes,
    decoder: Decoder,
    lasts: bool,
    /// Whether more comes than the common place for it can hold, so that it would be copied for nothing.
    long: bool,
    /// Where it is read to then.
    large: BytesMut,
}

impl Streamed {
    pub(super) fn new(wire: Rc<Wire>, rest: Bytes, length: Length, lasts: bool) -> Self {
        let long = matches!(length, Length::Octets(length) if length > SCRATCH as u64);
        Self { wire, rest, decoder: length.into(), lasts, long, large: BytesMut::new() }
    }

    pub(crate) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        loop {
            let before = self.decoder.is_done();
            let taken = match self.decoder.take(&mut self.rest) {
                Err(broken) => return Poll::Ready(Some(Err(broken))),
                Ok(taken) => taken,
            };
            // Once: the next request may be under way when somebody asks again.
            if !before && self.decoder.is_done() {
                self.wire.free.set(self.lasts && self.rest.is_empty());
            }
            let ended = match taken {
                Taken::Data(data) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Taken::Trailers(trailers) => return Poll::Ready(Some(Ok(Frame::trailers(trailers)))),
                Taken::End => return Poll::Ready(None),
                Taken::More => match ready!(self.poll_more(cx)) {
                    Ok(more) => !more,
                    Err(broken) => return Poll::Ready(Some(Err(broken))),
                },
            };
            if ended && !self.decoder.ends_so() {
                return Poll::Ready(Some(Err(Broken::Off)));
            }
        }
    }

    /// Whether anything came.
    fn poll_more(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        // Of a chunk's line may be a part there.
        if self.long && self.rest.is_empty() {
            return self.poll_large(cx);
        }
        let mut inbox = self.wire.scratch.inbox.borrow_mut();
        let read = ready!(self.wire.poll_read(cx, &mut inbox))?;
        self.long = read == inbox.len();
        let new = &inbox[..read];
        self.rest =
            if self.rest.is_empty() { Bytes::copy_from_slice(new) } else { [&self.rest[..], new].concat().into() };
        Poll::Ready(Ok(read > 0))
    }

    fn poll_large(&mut self, cx: &mut Context<'_>) -> Poll<Result<bool, Broken>> {
        self.wire.watch(cx)?;
        if self.large.capacity() < SCRATCH {
            self.large.reserve(LARGE);
        }
        let mut stream = self.wire.stream.borrow_mut();
        let read = pin!(stream.stream().read_buf(&mut self.large)).poll(cx);
        let read = ready!(read).map_err(|_| Broken::Off)?;
        self.rest = self.large.split().freeze();
        if read < SCRATCH {
            (self.long, self.large) = (false, BytesMut::new());
        }
        Poll::Ready(Ok(read > 0))
    }

    pub(crate) fn is_end_stream(&self) -> bool {
        self.decoder.is_done()
    }

    pub(crate) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }
}
