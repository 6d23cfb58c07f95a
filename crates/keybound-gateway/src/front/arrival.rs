//! From a connection that was taken to one that can be served: whose it is, if a proxy has to say so, and TLS.

use core::future::Future;
use core::net::SocketAddr;
use core::time::Duration;
use std::io;
use std::rc::Rc;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use super::connection::{Draining, Shop, in_turn, serve};
use super::guard::Shared;
use super::peer::Counted;
use super::proxy_header::{self, Origin};
use super::worker::Settings;
use super::{Handler, multiplexed};

/// A connection that was taken.
pub(crate) struct Arrival {
    pub(crate) stream: TcpStream,
    pub(crate) address: SocketAddr,
    pub(crate) counted: Counted,
    /// There are too many.
    pub(crate) overload: bool,
}

impl Arrival {
    /// What is served at once needs no more room than that takes; what comes in steps is put together elsewhere.
    pub(crate) fn start<H: Handler>(self, settings: &Arc<Settings>, shop: &Rc<Shop<H>>) {
        let (settings, shop) = (Arc::clone(settings), Rc::clone(shop));
        if settings.announces(self.address.ip()) || settings.acceptor.is_some() {
            tokio::task::spawn_local(Box::pin(self.shake_hands(settings, shop)));
            return;
        }
        let shared = Arc::new(Shared::new());
        let (peer, turned_away) = settings.judge(self.address, false, &shared, self.counted, self.overload);
        tokio::task::spawn_local(serve(shop, settings.guard(self.stream, shared), peer, turned_away));
    }

    async fn shake_hands<H: Handler>(mut self, settings: Arc<Settings>, shop: Rc<Shop<H>>) {
        let patience = shop.limits.handshake_timeout;
        let mut client = self.address;
        let mut by_tls = false;
        if settings.announces(self.address.ip()) {
            match in_time(proxy_header::read(&mut self.stream), patience, &shop.draining).await {
                Ok(Origin::Proxy) => {}
                Ok(Origin::Client { address, tls }) => (client, by_tls) = (address, tls),
                Err(error) => {
                    let peer = self.address.ip();
                    return tracing::debug!(%peer, %error, "connection closed: its PROXY header did not come");
                }
            }
        }
        let Some(acceptor) = &settings.acceptor else {
            let shared = Arc::new(Shared::new());
            let (peer, turned_away) = settings.judge(client, by_tls, &shared, self.counted, self.overload);
            return serve(shop, settings.guard(self.stream, shared), peer, turned_away).await;
        };
        let stream = match in_time(accept(acceptor, self.stream), patience, &shop.draining).await {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(peer = %client.ip(), %error, "no TLS handshake"),
        };
        let http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let shared = Arc::new(Shared::new());
        let (peer, turned_away) = settings.judge(client, true, &shared, self.counted, self.overload);
        let guard = settings.guard(stream, shared);
        if http2 {
            Box::pin(multiplexed::serve(shop, guard, peer, turned_away)).await;
        } else {
            Box::pin(in_turn(shop, guard, peer, turned_away)).await;
        }
    }
}

async fn accept(
    acceptor: &TlsAcceptor,
    stream: TcpStream,
) -> io::Result<Box<tokio_rustls::server::TlsStream<TcpStream>>> {
    acceptor.accept(stream).await.map(Box::new)
}

/// A handshake that is not finished is no request to wait for.
async fn in_time<T>(
    step: impl Future<Output = io::Result<T>>,
    patience: Duration,
    draining: &Draining,
) -> io::Result<T> {
    tokio::select! {
        biased;
        () = draining.farewell() => Err(io::ErrorKind::Interrupted.into()),
        done = timeout(patience, step) => done.unwrap_or_else(|_elapsed| Err(io::ErrorKind::TimedOut.into())),
    }
}
