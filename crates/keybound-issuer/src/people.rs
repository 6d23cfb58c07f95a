//! Who sits at the browser. Signing in is behind one trait: pages are one way, `auto_approve` is another.

use core::fmt;
use core::net::SocketAddr;

use axum::response::Response;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use http::header::HOST;
use http::request::Parts;
use keybound::refusal::{Fault, Reason};
use keybound::request::TargetUri;
use keybound::time::UnixTime;

use crate::State;
use crate::authorization::Asked;
use crate::client::Client;

#[cfg_attr(not(test), expect(dead_code, reason = "pages, which are not there yet, verify"))]
mod password;
#[cfg_attr(not(test), expect(dead_code, reason = "pages, which are not there yet, count tries"))]
mod throttle;

pub use self::password::{PasswordHash, PasswordHashError};

/// A user who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// `sub` of the tokens.
    pub(crate) subject: Box<str>,
    /// When that was.
    pub(crate) auth_time: UnixTime,
}

/// A browser that came with an authorization request or a device's code.
#[expect(dead_code, reason = "pages, which are not there yet, show the scope and remember the pushed request")]
pub(crate) struct Visit<'v> {
    pub(crate) parts: &'v Parts,
    pub(crate) client: &'v Client,
    /// What the client asks for; of a device, what its scope is.
    pub(crate) scope: &'v str,
    pub(crate) now: UnixTime,
    /// The authorization request; `None` for a device.
    pub(crate) asked: Option<&'v Asked>,
    /// The name of the pushed request it came as.
    pub(crate) pushed: Option<&'v str>,
}

/// What came of a visit.
pub(crate) enum Visitor {
    /// Signed in, and agrees.
    Agrees(User),
    /// A page first: it remembers the request, and calls [`Asked::approve`] or [`Asked::refuse`] when the person has decided.
    #[expect(dead_code, reason = "pages are not there yet")]
    Sees(Response),
    /// Nobody, or somebody who does not agree.
    Refuses(Reason),
}

/// Finds out who is there.
pub(crate) trait SignIn: Send + Sync + fmt::Debug {
    fn visit<'a>(&'a self, state: &'a State, visit: Visit<'a>) -> BoxFuture<'a, Result<Visitor, Fault>>;

    /// Ends the session of this browser; the cookies that are to be set for that.
    fn sign_out<'a>(&'a self, _state: &'a State, _parts: &'a Parts) -> BoxFuture<'a, Result<Vec<HeaderValue>, Fault>> {
        Box::pin(core::future::ready(Ok(Vec::new())))
    }
}

/// The two ends of a connection, as an extension of its requests: whoever serves the router puts it there.
///
/// ```
/// use keybound_issuer::Connection;
///
/// let here = "127.0.0.1:8090".parse()?;
/// let mut request = http::Request::new(());
/// request.extensions_mut().insert(Connection::new(here, "127.0.0.1:50000".parse()?));
/// # Ok::<(), std::net::AddrParseError>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    listener: SocketAddr,
    peer: SocketAddr,
}

impl Connection {
    /// Between a listener and the one who called it.
    pub const fn new(listener: SocketAddr, peer: SocketAddr) -> Self {
        Self { listener, peer }
    }

    pub(crate) const fn peer(&self) -> SocketAddr {
        self.peer
    }

    const fn is_on_loopback(&self) -> bool {
        self.listener.ip().is_loopback() && self.peer.ip().is_loopback()
    }
}

/// No pages: one user by setting, for development on loopback, or nobody at all.
#[derive(Debug)]
pub(crate) struct AutoApprove;

impl SignIn for AutoApprove {
    fn visit<'a>(&'a self, state: &'a State, visit: Visit<'a>) -> BoxFuture<'a, Result<Visitor, Fault>> {
        let visitor = match &state.config.auto_approve {
            Some(subject) if is_development(state, &visit) => {
                tracing::warn!(subject = &**subject, client_id = visit.client.id(), "approved without asking anybody");
                Visitor::Agrees(User { subject: subject.clone(), auth_time: visit.now })
            }
            _ if visit.asked.is_some_and(|asked| asked.prompts("none")) => Visitor::Refuses(Reason::LoginRequired),
            _ => Visitor::Refuses(Reason::LoginDenied),
        };
        Box::pin(core::future::ready(Ok(visitor)))
    }
}

/// Whether nobody but the developer can be at the other end. That the issuer's URL is on loopback was seen at the start.
fn is_development(state: &State, visit: &Visit<'_>) -> bool {
    let headers = &visit.parts.headers;
    let connection = visit.parts.extensions.get::<Connection>();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| TargetUri::parse(&format!("http://{host}/")).ok());
    let forwarded = |name: &str| name == "forwarded" || name == "via" || name.starts_with("x-forwarded");
    connection.is_some_and(Connection::is_on_loopback)
        && host.is_some_and(|host| host.is_loopback())
        && !headers.keys().any(|name| forwarded(name.as_str()))
        && state.clients.is_configured(visit.client.id())
}
