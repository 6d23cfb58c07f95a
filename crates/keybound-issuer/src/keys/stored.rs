//! A key of a store as others see it: what it is for and when, never the key.

use keybound::crypto::Alg;
use keybound::time::UnixTime;
use serde_json::{Map, Value};

use super::ring::{Ring, Slot};

/// The keys of a schedule, in the order in which they sign.
pub(super) fn listed(ring: &Ring, now: UnixTime) -> Vec<StoredKey> {
    let signing = ring.signing(now).map(|key| key.kid.clone());
    let state = |key: &Slot| match &signing {
        Some(kid) if *kid == key.kid => KeyState::Signing,
        _ if key.from > now.as_secs() => KeyState::Next,
        _ => KeyState::Retired,
    };
    let listed = |(position, key): (usize, &Slot)| StoredKey {
        kid: key.kid.clone(),
        alg: key.alg,
        state: state(key),
        published: UnixTime::from_secs(key.made),
        signs: UnixTime::from_secs(key.from),
        retires: ring.until(position).map(UnixTime::from_secs),
        goes: ring.gone(position).map(UnixTime::from_secs),
    };
    ring.keys().iter().enumerate().map(listed).collect()
}

/// A key of a store, without the key.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StoredKey {
    /// Its name.
    pub kid: Box<str>,
    /// What it signs by.
    pub alg: Alg,
    /// What it is for at present.
    pub state: KeyState,
    /// Since when it is in the key set.
    pub published: UnixTime,
    /// Since when it signs.
    pub signs: UnixTime,
    /// When the next one takes over.
    pub retires: Option<UnixTime>,
    /// When it leaves the key set.
    pub goes: Option<UnixTime>,
}

impl StoredKey {
    /// The same as an object, times in seconds since 1970.
    pub fn facts(&self) -> Map<String, Value> {
        let facts = serde_json::json!({
            "kid": self.kid,
            "alg": self.alg.name(),
            "state": self.state.as_str(),
            "published": self.published.as_secs(),
            "signs": self.signs.as_secs(),
            "retires": self.retires.map(UnixTime::as_secs),
            "goes": self.goes.map(UnixTime::as_secs),
        });
        if let Value::Object(facts) = facts { facts } else { Map::new() }
    }
}

/// What a key is for at present.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyState {
    /// It is published and waits for its turn.
    Next,
    /// It signs.
    Signing,
    /// It is published for the tokens that it signed.
    Retired,
}

impl KeyState {
    /// In one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Next => "next",
            Self::Signing => "signing",
            Self::Retired => "retired",
        }
    }
}
