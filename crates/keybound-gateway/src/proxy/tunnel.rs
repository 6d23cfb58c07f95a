//! After a WebSocket was opened: octets both ways until one side has ended, or both have been silent for too long.

use core::time::Duration;

use http::header::{CONNECTION, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{Request, Response, StatusCode};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt as _, copy_bidirectional};
use tokio::time::{Instant, sleep_until};

use super::{Lease, Received, fields};
use crate::answer::Problem;
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
    response: Response<Received>,
    lease: Lease,
    client: OnUpgrade,
    peer: &Peer,
    silence: Duration,
) -> Response<Body> {
    let (mut head, received) = response.into_parts();
    let (Some(mut upstream), Received::Switched(first)) = (lease.into_stream(), received) else {
        return Problem::UpstreamInvalid.answer();
    };
    let held = peer.clone();
    held.becomes_tunnel();
    tokio::task::spawn_local(async move {
        if let Ok(client) = client.await {
            let mut client = TokioIo::new(client);
            let flow = async {
                client.write_all(&first).await?;
                client.flush().await?;
                copy_bidirectional(&mut client, &mut upstream).await
            };
            tokio::select! {
                // That one side broke off ends the tunnel like an orderly end: there is nobody to be told.
                _ = flow => {}
                () = silent(&held, silence) => {}
            }
        }
        drop(held);
    });
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
