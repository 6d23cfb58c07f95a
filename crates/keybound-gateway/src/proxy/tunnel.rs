//! After a WebSocket was opened: octets both ways until one side has ended, or both have been silent for too long.

use core::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;
use tokio::time::{Instant, sleep_until};

use super::{Lease, fields};
use crate::body::Body;
use crate::front::Peer;

/// The client's connection, once the tunnel is open.
pub(crate) fn client_side(head: &mut Parts) -> OnUpgrade {
    let mut request = Request::new(());
    core::mem::swap(request.extensions_mut(), &mut head.extensions);
    let client_side = hyper::upgrade::on(&mut request);
    core::mem::swap(request.extensions_mut(), &mut head.extensions);
    client_side
}

/// The answer that opens the tunnel, which lasts on its own from there.
pub(crate) fn open(
    mut response: Response<Incoming>,
    lease: Lease,
    client: OnUpgrade,
    peer: &Peer,
    silence: Duration,
) -> Response<Body> {
    lease.tunnelled();
    let upstream = hyper::upgrade::on(&mut response);
    let held = peer.clone();
    held.becomes_tunnel();
    tokio::task::spawn_local(async move {
        if let (Ok(client), Ok(upstream)) = (client.await, upstream.await) {
            let (mut client, mut upstream) = (TokioIo::new(client), TokioIo::new(upstream));
            tokio::select! {
                // That one side broke off ends the tunnel like an orderly end: there is nobody to be told.
                _ = copy_bidirectional(&mut client, &mut upstream) => {}
                () = silent(&held, silence) => {}
            }
        }
        drop(held);
    });
    let (mut head, _) = response.into_parts();
    fields::back(&mut head.headers);
    let mut opening = Response::new(Body::empty());
    *opening.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *opening.headers_mut() = head.headers;
    opening.headers_mut().insert(CONNECTION, HeaderValue::from_static("upgrade"));
    opening.headers_mut().insert(UPGRADE, HeaderValue::from_static("websocket"));
    opening
}

/// Returns when nothing has passed for this long.
async fn silent(peer: &Peer, most: Duration) {
    loop {
        let due = peer.shared().since() + most;
        if due <= Instant::now() {
            return;
        }
        sleep_until(due).await;
    }
}
