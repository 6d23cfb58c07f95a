//! What an administrator does: clients, users, grants, signing keys, and the audit log. It works on the store, so that a running issuer sees it
//! at once, wherever it was done. `admin/http.rs` has the same for programs.

use core::fmt;
use core::net::SocketAddr;
use std::sync::Arc;

use keybound::refusal::{Denial, Fault};
use keybound::time::UnixTime;

use crate::audit::{self, Audit, Entry, Event, Page, Query, Refused};
use crate::clock::Clock;
use crate::config::IssuerConfig;
use crate::keys::{Keys, KeysError};
use crate::store::{Change, Store, Written};
use crate::users::{Noting, UserError, Users};

mod clients;
mod grants;
mod http;
mod keys;
mod sessions;
mod users;

pub use self::clients::{Listed, Shown};
pub use self::grants::Grant;
pub use self::http::OPENAPI;
pub use self::sessions::{Session, Sessions};
pub use self::users::Description;

/// Looks after the store of an issuer. Clones share it.
///
/// ```
/// # fn block_on<T>(work: impl Future<Output = T>) -> T {
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     match std::pin::pin!(work).poll(&mut context) { std::task::Poll::Ready(done) => done, _ => panic!() }
/// # }
/// use std::sync::Arc;
/// use keybound::time::UnixTime;
/// use keybound_issuer::Clock;
/// use keybound_issuer::admin::Administration;
/// use keybound_issuer::audit::Audit;
/// use keybound_issuer::store::MemoryStore;
/// use serde_json::json;
///
/// let store = Arc::new(MemoryStore::new(UnixTime::from_secs(1_700_000_000)));
/// let administration = Administration::new(store, Audit::default(), Clock::system(), "command");
/// let metadata = json!({ "grant_types": ["client_credentials"], "scope": "read" });
/// # block_on(async {
/// let added = administration.add_client(Some("orders"), metadata.as_object().unwrap()).await?;
/// assert!(added.secret.is_some(), "told once");
/// # Ok::<(), keybound_issuer::admin::AdminError>(())
/// # }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Administration {
    store: Arc<dyn Store>,
    audit: Audit,
    clock: Clock,
    by: &'static str,
    users: Users,
    /// Clients of the configuration, which nothing changes here.
    clients: Arc<[Box<str>]>,
    /// Subjects of the configuration that are no users with a password.
    subjects: Arc<[Box<str>]>,
    keys: Option<Keys>,
}

impl Administration {
    /// Of this store; entries go to `audit`, as done by `by`.
    pub fn new(store: Arc<dyn Store>, audit: Audit, clock: Clock, by: &'static str) -> Self {
        let users = Users::new(Arc::clone(&store)).noting(Noting { audit: audit.clone(), by });
        Self { store, audit, clock, by, users, clients: Arc::default(), subjects: Arc::default(), keys: None }
    }

    /// With these clients and users of a configuration: there can be no other ones of these names.
    #[must_use]
    pub fn with_configuration(self, config: &IssuerConfig) -> Self {
        let noting = Noting { audit: self.audit.clone(), by: self.by };
        Self {
            users: Users::with_configured(config.users(), Arc::clone(&self.store)).noting(noting),
            clients: config.clients.iter().map(|client| client.id.clone()).collect(),
            subjects: config.auto_approve.iter().cloned().collect(),
            ..self
        }
    }

    /// Some entries of the audit log, the latest first.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`] if the store fails.
    pub async fn entries(&self, query: &Query) -> Result<Page, AdminError> {
        Ok(audit::list::list(&*self.store, query, self.clock.now()).await?)
    }

    /// Somebody asked without the secret. It is noted as far as strangers are, and said aloud now and then: of guesses there are many.
    async fn turned_away(&self, reason: &str, peer: Option<SocketAddr>) {
        let mut refused = Refused::because(reason);
        let entry = Entry::new(Event::AdminRefused, self.clock.now()).at("admin", peer);
        refused.entry = Entry { reason: Some(reason.into()), ..entry };
        if let Some(times) = self.audit.is_time_to_warn() {
            let peer = refused.entry.peer.as_deref();
            tracing::warn!(reason, peer, times, "somebody asked the administration of the issuer without its secret");
        }
        self.audit.refused(&self.store, refused).await;
    }

    fn entry(&self, event: Event, now: UnixTime) -> Entry {
        Entry::new(event, now).by(self.by)
    }

    /// Makes the changes with the entry of what is done, which is told then; whether they found what they need.
    async fn write(&self, mut changes: Vec<Change>, entry: &Entry, now: UnixTime) -> Result<bool, AdminError> {
        changes.extend(self.audit.change(entry));
        let written = self.store.write(changes, now).await?;
        if written == Written::Done {
            self.audit.tell(entry).await;
        }
        Ok(written == Written::Done)
    }
}

/// Why something was not done.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AdminError {
    /// There is none of this name.
    Unknown(Box<str>),
    /// There is one of this name already; or a user and a client of one name, whose tokens would have one `sub`.
    Taken(Box<str>),
    /// It stands in the configuration, and is changed there.
    Configured(Box<str>),
    /// What was sent is not fit, for the reason that this sentence says.
    Unfit(Box<str>),
    /// It is not any more what it was when it was read.
    Changed,
    /// The client authenticates without a secret.
    NoSecret(Box<str>),
    /// That cannot be done here, or not now.
    NotHere(Box<str>),
    /// The signing keys cannot be changed.
    Keys(KeysError),
    /// The store failed.
    Failed(Fault),
}

impl fmt::Display for AdminError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(name) => write!(f, "there is no {name:?}"),
            Self::Taken(name) => write!(f, "there is a client or user {name:?} already"),
            Self::Configured(name) => write!(f, "{name:?} stands in the configuration; change it there"),
            Self::Unfit(sentence) => f.write_str(sentence),
            Self::Changed => f.write_str("it was changed in the meantime; look at it again"),
            Self::NoSecret(id) => write!(f, "the client {id:?} does not authenticate by a secret"),
            Self::NotHere(why) => f.write_str(why),
            Self::Keys(error) => error.fmt(f),
            Self::Failed(fault) => fault.fmt(f),
        }
    }
}

impl core::error::Error for AdminError {}

impl From<Fault> for AdminError {
    fn from(fault: Fault) -> Self {
        Self::Failed(fault)
    }
}

impl From<Denial> for AdminError {
    fn from(denial: Denial) -> Self {
        match denial {
            Denial::Refused(refusal) => {
                Self::Unfit(refusal.detail().unwrap_or(refusal.reason().entry().meaning).into())
            }
            Denial::Failed(fault) => Self::Failed(fault),
            _ => Self::Failed(Fault::StoreUnavailable),
        }
    }
}

impl AdminError {
    /// What is wrong with the user of this name.
    fn of_user(name: &str, error: UserError) -> Self {
        match error {
            UserError::Taken => Self::Taken(name.into()),
            UserError::Unknown => Self::Unknown(name.into()),
            UserError::Configured => Self::Configured(name.into()),
            UserError::Failed(fault) => Self::Failed(fault),
            error => Self::Unfit(error.to_string().into()),
        }
    }
}
