//! The memory of used proofs that a configuration asks for, and what happens while it is full or away.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use keybound::crypto::aws_lc::random_array;
use keybound::refusal::Fault;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use keybound_postgres::Postgres;
use keybound_redis::Redis;
use keybound_tower::pinned::{ConnectError, PinnedStore, Servers};
use keybound_tower::{FileStore, NonceOnly, NonceOnlyFigures, Recent};
use parking_lot::RwLock;

use super::barrier::judged_by;
use super::shared_ring::{RingStanding, SharedRing};
use super::{EngineError, random_epoch};
use crate::config::{self, Config, ProofPolicy, ReplayLocation, WhenUnavailable};

/// For so many proofs it is remembered here that they are in a store that others share: 2 MiB of them.
const RECENT: usize = 1 << 16;

/// How long servers may take to be there when a process starts: both often start together, and some load their data first.
pub(super) const START: Duration = Duration::from_secs(10);

/// How long after one try there is another.
pub(super) const PAUSE: Duration = Duration::from_millis(500);

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
    File {
        store: FileStore,
        name: String,
    },
    /// A proof that comes again to this process costs no way there.
    Redis(Recent<Shared<Redis>>),
    Postgres(Recent<Shared<Postgres>>),
}

/// How it stands with a store that may fail, and what was counted since the process began.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// As its setting names it, without what is secret.
    pub store: String,
    /// Whether it takes records, as far as is known.
    pub is_there: bool,
    /// Whether it may come back by itself, and whether other processes have it too.
    pub is_shared: bool,
    /// Records that it did not answer in time.
    pub unreachable: u64,
    /// How often it was connected to again.
    pub reconnects: u64,
    /// How often that began a new epoch.
    pub epochs: u64,
}

#[derive(Debug)]
struct Shared<S: Servers> {
    /// Goes by the windows in force.
    handle: RwLock<PinnedStore<S>>,
    /// If the nonce ring is kept there too.
    ring: Option<Arc<SharedRing>>,
}

/// Connects as soon as the servers are there. What does not pass by itself is said at once.
fn connect<S: Servers>(settings: &S::Settings) -> Result<PinnedStore<S>, ConnectError> {
    let (begun, mut said) = (Instant::now(), String::new());
    loop {
        match PinnedStore::connect_on_thread(settings.clone()) {
            Err(error) if !error.is_configuration() && begun.elapsed() + PAUSE < START => {
                let why = error.to_string();
                if why != said {
                    tracing::warn!(store = %settings, %why, "waiting for the replay store");
                    said = why;
                }
                thread::sleep(PAUSE);
            }
            result => return result,
        }
    }
}

impl<S: Servers> Shared<S> {
    fn open(settings: S::Settings, config: &Config) -> Result<Recent<Self>, EngineError> {
        let store: PinnedStore<S> = connect(&settings).map_err(|error| EngineError::new("replay.store", error))?;
        let begin = |kept| SharedRing::begin(store.clone(), kept, config.proof.nonce_lifetime);
        let ring = config.nonce_ring.kept().map(begin).transpose()?;
        let shared = Self { handle: RwLock::new(store), ring };
        Recent::new(shared, RECENT).map_err(|error| EngineError::new("random numbers", error))
    }

    fn handle(&self) -> PinnedStore<S> {
        self.handle.read().clone()
    }

    fn raise(&self, proof: &ProofPolicy) {
        let handle = self.handle().judged_by(proof.max_age, proof.nonce_lifetime);
        *self.handle.write() = handle.clone();
        if let Err(error) = handle.raise_blocking(proof.max_age, proof.nonce_lifetime) {
            tracing::error!("{error}");
        }
    }

    fn standing(&self) -> Standing {
        let store = self.handle.read();
        let figures = store.figures();
        Standing {
            store: store.settings().to_string(),
            is_there: figures.is_there,
            is_shared: true,
            unreachable: figures.unreachable,
            reconnects: figures.reconnects,
            epochs: figures.epochs,
        }
    }
}

impl Replays {
    pub(super) fn open(config: &Config) -> Result<Self, EngineError> {
        let (replay, proof) = (&config.replay, &config.proof);
        let kept = match &replay.store {
            ReplayLocation::Memory => Kept::Memory(memory(replay)?),
            ReplayLocation::File(folder) => {
                let (name, limits) = (format!("file:{}", folder.display()), limits(replay.memory, replay.per_key));
                let store = FileStore::open(folder, limits, &judged_by(config), SystemTime::now().into());
                let store = store.map_err(|error| EngineError::new("replay.store", format!("{name}: {error}")))?;
                Kept::File { store, name }
            }
            ReplayLocation::Redis(settings) => {
                let settings = settings.clone().windows(proof.max_age, proof.nonce_lifetime).per_key(replay.per_key);
                Kept::Redis(Shared::open(settings, config)?)
            }
            ReplayLocation::Postgres(settings) => {
                let settings = settings.clone().windows(proof.max_age, proof.nonce_lifetime).per_key(replay.per_key);
                Kept::Postgres(Shared::open(settings, config)?)
            }
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
            Kept::File { store, .. } => store.epoch().opened(),
            Kept::Redis(store) => store.store().handle.read().began(),
            Kept::Postgres(store) => store.store().handle.read().began(),
        }
    }

    /// How it stands with the store, unless that is the memory of this process.
    pub fn standing(&self) -> Option<Standing> {
        match self.kept() {
            Kept::Memory(_) => None,
            Kept::File { store, name } => {
                let figures = store.figures();
                Some(Standing {
                    store: name.clone(),
                    is_there: figures.is_there,
                    is_shared: false,
                    unreachable: figures.unwritten,
                    reconnects: 0,
                    epochs: 0,
                })
            }
            Kept::Redis(store) => Some(store.store().standing()),
            Kept::Postgres(store) => Some(store.store().standing()),
        }
    }

    /// Opens this epoch, or one that the store itself draws: what was judged before and is not recorded is [`Seen::Forgotten`].
    /// From now on proofs are judged by this configuration.
    pub(crate) fn raise(&self, epoch: Epoch, config: &Config) {
        match self.kept() {
            Kept::Memory(store) => store.raise(epoch),
            Kept::File { store, name } => {
                if let Err(error) = store.raise(&judged_by(config), epoch) {
                    not_written(name, &error);
                }
            }
            Kept::Redis(store) => store.store().raise(&config.proof),
            Kept::Postgres(store) => store.store().raise(&config.proof),
        }
        if let Way::NonceOnly(guarded) = &self.0 {
            // As unknown to everybody as the other, and not the same.
            guarded.renew(!epoch.id());
        }
    }

    /// From now on proofs are judged by this configuration, under the same epoch.
    pub(crate) fn judge_by(&self, config: &Config) {
        if let Kept::File { store, name } = self.kept()
            && let Err(error) = store.judge_by(&judged_by(config))
        {
            not_written(name, &error);
        }
    }

    /// The nonce ring, if it is kept in the store.
    pub(super) fn ring(&self) -> Option<&SharedRing> {
        match self.kept() {
            Kept::Redis(store) => store.store().ring.as_deref(),
            Kept::Postgres(store) => store.store().ring.as_deref(),
            Kept::Memory(_) | Kept::File { .. } => None,
        }
    }

    /// The number of the key that nonces are made by, if their ring is kept in the store.
    pub fn ring_key(&self) -> Option<u8> {
        self.ring().map(|ring| ring.nonces().ring().current_id())
    }

    /// Why that ring cannot be looked at, if it cannot; until it is too old, the one before stays in force.
    pub fn ring_trouble(&self) -> Option<String> {
        self.ring().and_then(SharedRing::trouble)
    }

    /// How it stands with that ring.
    pub fn ring_standing(&self) -> Option<RingStanding> {
        self.ring().map(SharedRing::standing)
    }

    /// How many entries are held in this process, expired ones that were not dropped yet included.
    pub fn entries(&self) -> usize {
        match self.kept() {
            Kept::Memory(store) => store.entries(),
            Kept::File { store, .. } => store.memory().entries(),
            Kept::Redis(_) | Kept::Postgres(_) => 0,
        }
    }

    /// How many bytes they take.
    pub fn bytes(&self) -> usize {
        match self.kept() {
            Kept::Memory(store) => store.bytes(),
            Kept::File { store, .. } => store.memory().bytes(),
            Kept::Redis(_) | Kept::Postgres(_) => 0,
        }
    }

    /// How many entries were refused for want of room.
    pub fn refused_for_room(&self) -> u64 {
        match self.kept() {
            Kept::Memory(store) => store.refused_for_room(),
            Kept::File { store, .. } => store.memory().refused_for_room() + store.figures().no_room,
            Kept::Redis(store) => store.store().handle.read().figures().full,
            Kept::Postgres(store) => store.store().handle.read().figures().full,
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
            Kept::File { store, .. } => store.sweep(now),
            Kept::Redis(_) | Kept::Postgres(_) => {}
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
            Self::File { store, .. } => store.epoch(),
            Self::Redis(store) => store.epoch(),
            Self::Postgres(store) => store.epoch(),
        }
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        match self {
            Self::Memory(store) => store.record_now(entry, now),
            Self::File { store, .. } => store.record(entry, now).await,
            Self::Redis(store) => store.record(entry, now).await,
            Self::Postgres(store) => store.record(entry, now).await,
        }
    }
}

impl<S: Servers> ReplayStore for Shared<S> {
    fn epoch(&self) -> Epoch {
        self.handle.read().epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        // Whoever has not seen the ring for so long is as good as without the store that it is in.
        if self.ring.as_ref().is_some_and(|ring| ring.is_too_old()) {
            return Err(Fault::ReplayUnreachable);
        }
        self.handle().record(entry, now).await
    }
}

/// Proofs go on to be judged by it; a restart may take it for what it was before, and then begins an epoch, or none.
fn not_written(store: &str, error: &std::io::Error) {
    tracing::error!(%store, %error, "what proofs are judged by cannot be written down; remove the folder before a restart");
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
