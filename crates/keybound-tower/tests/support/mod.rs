//! What the tests of the layer share: a clock turned by hand, a request with one thing wrong, and a client over real sockets.
#![expect(dead_code, reason = "each test uses its part of it")]

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use keybound::time::UnixTime;
use keybound_tower::Clock;

/// When the tests play.
pub(crate) const START: UnixTime = UnixTime::from_secs(1_700_000_000);

/// A clock that is turned by hand.
#[derive(Debug, Default)]
pub(crate) struct HandClock(AtomicU64);

impl HandClock {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    pub(crate) fn turn(&self, seconds: u64) {
        self.0.fetch_add(seconds, Ordering::Relaxed);
    }
}

impl Clock for HandClock {
    fn now(&self) -> UnixTime {
        START.plus(self.uptime())
    }

    fn uptime(&self) -> Duration {
        Duration::from_secs(self.0.load(Ordering::Relaxed))
    }
}

/// An answer, its body read to the end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) async fn read<B>(response: http::Response<B>) -> Self
    where
        B: http_body::Body<Data = Bytes>,
        B::Error: core::fmt::Debug,
    {
        let (parts, body) = response.into_parts();
        let octets = body.collect().await.unwrap().to_bytes();
        Self { status: parts.status, headers: parts.headers, body: String::from_utf8(octets.into()).unwrap() }
    }

    /// Every line of this field.
    pub(crate) fn lines(&self, name: &str) -> Vec<&str> {
        let lines = self.headers.get_all(name).iter();
        lines.map(|line| line.to_str().unwrap()).collect()
    }

    /// The one line of this field.
    pub(crate) fn line(&self, name: &str) -> &str {
        let lines = self.lines(name);
        assert_eq!(lines.len(), 1, "{name}: {lines:?}");
        lines[0]
    }

    /// The reason code in the body of a refusal; empty if the request got through.
    pub(crate) fn reason(&self) -> &str {
        let (_, rest) = self.body.split_once(r#""reason":""#).unwrap_or_default();
        rest.split('"').next().unwrap_or_default()
    }
}

/// Sends a request without a body over a socket.
pub(crate) async fn send(method: Method, url: &str, fields: &[(&'static str, &str)]) -> Answer {
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in fields {
        request = request.header(*name, HeaderValue::from_str(value).unwrap());
    }
    let client = Client::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let response = client.request(request.body(Empty::new()).unwrap()).await.unwrap();
    Answer::read(response).await
}
