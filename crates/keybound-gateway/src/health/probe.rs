//! One question to an upstream, on a connection of its own: that it can be connected to is part of the answer.

use core::error::Error;
use core::future::Future;
use core::pin::pin;
use std::io;

use bytes::Bytes;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http::{Request, StatusCode, Uri, Version};
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::time::timeout;

use crate::config::{HealthCheck, HttpVersion, UpstreamUrl};
use crate::proxy::{Dialled, Octets, dial};

/// What the upstream sees of us.
const NAME: &str = concat!("keybound-health/", env!("CARGO_PKG_VERSION"));

/// Status line and fields of an answer.
const MOST_HEADER: usize = 64 << 10;

/// Whether all is well there, or what is wrong.
pub(super) async fn ask(url: &UpstreamUrl, check: &HealthCheck) -> Result<(), String> {
    match timeout(check.timeout, exchange(url, check)).await {
        Ok(Ok(status)) if status.is_success() || status.is_redirection() => Ok(()),
        Ok(Ok(status)) => Err(format!("answered {}", status.as_u16())),
        Ok(Err(error)) => Err(in_words(&error)),
        Err(_) => Err(format!("no answer within {:?}", check.timeout)),
    }
}

async fn exchange(url: &UpstreamUrl, check: &HealthCheck) -> io::Result<StatusCode> {
    let question = question(url, check).map_err(io::Error::other)?;
    let status = match (url.version(), dial(url).await?) {
        (HttpVersion::Http1, Dialled::Plain(octets)) => over_http1(octets, question).await,
        (HttpVersion::Http1, Dialled::Tls(octets)) => over_http1(octets, question).await,
        (HttpVersion::Http2, Dialled::Plain(octets)) => over_http2(octets, question).await,
        (HttpVersion::Http2, Dialled::Tls(octets)) => over_http2(octets, question).await,
    };
    status.map_err(io::Error::other)
}

fn question(url: &UpstreamUrl, check: &HealthCheck) -> Result<Request<Empty<Bytes>>, http::Error> {
    let question = Request::get(check.path.as_str()).header(USER_AGENT, NAME);
    match url.version() {
        HttpVersion::Http1 => question.header(HOST, url.authority()).header(CONNECTION, "close"),
        HttpVersion::Http2 => {
            let target = Uri::builder().scheme(url.scheme()).authority(url.authority());
            question.uri(target.path_and_query(check.path.clone()).build()?).version(Version::HTTP_2)
        }
    }
    .body(Empty::new())
}

async fn over_http1<T: Octets>(octets: T, question: Request<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let mut builder = http1::Builder::new();
    builder.max_buf_size(MOST_HEADER);
    let (mut sender, connection) = builder.handshake(TokioIo::new(octets)).await?;
    status(sender.send_request(question), connection).await
}

async fn over_http2<T: Octets>(octets: T, question: Request<Empty<Bytes>>) -> hyper::Result<StatusCode> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new()).max_header_list_size(u32::try_from(MOST_HEADER).unwrap_or(u32::MAX));
    let (mut sender, connection) = builder.handshake(TokioIo::new(octets)).await?;
    status(sender.send_request(question), connection).await
}

/// The answer's, for which the connection has to be driven; its body is nobody's concern.
async fn status(
    answer: impl Future<Output = hyper::Result<http::Response<Incoming>>>,
    connection: impl Future,
) -> hyper::Result<StatusCode> {
    let mut answer = pin!(answer);
    let answered = tokio::select! {
        biased;
        answered = &mut answer => answered,
        _ = connection => answer.await,
    };
    answered.map(|response| response.status())
}

/// The error with its causes, which say more.
fn in_words(error: &io::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(present) = cause {
        let more = present.to_string();
        if !words.ends_with(&more) {
            words = format!("{words}: {more}");
        }
        cause = present.source();
    }
    words
}
