//! The store as its users hold it, and where its servers are.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use keybound_tower::pinned::{ConnectError, PinnedStore, Servers, Settings, Superseded, Trouble};
use tokio::sync::mpsc;

use crate::dial::Dialer;
use crate::find::Scouts;
use crate::pin::Pinned;
use crate::settings::RedisSettings;

/// In so many looks at the servers their settings are looked at once.
const EXAMINE: usize = 5;

/// Remembers proofs in Redis or Valkey, for all nodes that use the same servers and prefix.
///
/// Of each proof it keeps 128 bits of a SHA-256 over `jkt`, `jti` and target, and of each key with live proofs a tally.
///
/// ```no_run
/// # async fn connect() -> Result<(), Box<dyn std::error::Error>> {
/// use keybound_redis::{RedisSettings, RedisStore};
///
/// let settings = RedisSettings::from_url("redis-sentinel://10.0.0.1,10.0.0.2,10.0.0.3?master=proofs")?;
/// let store = RedisStore::connect(settings).await?;
/// // Hand it to `keybound_tower::ResourceServer::builder`, and to the verifier NoncePolicy::Require:
/// assert!(store.needs_nonces());
/// # Ok(())
/// # }
/// ```
pub type RedisStore = PinnedStore<Redis>;

/// Redis or Valkey: alone, under Sentinel, or in a Cluster.
pub struct Redis {
    dialer: Dialer,
    scouts: Scouts,
}

impl fmt::Debug for Redis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Redis").field(&self.dialer).finish()
    }
}

impl Servers for Redis {
    type Settings = RedisSettings;
    type Pinned = Pinned;

    fn new(settings: RedisSettings) -> Result<Self, ConnectError> {
        Ok(Self { dialer: Dialer::new(settings)?, scouts: Scouts::default() })
    }

    async fn pin(
        &self,
        before: Option<&Arc<Pinned>>,
        superseded: &Superseded<Pinned>,
    ) -> Result<(Pinned, mpsc::UnboundedReceiver<Trouble>), ConnectError> {
        let (report, troubles) = mpsc::unbounded_channel();
        let also = before.map(|before| before.servers()).unwrap_or_default();
        let map = self.scouts.primaries(&self.dialer, &also).await?;
        Ok((Pinned::pin(&self.dialer, map, superseded, &report).await?, troubles))
    }

    async fn look(&self, pinned: &Pinned, turn: usize) -> Result<(), Trouble> {
        pinned.probe(turn).await?;
        if turn.is_multiple_of(EXAMINE) {
            pinned.examine().await?;
        }
        // Who cannot be asked for the way is asked again: nonces keep two sides of a partition apart.
        match self.scouts.primaries(&self.dialer, &pinned.servers()).await {
            Ok(map) if map != pinned.map => Err(Trouble::Forgotten),
            _ => Ok(()),
        }
    }

    fn lengthen(&mut self, max_age: Duration, nonce_lifetime: Duration) {
        let settings = &mut self.dialer.settings;
        settings.max_age = settings.max_age.max(max_age);
        settings.nonce_lifetime = settings.nonce_lifetime.max(nonce_lifetime);
    }
}

impl Settings for RedisSettings {
    fn timeout(&self) -> Duration {
        self.timeout
    }

    fn windows(&self) -> (Duration, Duration) {
        (self.max_age, self.nonce_lifetime)
    }

    fn needs_nonces(&self) -> bool {
        self.needs_nonces()
    }
}
