//! Where the keys of an issuer come from: fixed ones that the operator changes, or discovered ones.

use std::sync::Arc;

use arc_swap::ArcSwap;
use keybound::refusal::Fault;
use keybound::token::jwt::{KeyMark, KeySet};

use super::state::{KeySource, KeyState};
use crate::Clock;
use crate::jwks::DiscoveredKeys;

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum IssuerKeys {
    /// A set that somebody gave.
    Fixed(FixedKeys),
    /// The set that the issuer serves.
    Discovered(DiscoveredKeys),
}

/// Keys that somebody gave, as a file or value. Clones share them, so that one who keeps a clone can change them for all.
///
/// ```
/// use keybound::crypto::AlgSet;
/// use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
/// use keybound::crypto::{Alg, Signer};
/// use keybound::token::jwt::KeySet;
/// use keybound_tower::FixedKeys;
///
/// let key = SoftwareKey::generate(Alg::Es256)?;
/// let text = format!(r#"{{"keys":[{}]}}"#, key.public_jwk().to_json());
/// let keys = FixedKeys::new(KeySet::read_strictly(text.as_bytes(), &AwsLc, AlgSet::ALL)?);
/// # let _ = keys;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FixedKeys(Arc<ArcSwap<Keys>>);

/// Whether a set has a key that something may be signed with.
pub(crate) type Finds<'f> = dyn Fn(&KeySet) -> bool + Sync + 'f;

/// A key set, and how often it was replaced before.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) set: Arc<KeySet>,
    pub(crate) generation: u64,
}

impl FixedKeys {
    /// These keys.
    pub fn new(set: KeySet) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(Keys { set: Arc::new(set), generation: 0 })))
    }

    /// Takes other keys instead, for every clone. Tokens remembered until now are verified again.
    pub fn replace(&self, set: KeySet) {
        let set = Arc::new(set);
        self.0.rcu(|keys| Keys { set: Arc::clone(&set), generation: keys.generation.wrapping_add(1) });
    }

    /// The keys in force.
    pub fn current(&self) -> Arc<KeySet> {
        Arc::clone(&self.0.load().set)
    }
}

impl From<FixedKeys> for IssuerKeys {
    fn from(keys: FixedKeys) -> Self {
        Self::Fixed(keys)
    }
}

impl From<KeySet> for IssuerKeys {
    fn from(set: KeySet) -> Self {
        Self::Fixed(FixedKeys::new(set))
    }
}

impl From<DiscoveredKeys> for IssuerKeys {
    fn from(keys: DiscoveredKeys) -> Self {
        Self::Discovered(keys)
    }
}

impl IssuerKeys {
    /// The keys to verify something with, fetched if none of those at hand fits.
    pub(crate) async fn fitting(&self, finds: &Finds<'_>, clock: &Arc<dyn Clock>) -> Result<Keys, Fault> {
        match self {
            Self::Fixed(keys) => Ok(Keys::clone(&keys.0.load())),
            Self::Discovered(keys) => {
                let set = keys.fitting(finds, clock).await?;
                Ok(Keys { set, generation: 0 })
            }
        }
    }

    /// Whether what was verified before would be verified again.
    pub(super) fn still_hold(&self, mark: &KeyMark, generation: u64, clock: &Arc<dyn Clock>) -> bool {
        match self {
            Self::Fixed(keys) => {
                let keys = keys.0.load();
                keys.generation == generation && keys.set.holds(mark)
            }
            Self::Discovered(keys) => keys.current(clock).is_some_and(|set| set.holds(mark)),
        }
    }

    /// How it stands with the keys of `issuer`.
    pub(crate) fn state(&self, issuer: &str, clock: &Arc<dyn Clock>) -> KeyState {
        match self {
            Self::Fixed(_) => KeyState {
                issuer: issuer.into(),
                source: KeySource::Fixed,
                usable: true,
                age: None,
                failures: 0,
                trouble: None,
            },
            Self::Discovered(keys) => keys.state(clock),
        }
    }

    /// Fetches what is to be fetched in the background.
    pub(crate) fn prefetch(&self, clock: &Arc<dyn Clock>) {
        match self {
            Self::Fixed(_) => {}
            Self::Discovered(keys) => keys.prefetch(clock),
        }
    }
}
