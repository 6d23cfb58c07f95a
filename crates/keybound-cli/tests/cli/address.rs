//! Addresses that must be known before there is a listener.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU16, Ordering};

/// An address nobody listens at. Where all of 127/8 is this machine, its host is of its own too, so that nobody gets the port
/// meanwhile who asks for any.
pub(crate) fn free_address() -> SocketAddr {
    static GIVEN: AtomicU16 = AtomicU16::new(1);
    let [high, low] = GIVEN.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    let [.., process] = std::process::id().to_be_bytes();
    let host = if cfg!(target_os = "linux") { Ipv4Addr::new(127, process | 1, high, low) } else { Ipv4Addr::LOCALHOST };
    TcpListener::bind((host, 0)).unwrap().local_addr().unwrap()
}
