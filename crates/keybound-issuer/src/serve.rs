//! The issuer alone on a listener: plain HTTP/1.1 on loopback, bounded in connections, time and header size.

use core::future::Future;
use core::time::Duration;
use std::io;
use std::sync::Arc;

use axum::Extension;
use axum::response::Response;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{Connection, Issuer, answer};

/// Connections at once; more wait in the listener's queue.
const MAX_CONNECTIONS: usize = 1024;

/// How long a client may take for the header section, and a connection may idle.
const HEADER_TIME: Duration = Duration::from_secs(10);

/// A proof is at most 8 KiB, credentials in `Authorization` about as much.
const MAX_HEADER: usize = 32 * 1024;

/// How long connections may take to finish after the end was asked for.
const DRAIN_TIME: Duration = Duration::from_secs(10);

/// What to wait after the system refused a connection, for want of file descriptors for example.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

impl Issuer {
    /// Serves the issuer and nothing else until `end`, then lets running requests finish.
    ///
    /// This listener speaks no TLS, so it must be on loopback. Elsewhere, mount [`Issuer::router`] in a server with TLS.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::InvalidInput`] for a listener beyond loopback (R-SEC-01), or why the listener has no address.
    pub async fn serve(&self, listener: TcpListener, end: impl Future<Output = ()>) -> io::Result<()> {
        if !listener.local_addr()?.ip().is_loopback() {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "plain http is for loopback only: put the issuer behind a listener with TLS",
            ));
        }
        let app = self.router().fallback(not_found);
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let graceful = GracefulShutdown::new();
        let mut end = std::pin::pin!(end);
        loop {
            let (stream, permit) = tokio::select! {
                () = &mut end => break,
                accepted = accept(&listener, &room) => accepted,
            };
            let service = match (listener.local_addr(), stream.peer_addr()) {
                (Ok(here), Ok(peer)) => app.clone().layer(Extension(Connection::new(here, peer))),
                _ => app.clone(),
            };
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADER_TIME)
                .max_buf_size(MAX_HEADER)
                .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
            let connection = graceful.watch(connection);
            tokio::spawn(async move {
                // The client went away or spoke no HTTP: hyper has answered what can be answered.
                let _ = connection.await;
                drop(permit);
            });
        }
        drop(listener);
        let _ = tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await;
        Ok(())
    }
}

async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> (TcpStream, OwnedSemaphorePermit) {
    let permit = Arc::clone(room).acquire_owned().await.expect("nobody closes the semaphore");
    loop {
        match listener.accept().await {
            Ok((stream, _)) => return (stream, permit),
            Err(error) => {
                tracing::warn!(%error, "no connection could be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn not_found() -> Response {
    answer::not_found()
}
