//! The store as its users hold it: how long a record waits, and for what.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use sha2::{Digest as _, Sha256};
use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout, timeout_at};

use super::keeper::{Keeper, Raise, Standing};
use super::{APART, ConnectError, NotTaken, Pinned as _, Record, Servers, Settings as _};

/// For a new epoch to open.
const RAISE: Duration = Duration::from_secs(3);

/// Remembers proofs on servers, for all nodes that use the same ones.
///
/// A record is one atomic step on a server, which also looks whether it is still in the life that the node knows. A call that has no
/// answer in time fails, and may have recorded.
///
/// Handles are clones of each other: they share the connections, which work on the runtime where [`PinnedStore::connect`] ran.
pub struct PinnedStore<S: Servers> {
    shared: Arc<Shared<S>>,
    /// By which the proofs were judged that come through this handle, in seconds.
    windows: (u64, u64),
}

impl<S: Servers> Clone for PinnedStore<S> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), windows: self.windows }
    }
}

struct Shared<S: Servers> {
    settings: S::Settings,
    pinned: watch::Receiver<Arc<S::Pinned>>,
    raises: mpsc::UnboundedSender<Raise>,
    standing: Arc<Standing>,
    unreachable: AtomicU64,
    full: AtomicU64,
}

/// How it stands with a store, and what was counted since it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Figures {
    /// Whether records can be made, as far as is known.
    pub is_there: bool,
    /// Records that failed because no server answered in time, or none was there.
    pub unreachable: u64,
    /// Records that failed for want of room.
    pub full: u64,
    /// How often the servers were connected to again.
    pub reconnects: u64,
    /// How often that began a new epoch.
    pub epochs: u64,
}

impl<S: Servers> PinnedStore<S> {
    /// Connects, looks at the servers, and takes their epoch or begins one.
    ///
    /// # Errors
    ///
    /// What is wrong with the servers or the way to them: a password, a certificate, a policy by which they would forget.
    pub async fn connect(settings: S::Settings) -> Result<Self, ConnectError> {
        let (store, keeper) = Self::begin(settings).await?;
        tokio::spawn(keeper.keep());
        Ok(store)
    }

    /// The same on a thread of its own, which ends with the last handle: for programs whose runtimes come and go, or that have
    /// none.
    ///
    /// # Errors
    ///
    /// As [`PinnedStore::connect`], and if there can be no thread.
    pub fn connect_on_thread(settings: S::Settings) -> Result<Self, ConnectError> {
        let fault = |error: std::io::Error| ConnectError::passing(error.to_string());
        let runtime = Builder::new_current_thread().enable_all().build().map_err(fault)?;
        let (told, tell) = std::sync::mpsc::channel();
        let work = move || {
            runtime.block_on(async {
                let begun = Self::begin(settings).await;
                let (store, keeper) = begun.map_or_else(|error| (Err(error), None), |(s, k)| (Ok(s), Some(k)));
                if told.send(store).is_ok()
                    && let Some(keeper) = keeper
                {
                    keeper.keep().await;
                }
            });
        };
        std::thread::Builder::new().name("keybound-replays".to_owned()).spawn(work).map_err(fault)?;
        tell.recv().unwrap_or_else(|_| Err(ConnectError::passing("the thread ended")))
    }

    async fn begin(settings: S::Settings) -> Result<(Self, Keeper<S>), ConnectError> {
        let (raises, to_raise) = mpsc::unbounded_channel();
        let standing = Arc::<Standing>::default();
        let (keeper, pinned) = Keeper::begin(settings.clone(), to_raise, Arc::clone(&standing)).await?;
        let (max_age, nonce_lifetime) = settings.windows();
        let windows = (max_age.as_secs(), nonce_lifetime.as_secs());
        let (unreachable, full) = (AtomicU64::new(0), AtomicU64::new(0));
        let shared = Arc::new(Shared { settings, pinned, raises, standing, unreachable, full });
        Ok((Self { shared, windows }, keeper))
    }

    /// A handle for proofs that are judged by other windows than the settings name. Let [`PinnedStore::raise`] come first if they
    /// are longer.
    #[must_use]
    pub fn judged_by(&self, max_age: Duration, nonce_lifetime: Duration) -> Self {
        Self { shared: Arc::clone(&self.shared), windows: (max_age.as_secs(), nonce_lifetime.as_secs()) }
    }

    /// Opens a new epoch on every server: for all nodes, what was judged before and is not recorded yet is
    /// [`Seen::Forgotten`]. Called when proofs are recorded that were not, or for longer: for these windows at least.
    ///
    /// # Errors
    ///
    /// If it takes longer than three seconds, because a server is away. Nothing is recorded here until the epoch has opened, as it
    /// does once the server is back.
    pub async fn raise(&self, max_age: Duration, nonce_lifetime: Duration) -> Result<Epoch, ConnectError> {
        let (done, outcome) = oneshot::channel();
        // Whoever asked may have given up.
        self.ask_to_raise((max_age, nonce_lifetime), move |epoch| {
            let _ = done.send(epoch);
        });
        timeout(RAISE, outcome).await.ok().and_then(Result::ok).ok_or_else(late)
    }

    /// The same, for a thread that has no runtime or may not wait in it. The store has to be one of
    /// [`PinnedStore::connect_on_thread`].
    ///
    /// # Errors
    ///
    /// As [`PinnedStore::raise`].
    pub fn raise_blocking(&self, max_age: Duration, nonce_lifetime: Duration) -> Result<Epoch, ConnectError> {
        let (done, outcome) = std::sync::mpsc::channel();
        self.ask_to_raise((max_age, nonce_lifetime), move |epoch| {
            let _ = done.send(epoch);
        });
        outcome.recv_timeout(RAISE).map_err(|_| late())
    }

    fn ask_to_raise(&self, windows: (Duration, Duration), done: impl FnOnce(Epoch) + Send + 'static) {
        self.shared.standing.raising.fetch_add(1, Ordering::AcqRel);
        // With nobody to take it, nothing is recorded any more anyway.
        drop(self.shared.raises.send(Raise { windows, done: Box::new(done) }));
    }

    /// Whether every proof needs a nonce, whatever the policy of the verifier: [`Settings::needs_nonces`](super::Settings::needs_nonces). The epochs of such a
    /// store are [of nonces alone](Epoch::of_nonces_alone).
    pub fn needs_nonces(&self) -> bool {
        self.shared.settings.needs_nonces()
    }

    /// The settings it was made of.
    pub fn settings(&self) -> &S::Settings {
        &self.shared.settings
    }

    /// When the epoch in force began, whatever counts in it.
    pub fn began(&self) -> UnixTime {
        self.shared.pinned.borrow().began()
    }

    /// How it stands.
    pub fn figures(&self) -> Figures {
        let Shared { standing, unreachable, full, .. } = &*self.shared;
        Figures {
            is_there: !standing.away.load(Ordering::Acquire),
            unreachable: unreachable.load(Ordering::Relaxed),
            full: full.load(Ordering::Relaxed),
            reconnects: standing.pins.load(Ordering::Relaxed),
            epochs: standing.epochs.load(Ordering::Relaxed),
        }
    }

    pub(super) fn pinned(&self) -> Arc<S::Pinned> {
        Arc::clone(&self.shared.pinned.borrow())
    }

    async fn record_by(&self, entry: &ReplayEntry<'_>, now: UnixTime, deadline: Instant) -> Result<Seen, Fault> {
        loop {
            let pinned = self.pinned();
            // Judged in time, and recorded too late: a record of it may be gone, and this one would be for nobody.
            if entry.epoch().id() != pinned.epoch().id() || now > entry.expires() {
                return Ok(Seen::Forgotten);
            }
            if self.shared.standing.raising.load(Ordering::Acquire) > 0 {
                if !self.another(&pinned, deadline).await {
                    return Err(Fault::ReplayUnreachable);
                }
                continue;
            }
            let (answer, answered) = oneshot::channel();
            match pinned.hand_over(self.record_of(entry, now, pinned.windows()), answer) {
                Ok(()) => {
                    let answer = timeout_at(deadline, answered).await;
                    let answer = answer.ok().and_then(Result::ok).unwrap_or(Err(Fault::ReplayUnreachable));
                    if answer == Ok(Seen::Forgotten) {
                        // The nonce that goes with that answer should be of the epoch that comes.
                        self.another(&pinned, deadline).await;
                    }
                    return answer;
                }
                Err(NotTaken::Full) => return Err(Fault::ReplayUnreachable),
                // Nothing was sent. While the servers are looked at again it may wait; when they are away it may not.
                Err(NotTaken::Closed) => {
                    if self.shared.standing.away.load(Ordering::Acquire) || !self.another(&pinned, deadline).await {
                        return Err(Fault::ReplayUnreachable);
                    }
                }
            }
        }
    }

    /// `kept_for` are the windows for which these servers keep records.
    fn record_of(&self, entry: &ReplayEntry<'_>, now: UnixTime, kept_for: (u64, u64)) -> Record {
        let mut hash = Sha256::new();
        entry.digest_input(|octets| hash.update(octets));
        let mut digest = [0; 16];
        digest.copy_from_slice(&hash.finalize()[..16]);
        // Other nodes may judge by longer windows.
        let longer = kept_for.0.saturating_sub(self.windows.0).max(kept_for.1.saturating_sub(self.windows.1));
        let left = entry.expires().since(now).as_secs().saturating_add(1).saturating_add(longer);
        // The clock of the node that records and that of one that is shown the proof again may each be `APART` from the server's,
        // and the question may be under way for a while each time.
        let more = (APART + self.shared.settings.timeout()).saturating_mul(2);
        Record { digest, jkt: *entry.jkt(), keep: Duration::from_secs(left).saturating_add(more) }
    }

    /// Waits until others than these servers are pinned, or the same ones again.
    async fn another(&self, than: &Arc<S::Pinned>, deadline: Instant) -> bool {
        let mut pinned = self.shared.pinned.clone();
        matches!(timeout_at(deadline, pinned.wait_for(|pinned| !Arc::ptr_eq(pinned, than))).await, Ok(Ok(_)))
    }
}

fn late() -> ConnectError {
    ConnectError::passing(
        "no new epoch has opened in time; it will once the replay store is back, and until then nothing is recorded",
    )
}

impl<S: Servers> ReplayStore for PinnedStore<S> {
    fn epoch(&self) -> Epoch {
        self.shared.pinned.borrow().epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let deadline = Instant::now() + self.shared.settings.timeout();
        let answer = self.record_by(entry, now, deadline).await;
        match answer {
            Err(Fault::ReplayFull) => drop(self.shared.full.fetch_add(1, Ordering::Relaxed)),
            Err(_) => drop(self.shared.unreachable.fetch_add(1, Ordering::Relaxed)),
            Ok(_) => {}
        }
        answer
    }
}

impl<S: Servers> fmt::Debug for PinnedStore<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PinnedStore")
            .field("store", &self.shared.settings)
            .field("epoch", &self.epoch())
            .finish_non_exhaustive()
    }
}
