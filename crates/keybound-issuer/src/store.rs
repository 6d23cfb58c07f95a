//! What an issuer must not forget: codes, refresh tokens, registered clients. One trait, three stores; no SQL is outside.
//!
//! A store keeps small records under a kind and a name. What may happen only once happens in [`Store::write`], which does
//! all of its changes or none. Secrets are not stored: a record's name is the digest of the secret that finds it.

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use core::time::Duration;
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};

mod inserts;
mod memory;
mod postgres;
mod sql;
mod sqlite;
#[cfg(any(test, feature = "store-suite"))]
pub mod suite;
#[cfg(test)]
pub(crate) mod tests;

pub use self::memory::MemoryStore;

/// Answers that are not there yet.
pub type Pending<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// The time that never comes, for records that do not expire.
pub const NEVER: UnixTime = UnixTime::from_secs(i64::MAX as u64);

/// Records with their names.
pub type Found = Vec<(Box<str>, Record)>;

/// What a record is of. Its text stands in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kind(pub(crate) &'static str);

impl Kind {
    /// An authorization code, by its digest. It stays when it was redeemed, so that a second try is noticed.
    pub const CODE: Self = Self("code");
    /// What a user allowed a client: the head of a family of tokens, which all die with it.
    pub const GRANT: Self = Self("grant");
    /// A refresh token, by its digest. It stays when it was used, so that a second try is noticed.
    pub const REFRESH: Self = Self("refresh");
    /// A pushed authorization request, by the digest of its `request_uri`.
    pub const PUSHED: Self = Self("pushed");
    /// A device code, by its digest.
    pub const DEVICE: Self = Self("device");
    /// What a person types for a device, by its digest.
    pub const USER_CODE: Self = Self("user_code");
    /// A client that registered itself, by its `client_id`.
    pub const CLIENT: Self = Self("client");
    /// A client assertion that was used, by the digest of client and `jti`.
    pub const ASSERTION: Self = Self("assertion");
    /// An access token that was revoked by itself, by its `jti`.
    pub const REVOKED: Self = Self("revoked");
    /// A local user, by the one form of the name: see [`users`](crate::users).
    pub const USER: Self = Self("user");
    /// That a local user has a password, by the same name.
    pub const PASSWORD: Self = Self("password");
    /// The name of a local user, by `sub`.
    pub const SUBJECT: Self = Self("subject");
    /// A browser that somebody is signed in with, by the digest of its cookie.
    pub const SESSION: Self = Self("session");
    /// What a person is about to decide, by a name that its address holds.
    pub const INTERACTION: Self = Self("interaction");
    /// What a user has allowed a client, by the digest of both.
    pub const CONSENT: Self = Self("consent");
    /// A browser in which a user has signed in before, by the digest of both.
    pub const BROWSER: Self = Self("browser");

    /// An entry of the audit log; see [`audit`](crate::audit).
    pub const AUDIT: Self = Self("audit");

    /// A private key that tokens are signed with, sealed, by its name.
    pub const KEY: Self = Self("key");
    /// The schedule of those keys: one record.
    pub const KEY_RING: Self = Self("key_ring");
    /// A passkey, by the digest of its name.
    pub const PASSKEY: Self = Self("passkey");
    /// Which passkeys a user has, by `sub`.
    pub const PASSKEYS: Self = Self("passkeys");
    /// The user that an account at another provider is connected with, by the digest of both its names.
    pub const CONNECTED: Self = Self("connected");
    /// Which accounts at other providers a user has, by `sub`.
    pub const CONNECTIONS: Self = Self("connections");

    /// As it stands in the database.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Record {
    /// What it dies with; empty for nothing.
    pub family: Box<str>,
    /// The last second in which it is there.
    pub expires: UnixTime,
    /// Another one after each change.
    pub version: u64,
    /// JSON.
    pub body: Box<str>,
}

/// One step of [`Store::write`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// A new record; there must be none of that name.
    Insert {
        /// Its kind.
        kind: Kind,
        /// Its name.
        id: Box<str>,
        /// What it dies with; empty for nothing.
        family: Box<str>,
        /// The last second in which it is there.
        expires: UnixTime,
        /// JSON.
        body: Box<str>,
    },
    /// Another body, if the record is still the one that was read.
    Replace {
        /// Its kind.
        kind: Kind,
        /// Its name.
        id: Box<str>,
        /// As it was read.
        version: u64,
        /// The last second in which it is there.
        expires: UnixTime,
        /// JSON.
        body: Box<str>,
    },
    /// Lives until then; the record must be there.
    Extend {
        /// Its kind.
        kind: Kind,
        /// Its name.
        id: Box<str>,
        /// The last second in which it is there.
        expires: UnixTime,
    },
    /// Away with it; the record must be there.
    Take {
        /// Its kind.
        kind: Kind,
        /// Its name.
        id: Box<str>,
    },
    /// Away with it, if it is there.
    Delete {
        /// Its kind.
        kind: Kind,
        /// Its name.
        id: Box<str>,
    },
    /// Away with all records of a family.
    DeleteFamily {
        /// Which one; never the empty one.
        family: Box<str>,
    },
}

/// What became of a [`Store::write`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a write may have done nothing"]
pub enum Written {
    /// Everything was done, and is durable.
    Done,
    /// Nothing was done: the change at this position found something else than it needs.
    Conflict(usize),
}

/// Keeps records. Implement it over a database of your own and run the cases of the suite on it (feature `store-suite`).
///
/// Expired records are as if they were not there for [`Store::read`] and [`Store::list`]; the store drops them when it
/// suits it. A failure is [`Fault::StoreUnavailable`]: then nothing was done, or nobody can tell, and the caller issues
/// nothing. What it answers `Done` for survives the end of the process, unless the store is in memory.
pub trait Store: Send + Sync + fmt::Debug {
    /// Since when it has forgotten nothing. A client assertion that could have been used before is refused.
    fn opened(&self) -> UnixTime;

    /// One record.
    fn read<'a>(&'a self, kind: Kind, id: &'a str, now: UnixTime) -> Pending<'a, Option<Record>>;

    /// Records of a kind behind the name `after`, in an order of the store's own, at most `limit`; each with its name.
    fn list<'a>(&'a self, kind: Kind, after: &'a str, limit: u32, now: UnixTime) -> Pending<'a, Found>;

    /// All of these changes, one after the other, or none. Of two writes at once that need the same thing, one is told
    /// [`Written::Conflict`].
    fn write(&self, changes: Vec<Change>, now: UnixTime) -> Pending<'_, Written>;
}

/// Why there is no store.
#[derive(Debug)]
pub struct OpenError {
    text: String,
    is_absent: bool,
}

impl OpenError {
    fn new(store: &str, error: &dyn fmt::Display) -> Self {
        Self { text: format!("{store}: {error}"), is_absent: false }
    }

    /// Whether all that is wrong is that there is none yet: of [`open_existing`].
    pub const fn is_absent(&self) -> bool {
        self.is_absent
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for OpenError {}

/// Where records are kept, as a setting says it.
///
/// ```
/// use keybound_issuer::store::Location;
///
/// assert_eq!("memory".parse::<Location>().unwrap(), Location::Memory);
/// assert_eq!("sqlite:id.db".parse::<Location>().unwrap(), Location::Sqlite("id.db".into()));
/// assert!("mysql://db".parse::<Location>().is_err());
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Location {
    /// In this process, and gone with it.
    Memory,
    /// In this file, made if there is none.
    Sqlite(std::path::PathBuf),
    /// In a PostgreSQL database, which many issuers share.
    Postgres(Box<str>),
}

impl core::str::FromStr for Location {
    type Err = UnknownLocation;

    fn from_str(text: &str) -> Result<Self, UnknownLocation> {
        if text == "memory" {
            return Ok(Self::Memory);
        }
        match text.split_once(':') {
            Some(("sqlite", file)) if !file.is_empty() && !file.starts_with("//") => Ok(Self::Sqlite(file.into())),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => Ok(Self::Postgres(text.into())),
            _ => Err(UnknownLocation),
        }
    }
}

impl fmt::Debug for Location {
    /// Without the password that an address may hold.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("memory"),
            Self::Sqlite(file) => write!(f, "sqlite:{}", file.display()),
            Self::Postgres(_) => f.write_str("postgres://.."),
        }
    }
}

/// Not a store this version knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownLocation;

impl fmt::Display for UnknownLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a store; use \"sqlite:keybound.db\", \"postgres://USER@HOST/DATABASE\" or \"memory\"")
    }
}

impl core::error::Error for UnknownLocation {}

/// Opens a store; a database that is not there yet is waited for, for ten seconds.
///
/// # Errors
///
/// [`OpenError`], in words for the one who wrote the setting.
pub fn open(location: &Location, now: UnixTime) -> Result<Arc<dyn Store>, OpenError> {
    open_as(Opening { patience: postgres::START, makes: true }, location, now)
}

/// The same for somebody who is there and can try again: what is away is away.
///
/// # Errors
///
/// As [`open`].
pub fn open_at_once(location: &Location, now: UnixTime) -> Result<Arc<dyn Store>, OpenError> {
    open_as(Opening { patience: Duration::ZERO, makes: true }, location, now)
}

/// The same for somebody who looks at what is there: nothing is made, neither a file nor tables, so that a name that was
/// mistyped is said to be one.
///
/// # Errors
///
/// As [`open`]; [`OpenError::is_absent`] tells that there is nothing of that name.
pub fn open_existing(location: &Location, now: UnixTime) -> Result<Arc<dyn Store>, OpenError> {
    open_as(Opening { patience: Duration::ZERO, makes: false }, location, now)
}

/// How a store is opened.
#[derive(Clone, Copy)]
struct Opening {
    /// How long a server is waited for.
    patience: Duration,
    /// Whether what is not there yet is made.
    makes: bool,
}

fn open_as(how: Opening, location: &Location, now: UnixTime) -> Result<Arc<dyn Store>, OpenError> {
    match location {
        Location::Memory => Ok(Arc::new(MemoryStore::new(now))),
        Location::Sqlite(file) => sqlite::open(how, file, now).map(|store| Arc::new(store) as Arc<dyn Store>),
        Location::Postgres(url) => postgres::open(how, url, now).map(|store| Arc::new(store) as Arc<dyn Store>),
    }
}

/// What a record holds.
pub(crate) fn parse<'r, T: Deserialize<'r>>(record: &'r Record) -> Result<T, Fault> {
    serde_json::from_str(&record.body).map_err(|error| {
        tracing::error!(%error, "a record of the store is not what this version writes");
        Fault::StoreUnavailable
    })
}

/// As JSON: what a record is to hold, or an answer.
pub(crate) fn to_json(body: &impl Serialize) -> Box<str> {
    serde_json::to_string(body).expect("texts, numbers and flags are JSON").into()
}
