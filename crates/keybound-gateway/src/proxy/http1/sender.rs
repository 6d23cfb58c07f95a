//! What goes out of a request: its header and its body, framed (RFC 9112 sections 6 and 7).

use core::fmt::Write as _;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::IoSlice;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body, Frame};
use tokio::io::AsyncWrite;

use super::{Broken, head};
use crate::body::RequestBody;
use crate::write;

/// How the body of a request is framed.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many octets are to come.
    Length(u64),
    /// Of the trailers go those that were announced.
    Chunked(Vec<HeaderName>),
}

/// Pieces up to here are put together with what is before them.
const SMALL: usize = 2048;

/// So much is put together at most.
const GATHERED: usize = 16 << 10;

/// A request on its way out.
#[derive(Debug)]
pub(super) struct Sender<B = RequestBody> {
    /// What is to be written, in its order.
    gathered: BytesMut,
    piece: Bytes,
    end: &'static [u8],
    /// What is still to come of the body.
    body: Option<(B, Framing)>,
}

impl<B: Body<Data = Bytes> + Unpin> Sender<B> {
    /// Of a header, and of the body behind it.
    pub(super) fn of(header: &[u8], body: Option<(B, Framing)>) -> Self {
        Self { gathered: BytesMut::from(header), piece: Bytes::new(), end: b"", body }
    }

    /// Sends what there is; ready when that was all.
    pub(super) fn poll<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
    ) -> Poll<Result<(), Broken>> {
        loop {
            let filled = self.fill(cx)?;
            while self.has_octets() {
                ready!(self.write(cx, stream))?;
            }
            if filled.is_pending() || self.body.is_none() {
                ready!(Pin::new(&mut *stream).poll_flush(cx)).map_err(|_| Broken::Off)?;
                return if filled.is_pending() { Poll::Pending } else { Poll::Ready(Ok(())) };
            }
        }
    }

    /// Takes of the body what is there, up to a large piece; pending, if the client has to send more first.
    fn fill(&mut self, cx: &mut Context<'_>) -> Result<Poll<()>, Broken> {
        while self.piece.is_empty() && self.end.is_empty() && self.gathered.len() < GATHERED {
            let Some((body, _)) = &mut self.body else { break };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Err(_))) => return Err(Broken::Body),
                Poll::Ready(Some(Ok(frame))) => self.take(frame)?,
            }
        }
        Ok(Poll::Ready(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), Broken> {
        let data = match frame.into_data() {
            Ok(data) if data.is_empty() => return Ok(()),
            Ok(data) => data,
            Err(frame) => return self.end(frame.into_trailers().ok()),
        };
        let Some((body, framing)) = &mut self.body else { return Ok(()) };
        let last = body.is_end_stream();
        match framing {
            Framing::Length(left) => {
                *left = left.checked_sub(data.len() as u64).ok_or(Broken::Body)?;
                if last && *left > 0 {
                    return Err(Broken::Body);
                }
                self.put(data, b"");
            }
            Framing::Chunked(_) => {
                // To write into memory does not fail.
                let _ = write!(self.gathered, "{:x}\r\n", data.len());
                self.put(data, if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
            }
        }
        if last {
            self.body = None;
        }
        Ok(())
    }

    fn put(&mut self, data: Bytes, end: &'static [u8]) {
        if data.len() <= SMALL {
            self.gathered.extend_from_slice(&data);
            self.gathered.extend_from_slice(end);
        } else {
            (self.piece, self.end) = (data, end);
        }
    }

    fn end(&mut self, trailers: Option<HeaderMap>) -> Result<(), Broken> {
        match self.body.take() {
            Some((_, Framing::Length(1..))) => Err(Broken::Body),
            Some((_, Framing::Chunked(announced))) => {
                self.gathered.extend_from_slice(b"0\r\n");
                if let Some(mut trailers) = trailers {
                    let unwanted: Vec<HeaderName> =
                        trailers.keys().filter(|name| !announced.contains(name)).cloned().collect();
                    unwanted.iter().for_each(|name| drop(trailers.remove(name)));
                    head::write_fields(&mut self.gathered, &trailers);
                }
                self.gathered.extend_from_slice(b"\r\n");
                Ok(())
            }
            Some((_, Framing::Length(0))) | None => Ok(()),
        }
    }

    fn has_octets(&self) -> bool {
        !self.gathered.is_empty() || !self.piece.is_empty() || !self.end.is_empty()
    }

    fn write<S: AsyncWrite + Unpin>(&mut self, cx: &mut Context<'_>, stream: &mut S) -> Poll<Result<(), Broken>> {
        let parts = [&self.gathered[..], &self.piece[..], self.end].map(IoSlice::new);
        let parts = match (self.gathered.is_empty(), self.piece.is_empty() && self.end.is_empty()) {
            (_, true) => &parts[..1],
            (true, false) => &parts[1..],
            (false, false) => &parts[..],
        };
        let mut written = match ready!(write::parts(stream, cx, parts)) {
            Ok(0) | Err(_) => return Poll::Ready(Err(Broken::Off)),
            Ok(written) => written,
        };
        for part in [&mut self.gathered as &mut dyn bytes::Buf, &mut self.piece, &mut self.end] {
            let of_this = written.min(part.remaining());
            part.advance(of_this);
            written -= of_this;
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use core::convert::Infallible;
    use core::task::Waker;
    use std::collections::VecDeque;
    use std::io;

    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    /// Frames, each of which has to be waited for once, if that is so.
    #[derive(Debug)]
    struct Frames(VecDeque<(bool, Frame<Bytes>)>);

    impl Body for Frames {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.0.front_mut() {
                Some((waits @ true, _)) => {
                    *waits = false;
                    Poll::Pending
                }
                _ => Poll::Ready(self.0.pop_front().map(|(_, frame)| Ok(frame))),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_empty()
        }
    }

    /// Takes so many octets at once, and every other time none.
    struct Slow {
        most: usize,
        waits: bool,
        taken: Vec<u8>,
    }

    impl AsyncWrite for Slow {
        fn poll_write(mut self: Pin<&mut Self>, _cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
            self.waits = !self.waits;
            if self.waits {
                return Poll::Pending;
            }
            let taken = octets.len().min(self.most);
            self.taken.extend_from_slice(&octets[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            parts: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            let octets: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
            self.poll_write(cx, &octets)
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    fn sent(most: usize, pieces: &[(bool, usize)], trailers: Option<HeaderMap>, framing: Framing) -> Vec<u8> {
        let piece = |(number, (waits, length)): (usize, &(bool, usize))| {
            (*waits, Frame::data(Bytes::from(vec![b'a' + (number % 26) as u8; *length])))
        };
        let mut frames: VecDeque<_> = pieces.iter().enumerate().map(piece).collect();
        frames.extend(trailers.map(|trailers| (true, Frame::trailers(trailers))));
        let mut sender = Sender::of(b"header", Some((Frames(frames), framing)));
        let mut slow = Slow { most, waits: false, taken: Vec::new() };
        let mut cx = Context::from_waker(Waker::noop());
        while sender.poll(&mut cx, &mut slow).map(Result::unwrap).is_pending() {}
        slow.taken
    }

    fn trailers(names: &[&'static str]) -> HeaderMap {
        names.iter().map(|name| (HeaderName::from_static(name), HeaderValue::from_static("1"))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

        /// However little is taken at once, and whenever the client pauses.
        #[test]
        fn what_goes_out_is_what_was_to(
            most in prop_oneof![20_usize..60, 2040_usize..2070, 1_usize..20_000],
            pieces in prop::collection::vec((any::<bool>(), prop_oneof![1_usize..40, 2040_usize..2056, 1_usize..6_000]), 1..5),
            with_trailers in any::<bool>(),
        ) {
            let whole: usize = pieces.iter().map(|(_, length)| length).sum();
            let (mut plain, mut chunked) = (b"header".to_vec(), b"header".to_vec());
            for (number, (_, length)) in pieces.iter().enumerate() {
                let piece = vec![b'a' + (number % 26) as u8; *length];
                plain.extend_from_slice(&piece);
                chunked.extend_from_slice(&[format!("{length:x}\r\n").as_bytes(), &piece, b"\r\n"].concat());
            }
            prop_assert!(sent(most, &pieces, None, Framing::Length(whole as u64)) == plain);
            chunked.extend_from_slice(if with_trailers { b"0\r\nx-sum: 1\r\n\r\n" } else { b"0\r\n\r\n" });
            let announced = Framing::Chunked(vec![HeaderName::from_static("x-sum")]);
            let trailers = with_trailers.then(|| trailers(&["x-sum", "x-other"]));
            prop_assert!(sent(most, &pieces, trailers, announced) == chunked);
        }
    }

    #[test]
    fn a_body_of_another_length_than_announced_is_broken() {
        for (announced, pieces) in [(5, &[3_usize][..]), (5, &[3, 3]), (5, &[6]), (5, &[])] {
            let frames = pieces.iter().map(|length| (false, Frame::data(Bytes::from(vec![b'x'; *length])))).collect();
            let mut sender = Sender::of(b"", Some((Frames(frames), Framing::Length(announced))));
            let mut cx = Context::from_waker(Waker::noop());
            let mut stream = Vec::new();
            assert_eq!(sender.poll(&mut cx, &mut stream), Poll::Ready(Err(Broken::Body)), "{pieces:?}");
        }
    }
}
