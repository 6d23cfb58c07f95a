//! The workers: a thread each, with a runtime, a handler and a pool of upstream connections of its own, all taking from the
//! same listener.

use core::fmt;
use core::num::NonZero;
use core::pin::pin;
use core::time::Duration;
use std::io;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use tokio::io::AsyncRead;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;

use super::arrival::Arrival;
use super::bind::{BindError, Port};
use super::connection::{Shop, TurnedAway};
use super::descriptors;
use super::guard::{Guard, Shared};
use super::peer::{Counted, OwnCount};
use super::{Certificates, Handler, Peer, Sockets, Stop};
use crate::answer::{Asker, Problem};
use crate::config::{DecisionListener, Limits, Listen, Network};
use crate::proxy::{Proxy, Room};
use crate::share;

/// A port that has been taken, and what is needed to serve on it.
#[derive(Debug)]
pub struct Front {
    listener: TcpListener,
    settings: Arc<Settings>,
    certificates: Option<Certificates>,
    workers: usize,
}

/// What all workers go by.
pub(crate) struct Settings {
    pub(crate) limits: Limits,
    trusted_peers: Vec<Network>,
    proxy_protocol_peers: Vec<Network>,
    pub(crate) acceptor: Option<TlsAcceptor>,
    /// Whether clients reach us without TLS from other machines than our own only through a trusted peer.
    off_loopback: bool,
    open: Arc<AtomicUsize>,
    upstreams: Room,
    asker: Asker,
}

/// The number of open connections of clients. Clones see the same front.
#[derive(Clone, Debug, Default)]
pub struct Connections(Arc<AtomicUsize>);

impl Connections {
    /// As of now.
    pub fn open(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

/// How a front ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Drained {
    /// Connections whose request was not finished in time.
    pub cut_off: usize,
}

impl Front {
    /// Takes the port.
    ///
    /// # Errors
    ///
    /// If it cannot be had; the message says what to do.
    pub fn bind(listen: &Listen, limits: &Limits) -> Result<Self, BindError> {
        Self::bind_among(&mut Sockets::default(), listen, limits)
    }

    /// The same, on the one of these sockets that is for it, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Front::bind`], and if the socket is not where `listen.address` says.
    pub fn bind_among(sockets: &mut Sockets, listen: &Listen, limits: &Limits) -> Result<Self, BindError> {
        let listener = sockets.listen(listen.address, Port::of_serve())?;
        let certificates = listen.tls.as_ref().map(Certificates::new);
        let acceptor = certificates.as_ref().map(Certificates::acceptor).transpose();
        let shares = descriptors::shares(limits, listen, workers(listen));
        descriptors::tell(limits, shares, listen);
        let settings = Settings {
            limits: Limits { connections: shares.clients, ..*limits },
            trusted_peers: listen.trusted_peers.clone(),
            proxy_protocol_peers: listen.proxy_protocol_peers.clone(),
            acceptor: acceptor.map_err(|error| BindError::new(listen.address, io::Error::other(error)))?,
            off_loopback: !listen.address.ip().is_loopback(),
            open: Arc::default(),
            upstreams: Room::of(shares.upstreams),
            asker: Asker::Client,
        };
        Ok(Self { listener, settings: Arc::new(settings), certificates, workers: workers(listen) })
    }

    /// Takes the port of `listen.decisions`, where its peers alone are trusted. Who else comes is for the handler to tell: there
    /// is no client to be told about TLS.
    ///
    /// # Errors
    ///
    /// If it cannot be had; the message says which setting picks another.
    pub fn bind_decisions(decisions: &DecisionListener, listen: &Listen, limits: &Limits) -> Result<Self, BindError> {
        Self::bind_decisions_among(&mut Sockets::default(), decisions, listen, limits)
    }

    /// The same, on the one of these sockets that is for it, if there is one.
    ///
    /// # Errors
    ///
    /// As [`Front::bind_decisions`], and if the socket is not where `listen.decisions` says.
    pub fn bind_decisions_among(
        sockets: &mut Sockets,
        decisions: &DecisionListener,
        listen: &Listen,
        limits: &Limits,
    ) -> Result<Self, BindError> {
        Self::bind_questions(sockets, Port::Decisions, decisions, listen, *limits)
    }

    /// Takes the port of `listen.ext_authz`, or the one of these sockets that is for it, on the same terms. How long a question
    /// may be is for the handler to tell: `limits.body_bytes` is about what clients send.
    ///
    /// # Errors
    ///
    /// If it cannot be had, and the message says which setting picks another; if the socket is not where `listen.ext_authz` says.
    pub fn bind_ext_authz_among(
        sockets: &mut Sockets,
        ext_authz: &DecisionListener,
        listen: &Listen,
        limits: &Limits,
    ) -> Result<Self, BindError> {
        let limits = Limits { body_bytes: u64::MAX, ..*limits };
        Self::bind_questions(sockets, Port::ExtAuthz, ext_authz, listen, limits)
    }

    fn bind_questions(
        sockets: &mut Sockets,
        port: Port,
        asked: &DecisionListener,
        listen: &Listen,
        limits: Limits,
    ) -> Result<Self, BindError> {
        let listener = sockets.listen(asked.address, port)?;
        let shares = descriptors::shares(&limits, listen, workers(listen));
        let settings = Settings {
            limits: Limits { connections: shares.clients, ..limits },
            trusted_peers: asked.peers.clone(),
            proxy_protocol_peers: Vec::new(),
            acceptor: None,
            off_loopback: false,
            open: Arc::default(),
            upstreams: Room::of(shares.upstreams),
            asker: Asker::Proxy,
        };
        Ok(Self { listener, settings: Arc::new(settings), certificates: None, workers: workers(listen) })
    }

    /// The certificate it shows, to be replaced while it serves; `None` without `[listen.tls]`.
    pub fn certificates(&self) -> Option<Certificates> {
        self.certificates.clone()
    }

    /// Where it listens; with port 0 in the configuration, the port that was found.
    ///
    /// # Errors
    ///
    /// If the system does not say.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// How many connections of clients are open, for whoever counts.
    pub fn connections(&self) -> Connections {
        Connections(Arc::clone(&self.settings.open))
    }

    /// Serves until `stop`, then lets the requests in flight finish, for as long as `limits.drain_timeout`, and those that are on
    /// their way: connections with none are kept for a second, and each is told of the end with its next answer. `make` is called
    /// once in each worker, and gets that worker's proxy.
    ///
    /// # Errors
    ///
    /// If a worker could not start.
    pub fn run<H, M>(self, make: M, stop: &Stop) -> io::Result<Drained>
    where
        H: Handler,
        M: Fn(Rc<Proxy>) -> H + Send + Sync,
    {
        let Self { listener, settings, workers, .. } = self;
        let listeners = (1..workers).map(|_| listener.try_clone()).collect::<io::Result<Vec<_>>>()?;
        let listeners = listeners.into_iter().chain([listener]);
        thread::scope(|scope| {
            let start = |(number, listener): (usize, TcpListener)| {
                let (settings, make, stopped) = (&settings, &make, stop.watch());
                let work = move || work(listener, settings, make, stopped);
                thread::Builder::new().name(format!("keybound-{number}")).spawn_scoped(scope, work)
            };
            let started: Vec<_> = listeners.enumerate().map(start).collect();
            if started.iter().any(Result::is_err) {
                stop.now();
            }
            let mut cut_off = 0;
            for worker in started {
                cut_off += worker?.join().map_err(|_| io::Error::other("a worker panicked"))??;
            }
            Ok(Drained { cut_off })
        })
    }
}

fn workers(listen: &Listen) -> usize {
    listen.workers.or_else(|| thread::available_parallelism().ok()).map_or(1, NonZero::get)
}

/// One worker, from start to end. Returns how many connections were cut off.
fn work<H: Handler>(
    listener: TcpListener,
    settings: &Arc<Settings>,
    make: impl Fn(Rc<Proxy>) -> H,
    mut stopped: watch::Receiver<bool>,
) -> io::Result<usize> {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().event_interval(share::TURNS).build_local(Default::default())?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let proxy = Rc::new(Proxy::new(&settings.limits, settings.upstreams.clone()));
        let sweeping = tokio::task::spawn_local({
            let proxy = Rc::clone(&proxy);
            async move { proxy.sweep().await }
        });
        let shop = Rc::new(Shop::new(make(proxy), settings.limits, settings.asker));
        let own = Rc::new(OwnCount::default());
        let stopping = async { drop(stopped.wait_for(|stopped| *stopped).await) };
        accept(&listener, settings, &shop, &own, stopping).await;
        shop.draining.begin();
        if let Some(delay) = settings.limits.drain_delay {
            accept(&listener, settings, &shop, &own, sleep(delay)).await;
        }
        accept_last(listener, settings, &shop, &own)?;
        let _ = timeout(settings.limits.drain_timeout, own.none()).await;
        sweeping.abort();
        Ok(own.open())
    })
}

/// So many connections are taken before others are heard, the system among them: it is asked once in [`share::TURNS`].
const AT_ONCE: u32 = 4;

/// When the system has no more descriptors to give, trying again at once would only burn time.
const NO_DESCRIPTOR: Duration = Duration::from_millis(100);

async fn accept<H: Handler>(
    listener: &tokio::net::TcpListener,
    settings: &Arc<Settings>,
    shop: &Rc<Shop<H>>,
    own: &Rc<OwnCount>,
    until: impl Future<Output = ()>,
) {
    let mut until = pin!(until);
    for turn in (0..AT_ONCE).cycle() {
        let accepted = tokio::select! {
            biased;
            () = &mut until => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, address)) => take(stream, address, settings, shop, own),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "cannot take connections; does the limit on open files allow limits.connections?");
                tokio::time::sleep(NO_DESCRIPTOR).await;
            }
        }
        if turn + 1 == AT_ONCE {
            // The next connections may as well be another worker's.
            tokio::task::yield_now().await;
        }
    }
}

/// Takes what waits to be taken, and closes the port: whoever is connected is served.
fn accept_last<H: Handler>(
    listener: tokio::net::TcpListener,
    settings: &Arc<Settings>,
    shop: &Rc<Shop<H>>,
    own: &Rc<OwnCount>,
) -> io::Result<()> {
    let listener = listener.into_std()?;
    loop {
        match listener.accept() {
            Ok((stream, address)) => {
                stream.set_nonblocking(true)?;
                take(TcpStream::from_std(stream)?, address, settings, shop, own);
            }
            Err(error) if is_of_one_connection(&error) => {}
            Err(_) => return Ok(()),
        }
    }
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn take<H: Handler>(
    stream: TcpStream,
    address: SocketAddr,
    settings: &Arc<Settings>,
    shop: &Rc<Shop<H>>,
    own: &Rc<OwnCount>,
) {
    let (counted, open) = Counted::one(&settings.open, own);
    let most = settings.limits.connections;
    if open > most + told_of_overload(most) {
        return;
    }
    // Without it small pieces of a streamed body would wait for each other; it still works without.
    let _ = stream.set_nodelay(true);
    Arrival { stream, address, counted, overload: open > most }.start(settings, shop);
}

/// So many above the limit are told so; beyond that there is no room for words.
pub(crate) const fn told_of_overload(most: usize) -> usize {
    most / 8 + 8
}

impl Settings {
    /// The octets of a connection, watched.
    pub(crate) fn guard<S: AsyncRead + Unpin>(&self, stream: S, shared: Arc<Shared>) -> Guard<S> {
        Guard::new(stream, shared, self.limits.header_fields, self.asker)
    }

    /// Whether connections from there begin with a PROXY header.
    pub(crate) fn announces(&self, ip: IpAddr) -> bool {
        self.proxy_protocol_peers.iter().any(|network| network.contains(ip))
    }

    /// Who it is, and whether it is turned away. `by_tls`: to us, or to a proxy that is believed.
    pub(crate) fn judge(
        &self,
        address: SocketAddr,
        by_tls: bool,
        shared: &Arc<Shared>,
        counted: Counted,
        overload: bool,
    ) -> (Peer, Option<TurnedAway>) {
        let ip = address.ip().to_canonical();
        let trusted = self.trusted_peers.iter().any(|network| network.contains(ip));
        let turned_away = if overload {
            Some(TurnedAway(Problem::Overload))
        } else {
            (!trusted && !by_tls && self.needs_tls(ip)).then_some(TurnedAway(Problem::TlsRequired))
        };
        (Peer::new(address, trusted, Arc::clone(shared), counted), turned_away)
    }

    /// R-SEC-01: plain http is for loopback.
    const fn needs_tls(&self, ip: IpAddr) -> bool {
        self.off_loopback && !ip.is_loopback()
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("tls", &self.acceptor.is_some()).finish_non_exhaustive()
    }
}
