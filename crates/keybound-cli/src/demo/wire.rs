//! One request as it is, whatever it says, and what its answer tells those who sent it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use keybound::challenge::{DPOP_NONCE, DpopChallenge};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::outcome::Failure;

/// How long one exchange may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024;

/// What a client sees of an answer.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) error: Option<String>,
    pub(super) reason: Option<String>,
    pub(super) nonce: Option<String>,
}

impl Answer {
    /// By its challenge; where there is none, by its body.
    pub(super) fn read(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let challenge = DpopChallenge::find(headers);
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let member = |name: &str| body.get(name).and_then(Value::as_str).map(str::to_owned);
        let of_challenge = |value: Option<&str>| value.map(str::to_owned);
        let error = challenge.as_ref().and_then(|challenge| of_challenge(challenge.error_text()));
        let reason = challenge.as_ref().and_then(|challenge| of_challenge(challenge.error_description()));
        let refused = !status.is_success();
        Self {
            status: status.as_u16(),
            error: error.or_else(|| member("error")).filter(|_| refused),
            reason: reason.or_else(|| member("reason")).filter(|_| refused),
            nonce: headers.get(&DPOP_NONCE).and_then(|nonce| nonce.to_str().ok()).map(str::to_owned),
        }
    }
}

/// Sends `request` on a connection of its own, and reads the answer.
pub(super) async fn send(address: SocketAddr, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let (status, headers, body) = exchange(address, request).await?;
    Ok(Answer::read(status, &headers, &body))
}

/// The same, with the answer as it came.
pub(super) async fn exchange(
    address: SocketAddr,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, Bytes), Failure> {
    let failed = |why: &dyn std::fmt::Display| Failure::failed(format!("{address}: {why}"));
    let exchange = async {
        let stream = TcpStream::connect(address).await.map_err(|why| failed(&why))?;
        let (mut sender, connection) = handshake(TokioIo::new(stream)).await.map_err(|why| failed(&why))?;
        // It ends with the exchange; what goes wrong on it the exchange says.
        tokio::spawn(async move { drop(connection.await) });
        let response = sender.send_request(request).await.map_err(|why| failed(&why))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|why| failed(&why))?;
        Ok((head.status, head.headers, body.to_bytes()))
    };
    let late = |_| failed(&format_args!("no answer within {} s", PATIENCE.as_secs()));
    tokio::time::timeout(PATIENCE, exchange).await.map_err(late)?
}
