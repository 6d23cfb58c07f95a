//! Where the agent listens: a port of loopback, or a socket that is its owner's alone.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::guard::Hosts;
use super::lines::Lines;
use super::pass::Agency;
use crate::outcome::Failure;

/// How long requests may take to their end once the agent is to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Where to listen.
#[derive(Clone, Debug)]
pub(crate) enum Listen {
    Port(SocketAddr),
    Socket(PathBuf),
}

/// `ADDR` on loopback, or `unix:PATH`.
pub(super) fn address(text: &str) -> Result<Listen, String> {
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.is_empty() {
            Err("unix: is followed by a path".to_owned())
        } else {
            Ok(Listen::Socket(path.into()))
        };
    }
    let address: SocketAddr =
        text.parse().map_err(|_| "neither an address such as 127.0.0.1:7777 nor unix:PATH".to_owned())?;
    match address.ip().is_loopback() {
        true => Ok(Listen::Port(address)),
        false => Err("the agent is for this machine: it listens on loopback, or on a Unix socket".to_owned()),
    }
}

/// A listener.
pub(super) enum Door {
    Port(TcpListener, SocketAddr),
    Socket(UnixListener, PathBuf),
}

impl Listen {
    pub(super) async fn open(&self) -> Result<Door, Failure> {
        match self {
            Self::Port(address) => {
                let listener = TcpListener::bind(address).await;
                let listener = listener.map_err(|why| Failure::failed(format!("{address}: {why}")))?;
                let found = listener.local_addr().map_err(Failure::failed)?;
                Ok(Door::Port(listener, found))
            }
            Self::Socket(path) => {
                let listener = socket(path).map_err(|why| Failure::failed(format!("{}: {why}", path.display())))?;
                Ok(Door::Socket(listener, path.clone()))
            }
        }
    }
}

/// A socket of mode 0600. It is made where nobody else can look, and then put into its place; one that a dead agent left behind
/// is replaced, and nothing else is.
fn socket(path: &Path) -> io::Result<UnixListener> {
    match std::fs::symlink_metadata(path) {
        Ok(there) if !there.file_type().is_socket() => {
            return Err(io::Error::new(io::ErrorKind::AlreadyExists, "there is something else of that name"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(io::Error::new(io::ErrorKind::AddrInUse, "another program listens there"));
        }
        _ => {}
    }
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let hidden = tempfile::Builder::new().prefix(".keybound-").tempdir_in(folder)?; // of mode 0700
    let made = hidden.path().join("s");
    let listener = UnixListener::bind(&made)?;
    std::fs::set_permissions(&made, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&made, path)?;
    Ok(listener)
}

impl Door {
    /// The names a request may give it.
    pub(super) fn hosts(&self) -> Hosts {
        match self {
            Self::Port(_, address) => Hosts::of(*address),
            Self::Socket(..) => Hosts::default(),
        }
    }

    /// The next connection.
    async fn next(&self) -> io::Result<Box<dyn Stream>> {
        match self {
            Self::Port(listener, _) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true); // it works without, slower
                Ok(Box::new(stream))
            }
            Self::Socket(listener, _) => listener.accept().await.map(|(stream, _)| Box::new(stream) as _),
        }
    }
}

impl fmt::Display for Door {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(_, address) => address.fmt(f),
            Self::Socket(_, path) => write!(f, "unix:{}", path.display()),
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        if let Self::Socket(_, path) = self {
            // Who finds it finds nobody behind it.
            let _ = std::fs::remove_file(path);
        }
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// The signals that end the agent, and the one for a new key. They are awaited before it says that it listens.
pub(super) struct End {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl End {
    pub(super) fn await_signals() -> Result<Self, Failure> {
        let interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
        let hangup = signal(SignalKind::hangup()).map_err(Failure::failed)?;
        Ok(Self { interrupt, terminate, hangup })
    }
}

/// Serves until a signal says that it is enough.
pub(super) async fn serve(door: Door, agency: Arc<Agency>, mut end: End) {
    let lines = Lines::new();
    let mut waiting = None;
    loop {
        tokio::select! {
            _ = end.interrupt.recv() => break,
            _ = end.terminate.recv() => break,
            _ = end.hangup.recv() => agency.rotate(),
            next = door.next(), if waiting.is_none() => match next {
                Ok(stream) => waiting = Some(stream),
                Err(why) => {
                    tracing::warn!(%why, "a connection was not accepted");
                    tokio::time::sleep(Duration::from_millis(100)).await; // no descriptors: some may come free
                }
            },
            place = lines.place(), if waiting.is_some() => {
                if let (Some(place), Some(stream)) = (place, waiting.take()) {
                    let agency = Arc::clone(&agency);
                    tokio::spawn(place.serve(stream, move |request, asked| Arc::clone(&agency).answer(request, asked)));
                }
            }
        }
    }
    drop(door);
    if tokio::time::timeout(DRAIN, lines.end()).await.is_err() {
        tracing::warn!("requests were not finished in time and were cut off");
    }
}
