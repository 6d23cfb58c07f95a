//! What a client remembers of servers: the newest nonce of each role, and how far their clock is from ours.

use core::num::NonZeroUsize;
use core::time::Duration;
use std::collections::HashMap;

use http::HeaderMap;
use http::header::{AGE, DATE};
use parking_lot::Mutex;

use crate::challenge::{NonceField, nonce_of};
use crate::nonce::{Nonce, Role};
use crate::time::UnixTime;

/// Servers remembered unless set otherwise: at most about 2 MiB.
const DEFAULT_SERVERS: NonZeroUsize = match NonZeroUsize::new(1024) {
    Some(number) => number,
    None => NonZeroUsize::MIN,
};

/// An origin is a host name of at most 253 octets, a scheme and a port. What is longer is not remembered.
const MAX_ORIGIN: usize = 512;

/// A clock further off than this is not one to follow; RFC 9449 gives proofs minutes.
const MAX_OFFSET: Duration = Duration::from_secs(24 * 60 * 60);

/// `Date` has whole seconds and travels; nearer than this clocks are taken for equal.
const SAME_TIME: Duration = Duration::from_secs(5);

/// The newest nonce of each server and role, and the offset of its clock. One memory is shared by all requests of a
/// program; it is bounded, and forgets the server it heard of least recently.
///
/// A nonce goes back to the scheme, host, port and role it came from and nowhere else (R-NONCE-18).
///
/// ```
/// use http::{HeaderMap, HeaderValue};
/// use keybound::client::ServerMemory;
/// use keybound::nonce::Role;
/// use keybound::time::UnixTime;
///
/// let servers = ServerMemory::new();
/// let now = UnixTime::from_secs(784_111_000);
/// let mut headers = HeaderMap::new();
/// headers.insert("dpop-nonce", HeaderValue::from_static("n-1"));
/// headers.insert("date", HeaderValue::from_static("Sun, 06 Nov 1994 08:49:37 GMT"));
/// servers.learn("https://api.example.com", Role::ResourceServer, &headers, now);
///
/// let newest = servers.newest("https://api.example.com", Role::ResourceServer).unwrap();
/// assert_eq!(newest.as_str(), "n-1");
/// assert_eq!(servers.newest("https://api.example.com", Role::AuthorizationServer), None);
/// assert_eq!(servers.time_at("https://api.example.com", now), UnixTime::from_secs(784_111_777));
/// ```
#[derive(Debug)]
pub struct ServerMemory {
    capacity: NonZeroUsize,
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    servers: HashMap<Box<str>, Known>,
    /// Counts what was learnt, so that the oldest can be told.
    count: u64,
}

#[derive(Debug, Default)]
struct Known {
    authorization_nonce: Option<Nonce>,
    resource_nonce: Option<Nonce>,
    clock: Clock,
    heard: u64,
}

impl Known {
    const fn nonce(&mut self, role: Role) -> &mut Option<Nonce> {
        match role {
            Role::AuthorizationServer => &mut self.authorization_nonce,
            Role::ResourceServer => &mut self.resource_nonce,
        }
    }
}

/// The clock of a server, seen from ours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Clock {
    #[default]
    Same,
    Ahead(Duration),
    Behind(Duration),
}

impl ServerMemory {
    /// Remembers 1,024 servers.
    pub fn new() -> Self {
        Self::with_capacity(DEFAULT_SERVERS)
    }

    /// Remembers this many servers.
    pub fn with_capacity(capacity: NonZeroUsize) -> Self {
        Self {
            capacity,
            table: Mutex::default(),
        }
    }

    /// The newest nonce that the server at `origin` gave in this role.
    pub fn newest(&self, origin: &str, role: Role) -> Option<Nonce> {
        self.table
            .lock()
            .servers
            .get_mut(origin)
            .and_then(|known| known.nonce(role).clone())
    }

    /// The time by the clock of the server at `origin`, as far as it is known, when ours says `now` (R-CLI-19).
    pub fn time_at(&self, origin: &str, now: UnixTime) -> UnixTime {
        match self.table.lock().servers.get(origin).map(|known| known.clock) {
            None | Some(Clock::Same) => now,
            Some(Clock::Ahead(offset)) => now.plus(offset),
            Some(Clock::Behind(offset)) => now.minus(offset),
        }
    }

    /// Remembers what a response from `origin`, received at `now`, says: its nonce, whatever the status (R-NONCE-17), and
    /// its `Date`. Several nonces or a malformed one change nothing. A `Date` that a cache has kept (there is an `Age`), or
    /// that is more than a day off, is passed over.
    ///
    /// Says what the response held for a nonce.
    pub fn learn(&self, origin: &str, role: Role, headers: &HeaderMap, now: UnixTime) -> NonceField {
        let field = nonce_of(headers);
        let nonce = if let NonceField::One(nonce) = &field {
            Some(nonce)
        } else {
            None
        };
        let clock = clock_of(headers, now);
        if (nonce.is_some() || clock.is_some()) && origin.len() <= MAX_ORIGIN {
            self.keep(origin, role, nonce, clock);
        }
        field
    }

    fn keep(&self, origin: &str, role: Role, nonce: Option<&Nonce>, clock: Option<Clock>) {
        let mut table = self.table.lock();
        table.count = table.count.saturating_add(1);
        let count = table.count;
        if !table.servers.contains_key(origin) {
            if nonce.is_none() && clock == Some(Clock::Same) {
                return; // Nothing to remember, and no reason to forget another for it.
            }
            if table.servers.len() >= self.capacity.get() {
                table.forget_oldest();
            }
        }
        let known = table.servers.entry(origin.into()).or_default();
        known.heard = count;
        if let Some(nonce) = nonce {
            *known.nonce(role) = Some(nonce.clone());
        }
        if let Some(clock) = clock {
            known.clock = clock;
        }
    }
}

impl Default for ServerMemory {
    fn default() -> Self {
        Self::new()
    }
}

impl Table {
    /// Looks at every server; that happens only when a new one comes and the table is full.
    fn forget_oldest(&mut self) {
        let oldest = self
            .servers
            .iter()
            .min_by_key(|(_, known)| known.heard)
            .map(|(origin, _)| origin.clone());
        if let Some(origin) = oldest {
            self.servers.remove(&origin);
        }
    }
}

/// What the `Date` of a response received at `now` says about the clock of its server, if anything.
fn clock_of(headers: &HeaderMap, now: UnixTime) -> Option<Clock> {
    let date = headers.get(DATE).filter(|_| !headers.contains_key(AGE))?;
    let date = UnixTime::from(httpdate::parse_http_date(date.to_str().ok()?).ok()?);
    let (ahead, behind) = (date.since(now), now.since(date));
    if ahead.max(behind) > MAX_OFFSET {
        None
    } else if ahead > SAME_TIME {
        Some(Clock::Ahead(ahead))
    } else if behind > SAME_TIME {
        Some(Clock::Behind(behind))
    } else {
        Some(Clock::Same)
    }
}

#[cfg(test)]
mod tests;
