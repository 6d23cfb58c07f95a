//! The body of an answer: that of the service behind, or the few octets of ours.

use core::fmt;
use core::pin::Pin;
use core::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

pin_project! {
    /// The body of an answer that came through a [`ProtectLayer`](crate::ProtectLayer).
    pub struct ProtectBody<B> {
        #[pin]
        kind: Kind<B>,
    }
}

pin_project! {
    #[project = KindProj]
    enum Kind<B> {
        Inner { #[pin] body: B },
        Own { octets: Option<Bytes> },
    }
}

impl<B> ProtectBody<B> {
    pub(super) const fn inner(body: B) -> Self {
        Self {
            kind: Kind::Inner { body },
        }
    }

    pub(super) fn own(text: String) -> Self {
        let octets = (!text.is_empty()).then(|| text.into());
        Self {
            kind: Kind::Own { octets },
        }
    }
}

impl<B: Body<Data = Bytes>> Body for ProtectBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        match self.project().kind.project() {
            KindProj::Inner { body } => body.poll_frame(cx),
            KindProj::Own { octets } => Poll::Ready(octets.take().map(|octets| Ok(Frame::data(octets)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            Kind::Inner { body } => body.is_end_stream(),
            Kind::Own { octets } => octets.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            Kind::Inner { body } => body.size_hint(),
            Kind::Own { octets } => SizeHint::with_exact(
                octets
                    .as_ref()
                    .map_or(0, |octets| u64::try_from(octets.len()).unwrap_or(u64::MAX)),
            ),
        }
    }
}

impl<B> fmt::Debug for ProtectBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.kind {
            Kind::Inner { .. } => "ProtectBody::Inner(..)",
            Kind::Own { .. } => "ProtectBody::Own(..)",
        })
    }
}
