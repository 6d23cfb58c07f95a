//! Bodies of requests: short ones are kept while they are sent, so that they can be sent again; others go on as they come.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use keybound_client::Body;
use tokio::time::{Instant, timeout_at};

/// A body that is not longer is kept while it is sent, so that it can be sent again (R-CLI-17).
const KEPT: u64 = 1024 * 1024;

/// How long a body that says its length may take, if it is to be kept.
const WHOLE: Duration = Duration::from_secs(60);

/// How long it is waited whether a body that does not say its length is a short one: those of gRPC calls are there at once, and a
/// stream that the other side is to answer while it goes on must not be kept from it.
const GUESS: Duration = Duration::from_millis(20);

/// Why there is no body.
pub(super) enum Broken {
    Slow,
    Off(hyper::Error),
}

/// The body to send on.
pub(super) async fn gather(body: Incoming, length: Option<u64>) -> Result<Body, Broken> {
    if length.is_some_and(|length| length > KEPT) {
        return Ok(Body::stream(body));
    }
    let until = Instant::now() + if length.is_some() { WHOLE } else { GUESS };
    let mut partly = Partly { read: VecDeque::new(), rest: body };
    let mut size = 0;
    while !partly.rest.is_end_stream() {
        match timeout_at(until, partly.rest.frame()).await {
            Ok(None) => break,
            Ok(Some(frame)) => {
                let frame = frame.map_err(Broken::Off)?;
                let trailers = frame.is_trailers();
                size += frame.data_ref().map_or(0, |data| data.len() as u64);
                partly.read.push_back(frame);
                if trailers || size > KEPT {
                    return Ok(Body::stream(partly));
                }
            }
            Err(_) if length.is_some() => return Err(Broken::Slow),
            Err(_) => return Ok(Body::stream(partly)),
        }
    }
    let mut whole = BytesMut::with_capacity(usize::try_from(size).unwrap_or_default());
    partly.read.iter().filter_map(Frame::data_ref).for_each(|data| whole.extend_from_slice(data));
    Ok(Body::from(whole.freeze()))
}

/// A body of which the beginning was read.
struct Partly {
    read: VecDeque<Frame<Bytes>>,
    rest: Incoming,
}

impl http_body::Body for Partly {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match self.read.pop_front() {
            Some(frame) => Poll::Ready(Some(Ok(frame))),
            None => Pin::new(&mut self.rest).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
