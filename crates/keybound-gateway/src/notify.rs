//! Tells whoever supervises this process what it is at (`sd_notify`): one datagram to the socket that `NOTIFY_SOCKET` names.
//! Without one, nothing.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// Ports are taken and the configuration is in force.
pub fn ready() {
    tell("READY=1\nSTATUS=serving\n");
}

/// The configuration is read again; [`ready`] or [`kept`] follows.
pub fn reloading() {
    let now = clock_gettime(ClockId::Monotonic);
    let mut text = "RELOADING=1\nSTATUS=reading the configuration again\n".to_owned();
    let microseconds = i128::from(now.tv_sec) * 1_000_000 + i128::from(now.tv_nsec) / 1_000;
    // systemd tells this reload from one before by it (`Type=notify-reload`).
    let _ = writeln!(text, "MONOTONIC_USEC={microseconds}");
    tell(&text);
}

/// The configuration could not be reloaded.
pub fn kept() {
    tell("READY=1\nSTATUS=serving; the configuration was not reloaded, the log says why\n");
}

/// No new connections are taken.
pub fn stopping() {
    tell("STOPPING=1\nSTATUS=finishing the requests in flight\n");
}

fn tell(text: &str) {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET").filter(|socket| !socket.is_empty()) else { return };
    if let Err(error) = send(&socket, text) {
        tracing::warn!(%error, "the supervisor of this process (NOTIFY_SOCKET) cannot be told about it");
    }
}

/// A supervisor that does not read keeps nothing from going on.
const PATIENCE: Duration = Duration::from_secs(1);

fn send(socket: &OsStr, text: &str) -> io::Result<()> {
    let address = match socket.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(socket)?,
    };
    let sender = UnixDatagram::unbound()?;
    sender.set_write_timeout(Some(PATIENCE))?;
    sender.send_to_addr(text.as_bytes(), &address)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::*;

    #[test]
    fn reaches_sockets_with_a_path_and_without() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let name = format!("keybound-notify-{}", std::process::id());
        let unnamed = SocketAddr::from_abstract_name(&name).unwrap();
        let sockets = [
            (UnixDatagram::bind(&path).unwrap(), path.into_os_string()),
            (UnixDatagram::bind_addr(&unnamed).unwrap(), OsString::from(format!("@{name}"))),
        ];
        for (socket, address) in sockets {
            send(&address, "READY=1\n").unwrap();
            let mut buffer = [0; 64];
            let length = socket.recv(&mut buffer).unwrap();
            assert_eq!(&buffer[..length], b"READY=1\n");
        }
        assert!(send(OsStr::new("/nowhere/at/all"), "READY=1\n").is_err());
    }

    // Stopping waits for it, too.
    #[test]
    fn who_does_not_read_keeps_nobody() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let _unread = UnixDatagram::bind(&path).unwrap();
        // The queue of a socket is as long as the system likes, and has an end.
        let full = (0..100_000).find_map(|_| send(path.as_os_str(), "READY=1\n").err()).unwrap();
        assert_eq!(full.kind(), io::ErrorKind::WouldBlock);
    }
}
