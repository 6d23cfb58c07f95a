//! After a WebSocket was opened: octets both ways until one side has ended, or both are silent for too long.

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::{Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::copy_bidirectional;

use super::{Lease, fields};
use crate::body::Body;
use crate::front::Peer;

/// The answer that opens the tunnel; it lasts on its own from there. The client's connection watches over the silence.
pub(crate) fn open(mut response: Response<Incoming>, lease: Lease, client: OnUpgrade, peer: &Peer) -> Response<Body> {
    lease.discard();
    let upstream = hyper::upgrade::on(&mut response);
    let held = peer.clone();
    held.becomes_tunnel();
    tokio::task::spawn_local(async move {
        if let (Ok(client), Ok(upstream)) = (client.await, upstream.await) {
            // That one side broke off ends the tunnel like an orderly end: there is nobody to be told.
            let _ = copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(upstream)).await;
        }
        drop(held);
    });
    let (mut head, _) = response.into_parts();
    fields::back(&mut head.headers);
    let mut opening = Response::new(Body::empty());
    *opening.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *opening.headers_mut() = head.headers;
    opening
        .headers_mut()
        .insert(CONNECTION, HeaderValue::from_static("upgrade"));
    opening
        .headers_mut()
        .insert(UPGRADE, HeaderValue::from_static("websocket"));
    opening
}
