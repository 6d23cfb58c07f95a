//! One request on a connection of its own, and what comes back.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// What a gateway answered; the status is 0 if it did not.
#[derive(Debug, Default)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) nonce: Option<String>,
    pub(crate) text: String,
}

/// Sends a request that asks for the connection to be closed.
pub(crate) fn exchange(address: SocketAddr, octets: &str) -> Option<Answer> {
    exchange_within(address, octets, Duration::from_secs(5))
}

/// The same with this patience for each part of the answer.
pub(crate) fn exchange_within(address: SocketAddr, octets: &str, patience: Duration) -> Option<Answer> {
    let mut connection = TcpStream::connect_timeout(&address, patience.min(Duration::from_secs(1))).ok()?;
    connection.set_read_timeout(Some(patience)).ok()?;
    connection.write_all(octets.as_bytes()).ok()?;
    let mut text = String::new();
    connection.read_to_string(&mut text).ok()?;
    let status = text.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()?;
    let nonce = text.lines().find_map(|line| line.strip_prefix("dpop-nonce: ")).map(str::to_owned);
    Some(Answer { status, nonce, text })
}
