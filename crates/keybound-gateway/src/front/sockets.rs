//! Sockets that whoever started this process has opened for it, as systemd does (`LISTEN_FDS`): they outlive the process, so
//! that connections wait while it starts anew.

use core::fmt;
use core::net::SocketAddr;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

use super::bind::{BindError, Port, bind};

/// What the names of several sockets are separated by, in `LISTEN_FDNAMES`.
const SEPARATOR: char = ':';

/// The settings that a socket can be for, by which it is named.
const NAMES: [&str; 4] = ["address", "admin", "decisions", "ext_authz"];

/// Listening sockets that were passed in, each for a setting of `[listen]`. Without any, ports are taken as configured.
///
/// A socket that is named `admin`, `decisions` or `ext_authz` (`FileDescriptorName=`, `LISTEN_FDNAMES`) is for that setting; one that is
/// named `address`, after its unit, or not at all is for `listen.address`. It must be where the setting says: what is safe
/// there was judged by that.
#[derive(Debug, Default)]
pub struct Sockets(Vec<(&'static str, TcpListener)>);

/// Why sockets that were passed in are of no use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SocketsError(String);

impl fmt::Display for SocketsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SocketsError {}

impl Sockets {
    /// Those of `LISTEN_FDS`, if `LISTEN_PID` is this process. To be called once, before there are threads: the variables are
    /// taken away, so that no child takes the sockets for its own.
    ///
    /// # Errors
    ///
    /// If one is no TCP socket, has a name that is no setting's, or is the second for its setting.
    pub fn from_environment() -> Result<Self, SocketsError> {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        let mut passed = ListenFd::from_env();
        let count = passed.len();
        let mut names = names.split(SEPARATOR);
        let socket = |number| {
            let name = names.next().unwrap_or_default();
            let none = || SocketsError(format!("socket {number} that was passed in ({name:?}) is not there"));
            match passed.take_tcp_listener(number) {
                Ok(socket) => socket.map(|socket| (name, socket)).ok_or_else(none),
                Err(error) => {
                    Err(SocketsError(format!("a socket that was passed in ({name:?}) is of no use: {error}")))
                }
            }
        };
        Self::named((0..count).map(socket).collect::<Result<Vec<_>, _>>()?)
    }

    /// These, by their names.
    ///
    /// # Errors
    ///
    /// If a name is no setting's, or there are two sockets for one.
    pub fn named<'n>(sockets: impl IntoIterator<Item = (&'n str, TcpListener)>) -> Result<Self, SocketsError> {
        let mut all = Self::default();
        for (name, socket) in sockets {
            let setting = setting(name)?;
            if all.0.iter().any(|(other, _)| *other == setting) {
                return Err(SocketsError(format!("two sockets were passed in for listen.{setting}; it takes one")));
            }
            all.0.push((setting, socket));
        }
        Ok(all)
    }

    /// Whether none is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Sees to it that every socket has been taken over: connections to another would wait for ever.
    ///
    /// # Errors
    ///
    /// Which one has no setting in the configuration.
    pub fn finish(self) -> Result<(), SocketsError> {
        match self.0.first() {
            None => Ok(()),
            Some((setting, _)) => {
                Err(SocketsError(format!("a socket was passed in for listen.{setting}, and nothing listens there")))
            }
        }
    }

    /// The socket that was passed in for this port, or a new one.
    pub(crate) fn listen(&mut self, address: SocketAddr, port: Port) -> Result<TcpListener, BindError> {
        let Some(position) = self.0.iter().position(|(setting, _)| *setting == port.setting()) else {
            return bind(address, port);
        };
        let (_, socket) = self.0.swap_remove(position);
        match usable(&socket, address) {
            Ok(()) => Ok(socket),
            Err(error) => Err(BindError::new(address, error).of_port(port)),
        }
    }
}

fn setting(name: &str) -> Result<&'static str, SocketsError> {
    // `unknown` is what systemd says of a socket without a name.
    if name.is_empty() || name == "unknown" || name.ends_with(".socket") {
        return Ok(NAMES[0]);
    }
    NAMES.into_iter().find(|setting| *setting == name).ok_or_else(|| {
        SocketsError(format!("a socket was passed in as {name:?}; FileDescriptorName= may be {}", NAMES.join(", ")))
    })
}

fn usable(socket: &TcpListener, address: SocketAddr) -> io::Result<()> {
    let there = socket.local_addr()?;
    if there.ip() != address.ip() || (there.port() != address.port() && address.port() != 0) {
        return Err(io::Error::other(format!(
            "the socket that was passed in for it is at {there}; the setting and ListenStream= must agree"
        )));
    }
    socket.set_nonblocking(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn socket() -> (TcpListener, SocketAddr) {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        (socket, address)
    }

    #[test]
    fn each_is_for_the_setting_it_is_named_after() {
        let ((first, clients), (second, decisions)) = (socket(), socket());
        let mut sockets = Sockets::named([("keybound.socket", first), ("decisions", second)]).unwrap();
        let taken = sockets.listen(decisions, Port::Decisions).unwrap();
        assert_eq!(taken.local_addr().unwrap(), decisions);
        let taken = sockets.listen(clients, Port::of_serve()).unwrap();
        assert_eq!(taken.local_addr().unwrap(), clients);
        assert!(sockets.listen(clients, Port::Admin).unwrap_err().is_taken(), "there is none for the console");
        assert_eq!(sockets.finish(), Ok(()));
    }

    #[test]
    fn one_that_is_elsewhere_is_refused() {
        let (passed, address) = socket();
        let wanted = SocketAddr::new([0, 0, 0, 0].into(), address.port());
        let mut sockets = Sockets::named([("address", passed)]).unwrap();
        let message = sockets.listen(wanted, Port::of_serve()).unwrap_err().to_string();
        let expected = format!(
            "cannot listen at {wanted}: the socket that was passed in for it is at {address}; the setting and \
             ListenStream= must agree"
        );
        assert_eq!(message, expected);
        // Port 0 leaves it to whoever opened the socket.
        let mut sockets = Sockets::named([("", socket().0)]).unwrap();
        assert!(sockets.listen(([127, 0, 0, 1], 0).into(), Port::of_serve()).is_ok());
    }

    #[test]
    fn what_nobody_takes_is_a_mistake() {
        for (names, message) in [
            (
                vec!["http"],
                "a socket was passed in as \"http\"; FileDescriptorName= may be address, admin, decisions, ext_authz",
            ),
            (vec!["address", "a.socket"], "two sockets were passed in for listen.address; it takes one"),
        ] {
            let named = names.into_iter().map(|name| (name, socket().0));
            assert_eq!(Sockets::named(named).unwrap_err().to_string(), message);
        }
        let left = Sockets::named([("admin", socket().0)]).unwrap().finish().unwrap_err().to_string();
        assert_eq!(left, "a socket was passed in for listen.admin, and nothing listens there");
    }
}
