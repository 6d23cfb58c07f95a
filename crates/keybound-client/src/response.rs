//! Responses, whose bodies are read piece by piece.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use reqwest::Url;

use crate::error::Error;
use crate::transport::{Limits, Target, network, within};

/// The answer to a request; the last one, if there were retries or redirects.
pub struct Response {
    inner: reqwest::Response,
    target: Target,
    tries: u32,
    limits: Limits,
}

impl Response {
    pub(crate) const fn new(inner: reqwest::Response, target: Target, tries: u32, limits: Limits) -> Self {
        Self { inner, target, tries, limits }
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.inner.status()
    }

    /// The version of HTTP it came by.
    pub fn version(&self) -> Version {
        self.inner.version()
    }

    /// The fields.
    pub fn headers(&self) -> &HeaderMap {
        self.inner.headers()
    }

    /// Who answered: another URL than the one asked for, if there was a redirect.
    pub const fn url(&self) -> &Url {
        self.target.url()
    }

    /// The server that answered.
    pub(crate) fn origin(&self) -> &str {
        self.target.uri().origin()
    }

    /// How many requests it took, retries and redirects included.
    pub const fn tries(&self) -> u32 {
        self.tries
    }

    /// The next piece of the body, `None` at its end.
    ///
    /// # Errors
    ///
    /// [`Error::Network`], and [`Error::Timeout`] if the server falls silent.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Error> {
        within(self.limits.answer, self.target.uri().origin(), self.inner.chunk()).await
    }

    /// What is left of the body, at most `limit` octets.
    ///
    /// # Errors
    ///
    /// [`Error::TooLarge`], and those of [`Response::chunk`].
    pub async fn bytes(mut self, limit: usize) -> Result<Vec<u8>, Error> {
        let mut octets = Vec::new();
        while let Some(chunk) = self.chunk().await? {
            if octets.len() + chunk.len() > limit {
                let server = self.target.uri().origin().into();
                return Err(Error::TooLarge { server, limit });
            }
            octets.extend_from_slice(&chunk);
        }
        Ok(octets)
    }
}

impl From<Response> for http::Response<ResponseBody> {
    /// For handing the response on as it comes, trailers included. From here on it may fall silent for as long as it likes.
    fn from(response: Response) -> Self {
        let server = response.target.uri().origin().into();
        let answer: http::Response<reqwest::Body> = response.inner.into();
        answer.map(|inner| ResponseBody { inner, server })
    }
}

/// The body of a response that is handed on.
pub struct ResponseBody {
    inner: reqwest::Body,
    server: Box<str>,
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.inner).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map_err(|source| network(&self.server, source))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseBody").field("server", &self.server).finish_non_exhaustive()
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("status", &self.status())
            .field("from", self.target.uri())
            .field("tries", &self.tries)
            .finish_non_exhaustive()
    }
}
