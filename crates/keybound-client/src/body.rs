//! Bodies of requests: octets, which can be sent again, and streams, which cannot (R-CLI-17).

use std::error::Error as StdError;
use std::fmt;

use bytes::Bytes;
use keybound::client::Replay;

/// The body of a request.
pub struct Body(Kind);

enum Kind {
    Octets(Bytes),
    /// `None` once it was sent.
    Stream(Option<reqwest::Body>),
}

impl Body {
    /// A body that is sent as it is produced, and once only: when the server demands a nonce, the request fails with
    /// [`Error::Refused`](crate::Error::Refused) and is the caller's to repeat.
    pub fn stream<B>(body: B) -> Self
    where
        B: http_body::Body<Data = Bytes> + Send + Sync + 'static,
        B::Error: Into<Box<dyn StdError + Send + Sync>>,
    {
        Self(Kind::Stream(Some(reqwest::Body::wrap(body))))
    }

    pub(crate) const fn empty() -> Self {
        Self(Kind::Octets(Bytes::new()))
    }

    /// Whether it can be sent again.
    pub(crate) const fn replay(&self) -> Replay {
        match self.0 {
            Kind::Octets(_) => Replay::Possible,
            Kind::Stream(_) => Replay::Impossible,
        }
    }

    /// What to send; `None` if it was a stream and is gone.
    pub(crate) fn emit(&mut self) -> Option<reqwest::Body> {
        match &mut self.0 {
            Kind::Octets(octets) => Some(octets.clone().into()),
            Kind::Stream(stream) => stream.take(),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(octets: T) -> Self {
        Self(Kind::Octets(octets.into()))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            Kind::Octets(_) => "Body(octets)",
            Kind::Stream(_) => "Body(stream)",
        })
    }
}
