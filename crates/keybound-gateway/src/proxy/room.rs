//! How many connections to upstreams there may be at once in this process. A client asks for many things at once on one
//! connection of HTTP/2, so that a few clients and a slow upstream would take every descriptor there is.

use core::pin::Pin;
use core::task::{Context, Poll};
use std::io::{self, IoSlice};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Room for so many. Clones are the same room, which the workers share.
#[derive(Clone, Debug)]
pub(crate) struct Room(Arc<Places>);

#[derive(Debug)]
struct Places {
    most: usize,
    taken: AtomicUsize,
}

impl Room {
    pub(crate) fn of(most: usize) -> Self {
        Self(Arc::new(Places { most, taken: AtomicUsize::new(0) }))
    }

    /// Nothing, if there are as many as there may be.
    pub(crate) fn place(&self) -> Option<Place> {
        let more = |taken: usize| (taken < self.0.most).then_some(taken + 1);
        let taken = self.0.taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        taken.is_ok().then(|| Place(self.clone()))
    }

    /// Whether there is so little left that none should rest: who needs it may be another worker.
    pub(crate) fn is_scarce(&self) -> bool {
        self.0.taken.load(Ordering::Relaxed) > self.0.most / 4 * 3
    }
}

/// Of one connection, which is counted until this is dropped.
#[derive(Debug)]
pub(crate) struct Place(Room);

impl Drop for Place {
    fn drop(&mut self) {
        self.0.0.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A connection that keeps its place as long as its descriptor, whoever has it: a task, a tunnel.
#[derive(Debug)]
pub(crate) struct Placed<S> {
    stream: S,
    _place: Place,
}

impl<S> Placed<S> {
    pub(crate) const fn new(stream: S, place: Place) -> Self {
        Self { stream, _place: place }
    }

    pub(crate) const fn stream(&mut self) -> &mut S {
        &mut self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Placed<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Placed<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, parts)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_it_is_left() {
        let room = Room::of(4);
        let mut places: Vec<Place> = (0..4).map(|_| room.place().unwrap()).collect();
        assert!(room.place().is_none() && room.clone().place().is_none() && room.is_scarce());
        places.pop();
        assert!(!room.is_scarce());
        assert!(room.place().is_some());
        let _kept = Placed::new(tokio::io::empty(), room.place().unwrap());
        assert!(room.place().is_none());
    }
}
