//! What to do when the store of used proofs is full or away: go on with proofs that carry a nonce of this node alone.

use core::fmt;
use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};

use keybound::crypto::aws_lc::random_array;
use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::memory::{LimitsError, MemoryLimits};
use keybound::replay::{Epoch, MemoryStore, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use self::state::State;

mod state;

/// Where the entry with which the store is tried belongs: no proof has this target.
const TRIAL: &str = "keybound:trial";

/// How long such an entry is kept.
const TRIAL_LIFE: Duration = Duration::from_secs(1);

/// A store that, while the one behind it is full or away, admits proofs by nonces of its own.
///
/// When the store fails to record a proof, the state `nonce-only` begins, under an epoch of its own: it is judged that proofs
/// have a nonce which this node has made since, and they are recorded in a small memory of this node, the reserve. Nobody else
/// takes those nonces, so that no other node accepts such a proof, and this one knows those that it has accepted. Any other proof
/// is told [`Seen::Forgotten`], and its client recovers by one retry. A full reserve fails, as a full store does.
///
/// The store is tried with an entry that is nobody's, about once a second. As soon as it takes that, the state ends: its nonces are
/// worth nothing from then on, and this node's barrier is raised.
///
/// Every node of a shared store must judge the nonces it is sent: with [`NoncePolicy::Off`] it would accept a proof of this
/// state once more.
///
/// ```
/// use keybound::replay::MemoryStore;
/// use keybound::replay::memory::MemoryLimits;
/// use keybound_tower::NonceOnly;
///
/// # fn with(shared: MemoryStore) -> Result<(), Box<dyn std::error::Error>> {
/// let replays = NonceOnly::new(shared, MemoryLimits::new().bytes(16 << 20))?;
/// assert!(!replays.figures().is_nonce_only);
/// # Ok(())
/// # }
/// ```
///
/// [`NoncePolicy::Off`]: keybound::verify::NoncePolicy::Off
pub struct NonceOnly<S> {
    store: S,
    reserve: MemoryStore,
    state: RwLock<State>,
    /// One trial at a time.
    trying: Mutex<()>,
    entered: AtomicU64,
    admitted: AtomicU64,
}

/// How it stands with a [`NonceOnly`], and what was counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NonceOnlyFigures {
    /// Whether the state lasts.
    pub is_nonce_only: bool,
    /// How often it began.
    pub entered: u64,
    /// Proofs admitted in it.
    pub admitted: u64,
    /// Proofs refused in it because the reserve was full.
    pub no_room: u64,
}

/// Why there can be no [`NonceOnly`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NonceOnlyError {
    /// No reserve can be made of these limits.
    Limits(LimitsError),
    /// There were no random numbers.
    Random(Fault),
}

impl fmt::Display for NonceOnlyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Limits(error) => error.fmt(f),
            Self::Random(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for NonceOnlyError {}

impl<S: ReplayStore> NonceOnly<S> {
    /// With `store` behind it, and a reserve of these limits.
    ///
    /// # Errors
    ///
    /// [`NonceOnlyError`].
    pub fn new(store: S, reserve: MemoryLimits) -> Result<Self, NonceOnlyError> {
        let key = random_array().map_err(NonceOnlyError::Random)?;
        let reserve = MemoryStore::new(reserve, key, new_epoch().map_err(NonceOnlyError::Random)?);
        Ok(Self {
            store,
            reserve: reserve.map_err(NonceOnlyError::Limits)?,
            state: RwLock::new(State::new()),
            trying: Mutex::new(()),
            entered: AtomicU64::new(0),
            admitted: AtomicU64::new(0),
        })
    }

    /// The store behind it.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// How it stands.
    pub fn figures(&self) -> NonceOnlyFigures {
        NonceOnlyFigures {
            is_nonce_only: self.state.read().stay().is_some(),
            entered: self.entered.load(Ordering::Relaxed),
            admitted: self.admitted.load(Ordering::Relaxed),
            no_room: self.reserve.refused_for_room(),
        }
    }

    /// What was judged up to now and is not recorded in the reserve when this returns, never will be. To be called along with the
    /// same of the store when a window or the nonce policy changes; `epoch` is random and that of nothing else.
    pub fn renew(&self, epoch: u64) {
        let _unchanging = self.state.write();
        self.reserve.raise(Epoch::of_nonces_alone(epoch));
    }

    /// Gives back the memory of what has expired in the reserve, and tries the store if that is due: while nobody asks, nothing else
    /// does. To be called every second or so.
    pub async fn tend(&self, now: UnixTime) {
        self.reserve.sweep(now);
        self.try_store(now).await;
    }

    /// Tries the store, if the state lasts and it is time.
    async fn try_store(&self, now: UnixTime) {
        let is_due = || self.state.read().stay().is_some_and(|stay| stay.is_over(now));
        if !is_due() {
            return;
        }
        let Ok(_one_at_a_time) = self.trying.try_lock() else { return };
        let Ok(random) = random_array::<32>() else { return };
        if !is_due() {
            return;
        }
        let expires = now.plus(TRIAL_LIFE);
        let entry = ReplayEntry::new(Thumbprint::from_bytes(random), "", TRIAL, self.store.epoch(), expires);
        let answer = self.store.record(&entry, now).await; // I/O
        match answer {
            Ok(Seen::Never) => self.leave(now),
            _ => self.state.write().stay_on(now),
        }
    }

    /// Begins the state, unless it began or ended since the store was asked.
    fn enter(&self, asked: u64, fault: Fault, now: UnixTime) {
        let mut state = self.state.write();
        if state.enter(asked, now) {
            self.entered.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                reason = fault.code(),
                "{}: from now on only proofs with a nonce of this node are admitted",
                fault.meaning()
            );
        }
    }

    fn leave(&self, now: UnixTime) {
        let mut state = self.state.write();
        // Without a new epoch the nonces of this state would be good in the next one as well.
        let Ok(next) = new_epoch() else { return state.stay_on(now) };
        self.reserve.raise(next);
        state.leave(now);
        tracing::warn!("the store of used proofs takes entries again: proofs of before need a nonce, once");
    }
}

impl<S: ReplayStore> ReplayStore for NonceOnly<S> {
    fn epoch(&self) -> Epoch {
        // Under the lock, so that the epoch is of the state.
        let state = self.state.read();
        match *state {
            State::Usual { barrier, .. } => self.store.epoch().raised(barrier),
            State::NonceOnly { .. } => self.reserve.epoch(),
        }
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let asked = self.state.read().number();
        let Some(asked) = asked else {
            // It knows its epoch: what was judged under another is forgotten.
            let seen = self.reserve.record_now(entry, now);
            self.admitted.fetch_add(u64::from(seen == Ok(Seen::Never)), Ordering::Relaxed);
            // Only now: the end of the state would be a second retry for this client.
            self.try_store(now).await;
            return seen;
        };
        match self.store.record(entry, now).await {
            Err(fault @ (Fault::ReplayFull | Fault::ReplayUnreachable)) => {
                self.enter(asked, fault, now);
                // It may be recorded, or not. Its client comes again with a nonce.
                Ok(Seen::Forgotten)
            }
            answer => answer,
        }
    }
}

impl<S: fmt::Debug> fmt::Debug for NonceOnly<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceOnly").field("store", &self.store).field("reserve", &self.reserve).finish_non_exhaustive()
    }
}

/// An epoch for the state, which nobody has seen.
fn new_epoch() -> Result<Epoch, Fault> {
    random_array().map(|random| Epoch::of_nonces_alone(u64::from_be_bytes(random)))
}
