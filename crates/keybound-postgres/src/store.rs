//! The store as its users hold it, and where its server is.

use core::time::Duration;
use std::sync::Arc;

use keybound_tower::pinned::{ConnectError, PinnedStore, Servers, Superseded, Trouble};
use tokio::sync::mpsc;

use crate::pin::Pinned;
use crate::settings::PostgresSettings;

/// After so many looks, a thorough one.
const EXAMINE: usize = 5;

/// Remembers proofs in PostgreSQL, for all nodes that use the same database and schema.
///
/// Of each proof it keeps 128 bits of a SHA-256 over `jkt`, `jti` and target, and of each key with live proofs a tally.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use keybound_postgres::{PostgresSettings, PostgresStore};
///
/// let settings = PostgresSettings::from_url("postgres://replays@db.internal/app?sslmode=verify-full")?;
/// let store = PostgresStore::connect(settings).await?;
/// // Hand it to `keybound_tower::ResourceServer::builder`.
/// assert!(!store.needs_nonces());
/// # Ok(())
/// # }
/// ```
pub type PostgresStore = PinnedStore<Postgres>;

/// A PostgreSQL server.
#[derive(Debug)]
pub struct Postgres {
    settings: PostgresSettings,
}

impl Servers for Postgres {
    type Settings = PostgresSettings;
    type Pinned = Pinned;

    fn new(settings: PostgresSettings) -> Result<Self, ConnectError> {
        Ok(Self { settings })
    }

    async fn pin(
        &self,
        before: Option<&Arc<Pinned>>,
        superseded: &Superseded<Pinned>,
    ) -> Result<(Pinned, mpsc::UnboundedReceiver<Trouble>), ConnectError> {
        let (report, troubles) = mpsc::unbounded_channel();
        let pinned = Pinned::pin(&self.settings, before.map(|before| &**before), superseded, &report).await;
        Ok((pinned.map_err(|error| error.at(format_args!("PostgreSQL at {}", self.settings)))?, troubles))
    }

    async fn look(&self, pinned: &Pinned, turn: usize) -> Result<(), Trouble> {
        pinned.look(turn.is_multiple_of(EXAMINE)).await
    }

    fn lengthen(&mut self, max_age: Duration, nonce_lifetime: Duration) {
        self.settings.max_age = self.settings.max_age.max(max_age);
        self.settings.nonce_lifetime = self.settings.nonce_lifetime.max(nonce_lifetime);
    }
}
