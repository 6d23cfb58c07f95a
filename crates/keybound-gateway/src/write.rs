//! Writes of several parts. The system takes one part for less than several, so small ones are put together first.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};

use tokio::io::AsyncWrite;

/// Up to here copying costs less than what the system does more for several parts.
const SMALL: usize = 2048;

/// Writes these parts, or the first of them, in one call.
pub(crate) fn parts(
    stream: &mut (impl AsyncWrite + Unpin),
    cx: &mut Context<'_>,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    if let [part] = parts {
        return stream.poll_write(cx, part);
    }
    let mut small = [0; SMALL];
    let mut filled = 0;
    for part in parts {
        match small.get_mut(filled..filled + part.len()) {
            Some(room) => room.copy_from_slice(part),
            None => return stream.poll_write_vectored(cx, parts),
        }
        filled += part.len();
    }
    stream.poll_write(cx, &small[..filled])
}

#[cfg(test)]
mod tests {
    use core::task::Waker;

    use super::*;

    #[test]
    fn everything_is_written_in_its_order() {
        for lengths in [&[][..], &[5], &[3, 0, 4], &[2000, 48], &[2000, 49], &[5000, 1, 7]] {
            let octets: Vec<Vec<u8>> = (b'a'..).zip(lengths).map(|(octet, length)| vec![octet; *length]).collect();
            let slices: Vec<IoSlice<'_>> = octets.iter().map(|part| IoSlice::new(part)).collect();
            let mut written = Vec::new();
            let poll = parts(&mut written, &mut Context::from_waker(Waker::noop()), &slices);
            assert!(
                matches!(poll, Poll::Ready(Ok(length)) if length == octets.concat().len()),
                "{lengths:?}: {poll:?}"
            );
            assert_eq!(written, octets.concat());
        }
    }
}
