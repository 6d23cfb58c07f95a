//! What goes out of a request: its header and its body, framed (RFC 9112 sections 6 and 7).

use core::fmt::Write as _;
use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io::IoSlice;

use bytes::{Buf as _, Bytes, BytesMut};
use http::HeaderMap;
use http::header::HeaderName;
use http_body::{Body as _, Frame};
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
pub(super) struct Sender {
    /// What is to be written, in its order.
    gathered: BytesMut,
    piece: Bytes,
    end: &'static [u8],
    /// What is still to come of the body.
    body: Option<(RequestBody, Framing)>,
}

impl Sender {
    /// Of a header, and of the body behind it.
    pub(super) fn of(header: &[u8], body: Option<(RequestBody, Framing)>) -> Self {
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
        while self.piece.is_empty() && self.gathered.len() < GATHERED {
            let Some((body, _)) = &mut self.body else { break };
            match Pin::new(body).poll_frame(cx) {
                Poll::Pending => return Ok(Poll::Pending),
                Poll::Ready(None) => self.end(None)?,
                Poll::Ready(Some(Err(_problem))) => return Err(Broken::Body),
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
