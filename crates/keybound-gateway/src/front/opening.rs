//! The first octets of a plain connection, which tell whether it is HTTP/2.

use core::pin::Pin;
use core::task::{Context, Poll, ready};
use std::io;

use tokio::io::{AsyncRead, ReadBuf};

/// RFC 9113 section 3.4.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What was read ahead, to be given to whoever reads next.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    octets: [u8; PREFACE.len()],
    filled: usize,
    given: usize,
}

impl Opening {
    /// Reads until it can be told: at the first octet that differs, or at the last that could have.
    pub(crate) fn poll<S: AsyncRead>(
        &mut self,
        mut stream: Pin<&mut S>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        loop {
            let seen = &self.octets[..self.filled];
            if !PREFACE.starts_with(seen) {
                return Poll::Ready(Ok(false));
            }
            if self.filled == PREFACE.len() {
                return Poll::Ready(Ok(true));
            }
            let mut rest = ReadBuf::new(&mut self.octets[self.filled..]);
            ready!(stream.as_mut().poll_read(cx, &mut rest))?;
            match rest.filled().len() {
                0 => return Poll::Ready(Ok(false)),
                length => self.filled += length,
            }
        }
    }

    /// Gives out what has not been given yet, as far as there is room.
    pub(crate) fn give(&mut self, buffer: &mut ReadBuf<'_>) {
        let left = &self.octets[self.given..self.filled];
        let taken = left.len().min(buffer.remaining());
        buffer.put_slice(&left[..taken]);
        self.given += taken;
    }
}
