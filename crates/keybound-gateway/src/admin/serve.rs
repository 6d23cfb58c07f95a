//! Connections of the admin listener: few, short, and slow ones given up.

use core::convert::Infallible;
use core::net::IpAddr;
use core::pin::pin;
use core::time::Duration;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::SystemTime;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use keybound_issuer::Connection;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use super::answer::Answer;
use super::{Shown, routes};
use crate::health;
use crate::nonce_ring::Watched;

/// So many connections at once; others are closed.
const MOST_CONNECTIONS: usize = 64;

/// For a header to come, on a connection at rest too.
const HEADER: Duration = Duration::from_secs(15);

/// After so long a connection is closed behind the answer it is at, and soon after that whatever it is at.
const LIFE: Duration = Duration::from_secs(120);
const GRACE: Duration = Duration::from_secs(10);

/// Request line and header fields.
const MOST_HEADER: usize = 16 << 10;

/// When the system has no more descriptors to give, trying again at once would only burn time.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

/// What is shown at an admin listener.
pub(super) trait Exhibit: Send + Sync + 'static {
    /// The answer to a request on a connection to this address.
    fn answer(&self, request: Request<Incoming>, local: IpAddr) -> impl Future<Output = Answer> + Send;

    /// What is to be done meanwhile.
    fn meanwhile(self: Arc<Self>) -> impl Future<Output = ()> + Send;
}

impl Exhibit for Shown {
    async fn answer(&self, request: Request<Incoming>, local: IpAddr) -> Answer {
        routes::answer(request, local, self).await
    }

    async fn meanwhile(self: Arc<Self>) {
        let tending = tend(Arc::clone(&self));
        let live = Arc::clone(&self.live);
        let remembering = tend_replays(Arc::clone(&self));
        tokio::join!(tending, remembering, health::look_after(&live));
    }
}

/// Answers until `ended`.
pub(super) async fn until(mut ended: oneshot::Receiver<()>, listener: TcpListener, shown: Arc<impl Exhibit>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the admin listener cannot be used"),
    };
    let meanwhile = tokio::spawn(Arc::clone(&shown).meanwhile());
    let room = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            _ = &mut ended => break,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(NO_DESCRIPTOR).await;
            continue;
        };
        let Ok(permit) = Arc::clone(&room).try_acquire_owned() else { continue };
        let shown = Arc::clone(&shown);
        tokio::spawn(async move {
            connection(stream, &*shown).await;
            drop(permit);
        });
    }
    meanwhile.abort();
}

async fn connection(stream: TcpStream, shown: &impl Exhibit) {
    let (Ok(listener), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) else { return };
    let local: IpAddr = listener.ip().to_canonical();
    let service = service_fn(async |mut request: Request<Incoming>| {
        request.extensions_mut().insert(Connection::new(listener, peer));
        Ok::<_, Infallible>(shown.answer(request, local).await)
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEADER).max_buf_size(MOST_HEADER);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(stream), service));
    // What goes wrong on a connection is the client's to know.
    if timeout(LIFE, connection.as_mut()).await.is_err() {
        connection.as_mut().graceful_shutdown();
        let _ = timeout(GRACE, connection).await;
    }
}

/// What is looked after while nobody asks: keys that are missing or get old.
async fn tend(shown: Arc<Shown>) {
    const WHILE_MISSING: Duration = Duration::from_millis(500);
    const USUALLY: Duration = Duration::from_secs(15);
    loop {
        let engine = shown.engine();
        engine.server.prefetch();
        let complete = engine.server.key_states().iter().all(|state| state.usable);
        drop(engine);
        sleep(if complete { USUALLY } else { WHILE_MISSING }).await;
    }
}

/// The same for the memory of used proofs, what has expired and whether it is back, and for the nonce ring.
async fn tend_replays(shown: Arc<Shown>) {
    const OFTEN: Duration = Duration::from_secs(1);
    let mut ring = Watched::default();
    loop {
        let engine = shown.engine();
        engine.look_at_ring(&mut ring);
        engine.replays().tend(SystemTime::now().into()).await;
        drop(engine);
        sleep(OFTEN).await;
    }
}
