//! The memory of used proofs that a configuration asks for, and what happens while it is full or away.

use std::time::SystemTime;

use keybound::crypto::aws_lc::random_array;
use keybound::refusal::Fault;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use keybound_redis::{RedisSettings, RedisStore};
use keybound_tower::{NonceOnly, NonceOnlyFigures};
use parking_lot::RwLock;

use super::{EngineError, random_epoch};
use crate::config::{self, ProofPolicy, ReplayLocation, WhenUnavailable};

/// The memory of used proofs.
#[derive(Debug)]
pub struct Replays(Way);

#[derive(Debug)]
enum Way {
    /// What it does not take is refused.
    Refuse(Kept),
    /// While it takes nothing, nonces of this process count.
    NonceOnly(NonceOnly<Kept>),
}

/// Where used proofs are kept.
#[derive(Debug)]
enum Kept {
    Memory(MemoryStore),
    Redis(Redis),
}

/// A handle that goes by the windows in force.
#[derive(Debug)]
struct Redis(RwLock<RedisStore>);

impl Redis {
    fn open(settings: &RedisSettings, replay: &config::Replay, proof: &ProofPolicy) -> Result<Self, EngineError> {
        let settings = settings.clone().windows(proof.max_age, proof.nonce_lifetime).per_key(replay.per_key);
        let store = RedisStore::connect_on_thread(settings).map_err(|error| EngineError::new("replay.store", error))?;
        Ok(Self(RwLock::new(store)))
    }

    fn handle(&self) -> RedisStore {
        self.0.read().clone()
    }

    fn raise(&self, proof: &ProofPolicy) {
        let handle = self.handle().judged_by(proof.max_age, proof.nonce_lifetime);
        *self.0.write() = handle.clone();
        if let Err(error) = handle.raise_blocking(proof.max_age, proof.nonce_lifetime) {
            tracing::error!("{error}");
        }
    }
}

impl Replays {
    pub(super) fn open(replay: &config::Replay, proof: &ProofPolicy) -> Result<Self, EngineError> {
        let kept = match &replay.store {
            ReplayLocation::Memory => Kept::Memory(memory(replay)?),
            ReplayLocation::Redis(settings) => Kept::Redis(Redis::open(settings, replay, proof)?),
        };
        let fault = |error: &dyn core::fmt::Display| EngineError::new("replay", error);
        Ok(Self(match replay.when_unavailable {
            WhenUnavailable::Refuse => Way::Refuse(kept),
            WhenUnavailable::NonceOnly => {
                let reserve = limits(replay.reserve, replay.per_key);
                Way::NonceOnly(NonceOnly::new(kept, reserve).map_err(|error| fault(&error))?)
            }
        }))
    }

    const fn kept(&self) -> &Kept {
        match &self.0 {
            Way::Refuse(kept) => kept,
            Way::NonceOnly(guarded) => guarded.store(),
        }
    }

    /// The epoch in force.
    pub fn epoch(&self) -> Epoch {
        match &self.0 {
            Way::Refuse(kept) => kept.epoch(),
            Way::NonceOnly(guarded) => guarded.epoch(),
        }
    }

    /// When the epoch of the store itself began, whoever decides at the moment.
    pub(crate) fn began(&self) -> UnixTime {
        match self.kept() {
            Kept::Memory(store) => store.epoch().opened(),
            Kept::Redis(store) => store.0.read().began(),
        }
    }

    /// How it stands with Redis, if that is where proofs are remembered, and where that is.
    pub fn shared(&self) -> Option<(String, keybound_redis::Figures)> {
        match self.kept() {
            Kept::Memory(_) => None,
            Kept::Redis(store) => {
                let store = store.0.read();
                Some((store.settings().to_string(), store.figures()))
            }
        }
    }

    /// Opens this epoch, or one that the store itself draws: what was judged before and is not recorded is [`Seen::Forgotten`].
    /// From now on proofs are judged by these windows.
    pub(crate) fn raise(&self, epoch: Epoch, proof: &ProofPolicy) {
        match self.kept() {
            Kept::Memory(store) => store.raise(epoch),
            Kept::Redis(store) => store.raise(proof),
        }
        if let Way::NonceOnly(guarded) = &self.0 {
            // As unknown to everybody as the other, and not the same.
            guarded.renew(!epoch.id());
        }
    }

    /// How many entries are held in this process, expired ones that were not dropped yet included.
    pub fn entries(&self) -> usize {
        match self.kept() {
            Kept::Memory(store) => store.entries(),
            Kept::Redis(_) => 0,
        }
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        match self.kept() {
            Kept::Memory(store) => store.bytes(),
            Kept::Redis(_) => 0,
        }
    }

    /// How many entries were refused for want of room.
    pub fn refused_for_room(&self) -> u64 {
        match self.kept() {
            Kept::Memory(store) => store.refused_for_room(),
            Kept::Redis(store) => store.0.read().figures().full,
        }
    }

    /// How it stands with the state `nonce-only`, if it is allowed.
    pub fn nonce_only(&self) -> Option<NonceOnlyFigures> {
        match &self.0 {
            Way::Refuse(_) => None,
            Way::NonceOnly(guarded) => Some(guarded.figures()),
        }
    }

    /// What is done while nobody asks: drops what has expired, and looks whether a store that was away is back.
    pub(crate) async fn tend(&self, now: UnixTime) {
        match self.kept() {
            Kept::Memory(store) => store.sweep(now),
            Kept::Redis(_) => {}
        }
        if let Way::NonceOnly(guarded) = &self.0 {
            guarded.tend(now).await;
        }
    }
}

impl ReplayStore for Replays {
    fn epoch(&self) -> Epoch {
        self.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        match &self.0 {
            Way::Refuse(kept) => kept.record(entry, now).await,
            Way::NonceOnly(guarded) => guarded.record(entry, now).await,
        }
    }
}

impl ReplayStore for Kept {
    fn epoch(&self) -> Epoch {
        match self {
            Self::Memory(store) => store.epoch(),
            Self::Redis(store) => store.0.read().epoch(),
        }
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        match self {
            Self::Memory(store) => store.record_now(entry, now),
            Self::Redis(store) => store.handle().record(entry, now).await,
        }
    }
}

fn memory(replay: &config::Replay) -> Result<MemoryStore, EngineError> {
    let random = |error| EngineError::new("random numbers", error);
    let epoch = Epoch::new(random_epoch()?, SystemTime::now().into());
    MemoryStore::new(limits(replay.memory, replay.per_key), random_array().map_err(random)?, epoch)
        .map_err(|error| EngineError::new("replay", error))
}

fn limits(bytes: u64, per_key: u32) -> MemoryLimits {
    MemoryLimits::new().bytes(usize::try_from(bytes).unwrap_or(usize::MAX)).per_key(per_key)
}
