//! The admin listener: health, metrics, the console and what feeds it. It has a thread of its own, so that neither side can
//! keep the other waiting, and shows nothing secret.

use core::net::SocketAddr;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::{oneshot, watch};

use crate::config::Listen;
use crate::engine::Engine;
use crate::front::{BindError, Connections, Front, Port, Sockets, Stop};
use crate::observe::Open;
use crate::reload::Live;

mod answer;
mod guard;
mod inspect;
mod issuer;
mod level;
mod page;
mod ready;
mod reasons;
mod routes;
mod serve;
mod status;

pub use issuer::ShownIssuer;
pub use level::LogLevel;

/// A port that has been taken for the console.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
}

/// The gateway that is shown.
#[derive(Debug)]
#[must_use = "nothing is shown before Admin::start"]
pub struct Shown {
    live: Arc<Live>,
    connections: Connections,
    most_connections: usize,
    stopping: watch::Receiver<bool>,
    log_level: Option<LogLevel>,
    deciding: Vec<Deciding>,
}

/// A listener where other proxies ask.
#[derive(Debug)]
struct Deciding {
    /// Its name in `[listen]`.
    setting: &'static str,
    address: Option<SocketAddr>,
    connections: Connections,
}

impl Shown {
    /// `connections` are those of the front; from `stop` on the gateway is not ready any more.
    pub fn new(live: Arc<Live>, connections: Connections, stop: &Stop) -> Self {
        let most_connections = live.engine().config.limits.connections;
        Self { live, connections, most_connections, stopping: stop.watch(), log_level: None, deciding: Vec::new() }
    }

    /// With a log whose level can be changed.
    pub fn log_level(mut self, level: LogLevel) -> Self {
        self.log_level = Some(level);
        self
    }

    /// With the listeners of other proxies, as far as there are any.
    pub fn deciding(mut self, decisions: Option<&Front>, ext_authz: Option<&Front>) -> Self {
        let fronts = [("decisions", decisions), ("ext_authz", ext_authz)];
        let there = fronts.into_iter().filter_map(|(setting, front)| front.map(|front| (setting, front)));
        self.deciding = there
            .map(|(setting, front)| Deciding {
                setting,
                address: front.address().ok(),
                connections: front.connections(),
            })
            .collect();
        self
    }

    fn engine(&self) -> Arc<Engine> {
        self.live.engine()
    }

    fn open(&self) -> Open {
        let deciding = self.deciding.iter().map(|listener| (listener.setting, listener.connections.open()));
        Open { clients: self.connections.open(), deciding: deciding.collect() }
    }

    fn is_draining(&self) -> bool {
        *self.stopping.borrow()
    }
}

impl Admin {
    /// Takes the port. Where nobody chose it and another program has it, a free one will do: a second gateway on one machine is
    /// no mistake.
    ///
    /// # Errors
    ///
    /// If it cannot be had; the message says which setting picks another.
    pub fn bind(listen: &Listen) -> Result<Self, BindError> {
        Self::bind_among(&mut Sockets::default(), listen)
    }

    /// The same, on the one of these sockets that is for it, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Admin::bind`], and if the socket is not where `listen.admin` says.
    pub fn bind_among(sockets: &mut Sockets, listen: &Listen) -> Result<Self, BindError> {
        let bound = match sockets.listen(listen.admin, Port::Admin) {
            Err(error) if error.is_taken() && !listen.admin_is_chosen => {
                tracing::warn!(taken = %listen.admin, "the console's usual port is in use, so it takes another; listen.admin sets it");
                sockets.listen(SocketAddr::new(listen.admin.ip(), 0), Port::Admin)
            }
            bound => bound,
        };
        Ok(Self { listener: bound? })
    }

    /// Where it listens; with port 0 in the configuration, the port that was found.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until what is returned is dropped, while a front drains too. From now on the keys of issuers are fetched before
    /// anybody needs them, and upstreams are asked how they are where a route says so.
    ///
    /// # Errors
    ///
    /// If there can be no thread for it.
    pub fn start(self, shown: Shown) -> io::Result<Running> {
        self.show(shown)
    }

    /// The same for an issuer alone.
    ///
    /// # Errors
    ///
    /// If there can be no thread for it.
    pub fn start_issuer(self, shown: ShownIssuer) -> io::Result<Running> {
        self.show(shown)
    }

    fn show(self, shown: impl serve::Exhibit) -> io::Result<Running> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let work = move |ended| runtime.block_on(serve::until(ended, self.listener, Arc::new(shown)));
        Running::start("keybound-admin", work)
    }
}

/// A thread at work beside the workers: an admin listener, for example. It ends when this is dropped.
#[derive(Debug)]
#[must_use = "it ends when this is dropped"]
pub struct Running {
    end: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Running {
    /// Starts it under this name. It ends soon after what it is given has.
    pub(crate) fn start(name: &str, work: impl FnOnce(oneshot::Receiver<()>) + Send + 'static) -> io::Result<Self> {
        let (end, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || work(ended))?;
        Ok(Self { end: Some(end), thread: Some(thread) })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        drop(self.end.take());
        let Some(thread) = self.thread.take() else { return };
        let name = thread.thread().name().unwrap_or_default().to_owned();
        if thread.join().is_err() {
            tracing::error!(thread = name, "it panicked");
        }
    }
}
