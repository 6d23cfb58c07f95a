//! Who sits at the browser: a person whom pages ask, or one user by setting, for development on loopback.
//!
//! | file | what |
//! |---|---|
//! | `pages.rs` | the way through the pages, and what each form does |
//! | `interaction.rs` | what is being decided, kept until it is, and bound to a browser |
//! | `ways.rs`, `passkeys.rs`, `providers.rs` | which ways to sign in there are, and others than a password |
//! | `account.rs` | where somebody makes passkeys, and connects accounts at other providers |
//! | `session.rs`, `cookies.rs` | who is signed in, and which browser it is |
//! | `consent.rs` | what was allowed before |
//! | `guard.rs` | whether a form is of a page of ours |
//! | `password.rs`, `throttle.rs`, `queue.rs` | whether a password is right, how often it may be tried, and by how many at once |
//! | `sign_out.rs` | the end of a session |
//! | `view.rs`, `templates/` | how pages look, and what they say |

use core::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::response::Response;
use http::header::HOST;
use http::request::Parts;
use keybound::refusal::{Fault, Reason};
use keybound::request::TargetUri;
use keybound::time::UnixTime;

use self::throttle::Throttle;
use crate::State;
use crate::authorization::{Asked, Unfit};
use crate::client::Client;
use crate::grants::Login;
use crate::store::Kind;
use crate::users;

pub(crate) mod account;
pub(crate) mod consent;
mod cookies;
pub(crate) mod guard;
pub(crate) mod interaction;
pub(crate) mod pages;
mod passkeys;
mod password;
pub(crate) mod providers;
mod queue;
mod session;
pub(crate) mod sign_out;
mod throttle;
pub(crate) mod view;
mod ways;

pub use self::password::{PasswordHash, PasswordHashError};

/// A user who is signed in.
#[derive(Clone, Debug)]
pub(crate) struct User {
    /// `sub` of the tokens.
    pub(crate) subject: Box<str>,
    /// When they have shown who they are, if that is known.
    pub(crate) auth_time: Option<UnixTime>,
    /// A local user, for whom nothing is issued any more once they are disabled or deleted.
    pub(crate) is_local: bool,
}

impl User {
    /// What tokens say of it. `nonce` is that of the OpenID request.
    pub(crate) fn login(&self, nonce: Option<Box<str>>) -> Login {
        Login { auth_time: self.auth_time.map(UnixTime::as_secs), nonce, is_local: self.is_local }
    }
}

/// A browser that came with an authorization request or a device's code.
pub(crate) struct Visit<'v> {
    pub(crate) parts: &'v Parts,
    pub(crate) client: &'v Client,
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
    Sees(Response),
    /// Nobody, or somebody who does not agree.
    Refuses(Reason),
}

/// Finds out who is there.
#[derive(Debug)]
pub(crate) struct People {
    /// Tries of passwords.
    passwords: Throttle,
    /// Who waits for theirs to be looked at.
    queue: queue::Queue,
    /// Tries of the codes of devices.
    codes: Throttle,
    users: Seen,
    passwords_of_users: Seen,
    passkeys: Seen,
}

/// What of this kind was ever in the store; there is no look at it once there was.
#[derive(Debug)]
struct Seen {
    kind: Kind,
    is_seen: AtomicBool,
}

impl Seen {
    const fn of(kind: Kind) -> Self {
        Self { kind, is_seen: AtomicBool::new(false) }
    }

    async fn is_there(&self, state: &State, now: UnixTime) -> Result<bool, Fault> {
        if self.is_seen.load(Ordering::Relaxed) {
            return Ok(true);
        }
        let is_there = !state.store.list(self.kind, "", 1, now).await?.is_empty();
        self.is_seen.store(is_there, Ordering::Relaxed);
        Ok(is_there)
    }
}

impl People {
    pub(crate) fn new() -> Self {
        Self {
            passwords: Throttle::new(),
            queue: queue::Queue::default(),
            codes: Throttle::new(),
            users: Seen::of(Kind::USER),
            passwords_of_users: Seen::of(Kind::PASSWORD),
            passkeys: Seen::of(Kind::PASSKEY),
        }
    }

    /// Whether anybody could sign in: then there are pages.
    pub(crate) async fn are_there(&self, state: &State, now: UnixTime) -> Result<bool, Fault> {
        if !state.providers.is_empty() || state.users.configured().next().is_some() {
            return Ok(true);
        }
        self.users.is_there(state, now).await
    }

    /// Whether anybody could sign in by a password.
    async fn have_passwords(&self, state: &State, now: UnixTime) -> Result<bool, Fault> {
        if state.users.configured().any(users::User::has_password) {
            return Ok(true);
        }
        self.passwords_of_users.is_there(state, now).await
    }

    /// Whether anybody could sign in by a passkey.
    async fn have_passkeys(&self, state: &State, now: UnixTime) -> Result<bool, Fault> {
        self.passkeys.is_there(state, now).await
    }

    pub(crate) async fn visit(&self, state: &State, visit: Visit<'_>) -> Result<Visitor, Unfit> {
        if let Some(subject) = state.config.auto_approve.as_ref().filter(|_| is_development(state, &visit)) {
            tracing::warn!(subject = &**subject, client_id = visit.client.id(), "approved without asking anybody");
            if visit.asked.is_some_and(|asked| !asked.is_for(subject)) {
                return Ok(Visitor::Refuses(Reason::LoginRequired));
            }
            let user = User { subject: subject.clone(), auth_time: Some(visit.now), is_local: false };
            return Ok(Visitor::Agrees(user));
        }
        if self.are_there(state, visit.now).await? {
            return pages::visit(state, &visit).await;
        }
        let is_quiet = visit.asked.is_some_and(|asked| asked.prompts("none"));
        Ok(Visitor::Refuses(if is_quiet { Reason::LoginRequired } else { Reason::LoginDenied }))
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

/// Whether nobody but the developer can be at the other end. That the issuer's URL is on loopback was seen at the start.
fn is_development(state: &State, visit: &Visit<'_>) -> bool {
    is_developers(visit.parts) && state.clients.is_configured(visit.client.id())
}

/// Whether the connection is the developer's own.
pub(crate) fn is_developers(parts: &Parts) -> bool {
    let headers = &parts.headers;
    let connection = parts.extensions.get::<Connection>();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok());
    let host = host.and_then(|host| TargetUri::parse(&format!("http://{host}/")).ok());
    let forwarded = |name: &str| name == "forwarded" || name == "via" || name.starts_with("x-forwarded");
    connection.is_some_and(Connection::is_on_loopback)
        && host.is_some_and(|host| host.is_loopback())
        && !headers.keys().any(|name| forwarded(name.as_str()))
}
