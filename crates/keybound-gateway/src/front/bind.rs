//! Takes a port, or says in words why it cannot be had and what to do.

use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::net::TcpListener;

use socket2::{Domain, Protocol, Socket, Type};

/// How many connections may wait to be taken.
const BACKLOG: i32 = 1024;

/// Listens at `address`. A second process that asks for the same address is told that it is in use.
pub(crate) fn bind(address: SocketAddr, port: Port) -> Result<TcpListener, BindError> {
    listen(address).map_err(|error| BindError { address, port, error })
}

/// What a port is for, which says how to pick another.
#[derive(Clone, Debug)]
pub(crate) enum Port {
    /// `listen.address`, which a command sets.
    Clients(Box<str>),
    /// `listen.admin`
    Admin,
    /// `listen.decisions`
    Decisions,
    /// `listen.ext_authz`
    ExtAuthz,
}

impl Port {
    /// For the clients of `keybound serve`.
    pub(crate) fn of_serve() -> Self {
        Self::Clients("keybound serve".into())
    }

    /// Its name in `[listen]`.
    pub(crate) const fn setting(&self) -> &'static str {
        match self {
            Self::Clients(_) => "address",
            Self::Admin => "admin",
            Self::Decisions => "decisions",
            Self::ExtAuthz => "ext_authz",
        }
    }

    fn instead(&self, address: SocketAddr) -> String {
        match self {
            Self::Clients(command) => format!("{command} --listen {address}"),
            Self::Decisions => format!("[listen] decisions = \"{address}\", or KEYBOUND_LISTEN_DECISIONS={address}"),
            Self::ExtAuthz => format!("[listen] ext_authz = \"{address}\", or KEYBOUND_LISTEN_EXT_AUTHZ={address}"),
            Self::Admin => format!("[listen] admin = \"{address}\", or KEYBOUND_LISTEN_ADMIN={address}"),
        }
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // Only past connections of this port are passed over by this, never another listener.
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// An address that cannot be listened at.
#[derive(Debug)]
pub struct BindError {
    address: SocketAddr,
    port: Port,
    error: io::Error,
}

impl BindError {
    pub(crate) fn new(address: SocketAddr, error: io::Error) -> Self {
        Self { address, port: Port::of_serve(), error }
    }

    pub(crate) fn of_port(self, port: Port) -> Self {
        Self { port, ..self }
    }

    /// Names this command in the advice, instead of `keybound serve`.
    #[must_use]
    pub fn of_command(mut self, command: impl Into<Box<str>>) -> Self {
        self.port = Port::Clients(command.into());
        self
    }

    /// Whether another program has the port.
    pub fn is_taken(&self) -> bool {
        self.error.kind() == io::ErrorKind::AddrInUse
    }
}

impl fmt::Display for BindError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, port, error } = self;
        let other = || port.instead(SocketAddr::new(address.ip(), free_port(*address)));
        match error.kind() {
            io::ErrorKind::AddrInUse => {
                write!(f, "{address} is in use by another program; pick another port: {}", other())
            }
            io::ErrorKind::PermissionDenied => {
                write!(f, "{address} may not be used: ports below 1024 need a privilege; pick another: {}", other())
            }
            io::ErrorKind::AddrNotAvailable => write!(
                f,
                "{address} is not an address of this machine; pick one that is: {}",
                port.instead(SocketAddr::from(([127, 0, 0, 1], address.port())))
            ),
            _ => write!(f, "cannot listen at {address}: {error}"),
        }
    }
}

impl core::error::Error for BindError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        Some(&self.error)
    }
}

/// A port near the one that was asked for, and free as far as can be seen.
fn free_port(address: SocketAddr) -> u16 {
    let near = address.port().max(8070);
    let mut candidates = (1..=20).filter_map(|step| near.checked_add(step * 10));
    let free = |port: &u16| listen(SocketAddr::new(address.ip(), *port)).is_ok();
    candidates.find(free).unwrap_or(8090)
}
