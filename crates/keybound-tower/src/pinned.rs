//! A memory of used proofs on servers that many nodes share, each node pinned to one life of them: what every such store has in common.
//!
//! A server of its own may forget: it starts anew, another takes over, somebody clears it. So a node believes what it knows of a server for one
//! connection and one life; when that may be over, it looks again before anything more is recorded. Implement [`Servers`] and [`Pinned`] for a
//! kind of server and have a [`PinnedStore`]; the crates `keybound-redis` and `keybound-postgres` do.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::sync::Arc;

use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, Seen};
use keybound::time::UnixTime;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::oneshot;

pub use self::error::{ConnectError, SettingsError};
pub use self::store::{Figures, PinnedStore};

mod error;
mod keeper;
mod store;
mod text;

/// How far the clock of a node and that of a server may be apart. Where they are further apart, nothing is recorded.
pub const APART: Duration = Duration::from_secs(10);

/// What is answered to one record.
pub type Answer = Result<Seen, Fault>;

/// Servers of one kind, and the way to them.
pub trait Servers: fmt::Debug + Send + Sync + Sized + 'static {
    /// What names them.
    type Settings: Settings;
    /// They in one life of each.
    type Pinned: Pinned;

    /// Of these settings.
    ///
    /// # Errors
    ///
    /// What can be said without asking them.
    fn new(settings: Self::Settings) -> Result<Self, ConnectError>;

    /// Connects, looks at what they are, and takes their epoch or begins one. `before` is what they were. Trouble is reported through the receiver
    /// until it is dropped.
    fn pin(
        &self,
        before: Option<&Arc<Self::Pinned>>,
        superseded: &Superseded<Self::Pinned>,
    ) -> impl Future<Output = Result<(Self::Pinned, UnboundedReceiver<Trouble>), ConnectError>> + Send;

    /// Once a second, for the `turn`th time: whether they are still what they were, and what else is to be done.
    fn look(&self, pinned: &Self::Pinned, turn: usize) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// Proofs are judged by these windows from now on, if they are longer: a [`Pinned`] for shorter ones is not taken any more.
    fn lengthen(&mut self, max_age: Duration, nonce_lifetime: Duration);
}

/// Which epochs count no more, even where they stand.
#[derive(Debug)]
#[non_exhaustive]
pub enum Superseded<P> {
    /// None.
    Nothing,
    /// That of these servers. If another node has begun one in its place, that counts.
    Of(Arc<P>),
    /// Whichever stands: it may have begun before what was asked for, by a node that knew nothing of this one.
    All,
}

impl<P> Superseded<P> {
    /// The servers whose epoch counts no more.
    pub fn pinned(&self) -> Option<&P> {
        if let Self::Of(pinned) = self { Some(pinned) } else { None }
    }

    /// Whether the node begins an epoch in any case.
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// What names servers.
pub trait Settings: Clone + fmt::Display + fmt::Debug + Send + Sync + 'static {
    /// How long one record may take.
    fn timeout(&self) -> Duration;

    /// The windows by which proofs are judged: the age limit and the life of nonces.
    fn windows(&self) -> (Duration, Duration);

    /// Whether another server may take over: then every proof needs a nonce, whatever the policy of the verifier.
    fn needs_nonces(&self) -> bool;
}

/// Servers in one life of each.
pub trait Pinned: fmt::Debug + Send + Sync + 'static {
    /// The epoch that follows.
    fn epoch(&self) -> Epoch;

    /// When it began, whatever counts in it.
    fn began(&self) -> UnixTime;

    /// The windows for which records are kept: the longest age limit and life of nonces of any node that shares these servers, in seconds.
    fn windows(&self) -> (u64, u64);

    /// Takes a record to make and says later what became of it.
    ///
    /// # Errors
    ///
    /// If nothing was sent.
    fn hand_over(&self, record: Record, answer: oneshot::Sender<Answer>) -> Result<(), NotTaken>;

    /// What the text that nodes share beside the records is now, empty if there is none: after it was compared with the first of `change`, and
    /// replaced by the second if it was that, in one step.
    fn text(&self, change: Option<(&[u8], &[u8])>) -> impl Future<Output = Result<Vec<u8>, Trouble>> + Send;
}

/// A record to make.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Record {
    /// 128 bits of a SHA-256 over `jkt`, `jti` and target.
    pub digest: [u8; 16],
    /// Whose proof it is.
    pub jkt: Thumbprint,
    /// For how long it has to be found, by any node's clock and the server's.
    pub keep: Duration,
}

/// Why a record was not sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NotTaken {
    /// Too many wait.
    Full,
    /// There was trouble: nothing is recorded in this life any more.
    Closed,
}

impl<T> From<TrySendError<T>> for NotTaken {
    fn from(error: TrySendError<T>) -> Self {
        match error {
            TrySendError::Full(_) => Self::Full,
            TrySendError::Closed(_) => Self::Closed,
        }
    }
}

/// Why servers are to be left alone until they were looked at again.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Trouble {
    /// One is not what it was, or has forgotten.
    Forgotten,
    /// One fails, in words.
    Failed(ConnectError),
}

impl From<ConnectError> for Trouble {
    fn from(error: ConnectError) -> Self {
        Self::Failed(error)
    }
}
