//! The other end of a client's connection.

use core::cell::{Cell, RefCell};
use core::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::HeaderValue;

use super::guard::{Phase, Shared};

/// The other end of a connection, cheap to clone. The connection counts as open until the last clone is gone.
#[derive(Clone, Debug)]
pub struct Peer(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    address: SocketAddr,
    trusted: bool,
    forwarded_for: HeaderValue,
    /// `Forwarded` as it was last written: on one connection it is nearly always the same.
    forwarded: RefCell<Option<(HeaderValue, HeaderValue, HeaderValue)>>,
    tunnel: Cell<bool>,
    shared: Arc<Shared>,
    _counted: Counted,
}

impl Peer {
    pub(crate) fn new(address: SocketAddr, trusted: bool, shared: Arc<Shared>, counted: Counted) -> Self {
        let ip = address.ip().to_canonical();
        let forwarded_for = HeaderValue::try_from(ip.to_string()).expect("an address is ASCII");
        let forwarded = RefCell::default();
        Self(Rc::new(Inner {
            address,
            trusted,
            forwarded_for,
            forwarded,
            tunnel: Cell::new(false),
            shared,
            _counted: counted,
        }))
    }

    /// Its address, as the connection has it.
    pub fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Whether it is one of `listen.trusted_peers`, whose forwarded fields count.
    pub fn is_trusted(&self) -> bool {
        self.0.trusted
    }

    pub(crate) fn forwarded_for(&self) -> &HeaderValue {
        &self.0.forwarded_for
    }

    /// The element of `Forwarded` for this connection (RFC 7239 section 4).
    pub(crate) fn forwarded(&self, scheme: &HeaderValue, host: &HeaderValue) -> HeaderValue {
        let mut last = self.0.forwarded.borrow_mut();
        if let Some((_, _, value)) = last
            .as_ref()
            .filter(|(last_scheme, last_host, _)| last_scheme == scheme && last_host == host)
        {
            return value.clone();
        }
        let node = match self.0.address.ip().to_canonical() {
            IpAddr::V4(address) => address.to_string(),
            IpAddr::V6(address) => format!("\"[{address}]\""),
        };
        let text = |value: &HeaderValue| value.to_str().unwrap_or_default().to_owned();
        let value = format!("for={node};host=\"{}\";proto={}", text(host), text(scheme));
        let value = HeaderValue::try_from(value).expect("a public URL and an address are ASCII");
        *last = Some((scheme.clone(), host.clone(), value.clone()));
        value
    }

    /// From now on it is no HTTP.
    pub(crate) fn becomes_tunnel(&self) {
        self.0.tunnel.set(true);
        self.0.shared.enter(Phase::Tunnel);
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    pub(crate) fn is_tunnel(&self) -> bool {
        self.0.tunnel.get()
    }
}

/// One of the connections that may be open at once.
#[derive(Debug)]
pub(crate) struct Counted {
    all: Arc<AtomicUsize>,
    own: Rc<OwnCount>,
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct OwnCount {
    open: Cell<usize>,
    changed: tokio::sync::Notify,
}

impl OwnCount {
    pub(crate) const fn open(&self) -> usize {
        self.open.get()
    }

    /// Returns when there are none.
    pub(crate) async fn none(&self) {
        while self.open.get() > 0 {
            self.changed.notified().await;
        }
    }
}

impl Counted {
    /// One more, and how many there are with it.
    pub(crate) fn one(all: &Arc<AtomicUsize>, own: &Rc<OwnCount>) -> (Self, usize) {
        own.open.set(own.open.get() + 1);
        let before = all.fetch_add(1, Ordering::Relaxed);
        (
            Self {
                all: Arc::clone(all),
                own: Rc::clone(own),
            },
            before + 1,
        )
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.all.fetch_sub(1, Ordering::Relaxed);
        self.own.open.set(self.own.open.get() - 1);
        self.own.changed.notify_one();
    }
}
