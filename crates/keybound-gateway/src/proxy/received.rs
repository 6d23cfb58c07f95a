//! The body of a response as it comes from an upstream, in either version of HTTP.

use core::pin::Pin;
use core::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::http1::Streamed;

type BoxError = Box<dyn core::error::Error + Send + Sync>;

/// What an upstream sends behind the header.
pub(crate) enum Received {
    /// It came with the header.
    Whole(Bytes),
    /// It comes by HTTP/1.1.
    Streamed(Box<Streamed>),
    /// It comes by HTTP/2.
    Multiplexed(Incoming),
    /// It is no HTTP any more; this came already.
    Switched(Bytes),
}

impl Body for Received {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.get_mut() {
            Self::Whole(octets) | Self::Switched(octets) => {
                let octets = core::mem::take(octets);
                Poll::Ready((!octets.is_empty()).then(|| Ok(Frame::data(octets))))
            }
            Self::Streamed(body) => body.poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into))),
            Self::Multiplexed(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| frame.map_err(Into::into)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Whole(octets) | Self::Switched(octets) => octets.is_empty(),
            Self::Streamed(body) => body.is_end_stream(),
            Self::Multiplexed(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Whole(octets) | Self::Switched(octets) => SizeHint::with_exact(octets.len() as u64),
            Self::Streamed(body) => body.left().map_or_else(SizeHint::default, SizeHint::with_exact),
            Self::Multiplexed(body) => body.size_hint(),
        }
    }
}
