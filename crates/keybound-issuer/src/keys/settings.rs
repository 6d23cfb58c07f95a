//! What keys are made and when, and which settings would not do.

use core::fmt;
use core::time::Duration;

use keybound::crypto::Alg;

use super::CACHE;
use super::ring::{Policy, lead_for};
use crate::config::{DEFAULT_TOKEN_LIFETIME, MAX_TOKEN_LIFETIME};

const SHORTEST_TURN: Duration = Duration::from_secs(3600);
const LONGEST: Duration = Duration::from_secs(366 * 86_400);

/// What keys are made, and when.
///
/// ```
/// use core::time::Duration;
/// use keybound::crypto::Alg;
/// use keybound_issuer::keys::KeySettings;
///
/// let settings = KeySettings::new().algorithm(Alg::EdDsa).rotate_every(Duration::from_secs(7 * 86_400));
/// assert!(settings.check().is_ok());
/// assert!(settings.rotate_every(Duration::from_secs(1)).check().is_err());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use]
pub struct KeySettings {
    alg: Alg,
    every: Duration,
    ahead: Duration,
    lifetime: Duration,
}

impl KeySettings {
    /// ES256, another key every 30 days, published an hour before it signs, and tokens of the usual lifetime.
    pub const fn new() -> Self {
        let every = Duration::from_secs(30 * 86_400);
        Self { alg: Alg::Es256, every, ahead: Duration::from_secs(3600), lifetime: DEFAULT_TOKEN_LIFETIME }
    }

    /// The algorithm of its signatures. Another one than before is taken up by a rotation.
    pub const fn algorithm(mut self, alg: Alg) -> Self {
        self.alg = alg;
        self
    }

    /// How long a key signs.
    pub const fn rotate_every(mut self, every: Duration) -> Self {
        self.every = every;
        self
    }

    /// How long a key is published before it signs, at least: for as long, verifiers may keep the set without looking.
    pub const fn published_ahead(mut self, ahead: Duration) -> Self {
        self.ahead = ahead;
        self
    }

    /// The longest life of what is signed: [`IssuerConfig::token_lifetime`](crate::IssuerConfig::token_lifetime).
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whether keys can follow each other like that.
    ///
    /// # Errors
    ///
    /// [`SettingsError`].
    pub fn check(&self) -> Result<(), SettingsError> {
        if self.ahead < lead_for(CACHE) || self.ahead > LONGEST {
            return Err(SettingsError::Ahead);
        }
        if self.every < SHORTEST_TURN || self.every < self.ahead || self.every > LONGEST {
            return Err(SettingsError::Every);
        }
        if self.lifetime > MAX_TOKEN_LIFETIME {
            return Err(SettingsError::Lifetime);
        }
        Ok(())
    }

    /// How long a key is published before it signs.
    pub const fn ahead(&self) -> Duration {
        self.ahead
    }

    pub(super) const fn policy(&self) -> Policy {
        let [every, lead, lifetime] = [self.every.as_secs(), self.ahead.as_secs(), self.lifetime.as_secs()];
        Policy { alg: self.alg, every, lead, lifetime }
    }
}

impl Default for KeySettings {
    fn default() -> Self {
        Self::new()
    }
}

/// Keys cannot follow each other like that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SettingsError {
    /// Keys are published for too short or too long a time before they sign.
    Ahead,
    /// Keys sign for too short or too long a time.
    Every,
    /// Tokens live too long.
    Lifetime,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ahead => "is not from 510s, what key sets may be kept for and a margin for clocks, to 366d",
            Self::Every => "is not from 1h, and the time that keys are published ahead, to 366d",
            Self::Lifetime => "tokens live longer than 24h",
        })
    }
}

impl core::error::Error for SettingsError {}
