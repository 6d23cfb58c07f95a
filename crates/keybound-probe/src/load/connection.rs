//! One connection to the server: kept alive, one request after the other.

use std::io;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;

use super::target::Target;

/// A connection, and the task that moves its octets.
#[derive(Debug)]
pub(crate) struct Connection {
    sender: SendRequest<Full<Bytes>>,
    task: AbortHandle,
}

/// Why there is no response.
pub(crate) enum Unanswered {
    /// Nothing of the request went out; here it is back.
    Unsent(Box<Request<Full<Bytes>>>),
    Failed,
}

impl Connection {
    pub(crate) async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(&*target.addresses).await?;
        stream.set_nodelay(true)?;
        match &target.tls {
            None => Self::over(TokioIo::new(stream)).await,
            Some(tls) => Self::over(TokioIo::new(tls.connector.connect(tls.name.clone(), stream).await?)).await,
        }
    }

    async fn over(io: impl Read + Write + Unpin + 'static) -> io::Result<Self> {
        let (sender, connection) = http1::handshake(io).await.map_err(io::Error::other)?;
        let task = tokio::task::spawn_local(async move {
            // What goes wrong on it is told to whoever waits for a response on it.
            let _ = connection.await;
        });
        Ok(Self { sender, task: task.abort_handle() })
    }

    /// Returns when the next request can be sent, or `false` if there can be none.
    pub(crate) async fn is_ready(&mut self) -> bool {
        self.sender.ready().await.is_ok()
    }

    pub(crate) async fn send(&mut self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Unanswered> {
        self.sender.try_send_request(request).await.map_err(|mut error| match error.take_message() {
            Some(request) => Unanswered::Unsent(Box::new(request)),
            None => Unanswered::Failed,
        })
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
