//! The nonce ring that processes keep where used proofs are: sealed there, looked at every second on a thread of its own, and turned in time by
//! whoever comes first.

use core::time::Duration;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Instant, SystemTime};

use keybound_tower::pinned::{PinnedStore, Servers};
use keybound_tower::{RingFault, RingKeeper, RingNonces, RingSource};
use parking_lot::Mutex;
use tokio::runtime::Builder;
use tokio::time::sleep;

use self::place::Place;
use super::EngineError;
use super::replays::{PAUSE, START};
use crate::config::KeptRing;

mod place;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(1);

const SETTING: &str = "proof.nonce_sealing_key_file";

/// The ring as this process has it, and how it stands with it. Its thread ends with the last handle.
#[derive(Debug)]
pub(super) struct SharedRing {
    nonces: RingNonces,
    /// Who has not looked for so long may be two turns behind.
    every: Duration,
    seen: Mutex<Instant>,
    turns: AtomicU64,
    trouble: Mutex<Option<String>>,
}

/// How it stands with the nonce ring in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct RingStanding {
    /// Whether the last look found it.
    pub is_there: bool,
    /// How long ago it was seen.
    pub unseen: Duration,
    /// How often it was turned since the process began, by whomever.
    pub turns: u64,
}

impl SharedRing {
    fn new(nonces: RingNonces, every: Duration) -> Self {
        Self { nonces, every, seen: Mutex::new(Instant::now()), turns: AtomicU64::new(0), trouble: Mutex::default() }
    }

    /// Takes the ring that is there, or makes one.
    pub(super) fn begin<S: Servers>(
        store: PinnedStore<S>,
        kept: &KeptRing,
        lifetime: Duration,
    ) -> Result<Arc<Self>, EngineError> {
        let fault = |error: &dyn core::fmt::Display| EngineError::new(SETTING, error);
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|error| fault(&error))?;
        let every = kept.rotate_every;
        let place = || Place::new(store.clone(), kept.sealing.clone());
        // Whoever calls may be inside of a runtime, which one cannot wait in.
        let beginning = || runtime.block_on(taken(place, lifetime, every));
        let begun = std::thread::scope(|scope| scope.spawn(beginning).join());
        let begun = begun.map_err(|_| fault(&"the thread that takes the ring has ended"))?;
        let keeper = begun.map_err(|error| fault(&words(error)))?;
        let ring = Arc::new(Self::new(keeper.nonces().clone(), every));
        let weak = Arc::downgrade(&ring);
        let work = move || runtime.block_on(keep(&keeper, &weak));
        std::thread::Builder::new().name("keybound-ring".to_owned()).spawn(work).map_err(|error| fault(&error))?;
        Ok(ring)
    }

    /// The nonces under the ring, which change with it.
    pub(super) const fn nonces(&self) -> &RingNonces {
        &self.nonces
    }

    /// Whether it was seen so long ago that nonces of other processes may be unknown here, and ours to them.
    pub(super) fn is_too_old(&self) -> bool {
        self.age() > self.every
    }

    /// Why it cannot be looked at, if it cannot.
    pub(super) fn trouble(&self) -> Option<String> {
        let trouble = self.trouble.lock().clone();
        trouble.map(|why| format!("the nonce ring, seen {} s ago: {why}", self.age().as_secs()))
    }

    pub(super) fn standing(&self) -> RingStanding {
        RingStanding {
            is_there: self.trouble.lock().is_none(),
            unseen: self.age(),
            turns: self.turns.load(Ordering::Relaxed),
        }
    }

    fn age(&self) -> Duration {
        self.seen.lock().elapsed()
    }

    fn note(&self, outcome: Result<(), RingFault>) {
        let mut trouble = self.trouble.lock();
        match outcome {
            Ok(()) => {
                *self.seen.lock() = Instant::now();
                if trouble.take().is_some() {
                    tracing::info!("the nonce ring in the replay store is there again");
                }
            }
            Err(error) => {
                let why = words(error);
                if trouble.as_ref() != Some(&why) {
                    tracing::error!(%why, "the nonce ring in the replay store; the one before stays in force");
                }
                *trouble = Some(why);
            }
        }
    }
}

/// Takes the ring that is at the place, or makes one there, as soon as the place answers: as long as the store is waited for.
async fn taken<R: RingSource>(
    place: impl Fn() -> R,
    lifetime: Duration,
    every: Duration,
) -> Result<RingKeeper<R>, RingFault> {
    let (begun, mut waits) = (Instant::now(), false);
    loop {
        match RingKeeper::begin(place(), lifetime, every, SystemTime::now().into()).await {
            Err(RingFault::Away(why)) if begun.elapsed() + PAUSE < START => {
                if !core::mem::replace(&mut waits, true) {
                    tracing::warn!(%why, "waiting for the nonce ring in the replay store");
                }
                sleep(PAUSE).await;
            }
            result => return result,
        }
    }
}

/// Looks until nobody has the ring any more.
async fn keep<S: Servers>(keeper: &RingKeeper<Place<PinnedStore<S>>>, ring: &Weak<SharedRing>) {
    let mut current = keeper.nonces().ring().current_id();
    loop {
        sleep(LOOK).await;
        // Whoever has let go of it changes nothing there any more.
        if ring.strong_count() == 0 {
            return;
        }
        let outcome = keeper.look(SystemTime::now().into()).await;
        let Some(ring) = ring.upgrade() else { return };
        ring.note(outcome);
        let key = keeper.nonces().ring().current_id();
        if key != core::mem::replace(&mut current, key) {
            ring.turns.fetch_add(1, Ordering::Relaxed);
            tracing::info!(key, "the nonce ring was turned");
        }
    }
}

fn words(error: RingFault) -> String {
    match error {
        RingFault::Broken(_) => {
            "what is in the replay store was sealed under another key, or is no ring; give every process \
                                 the same key, or delete it there"
                .to_owned()
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::nonce::{NonceKey, NonceRing};
    use keybound::refusal::Fault;
    use zeroize::Zeroizing;

    /// A place that is away as often as it is asked, until it was asked so often.
    #[derive(Debug)]
    struct Away<'a>(&'a AtomicU64);

    impl RingSource for Away<'_> {
        async fn load(&self) -> Result<Option<Zeroizing<String>>, Fault> {
            if self.0.fetch_sub(1, Ordering::Relaxed) == 0 { Ok(None) } else { Err(Fault::ReplayUnreachable) }
        }

        async fn replace(&self, _: Option<&str>, _: &str) -> Result<bool, Fault> {
            Ok(true)
        }
    }

    #[tokio::test]
    async fn a_place_that_does_not_answer_at_once_is_waited_for() {
        let (life, every) = (Duration::from_secs(60), Duration::from_secs(3600));
        let times = AtomicU64::new(2);
        assert!(taken(|| Away(&times), life, every).await.is_ok());
    }

    #[test]
    fn what_was_not_seen_for_a_turn_is_too_old() {
        let every = Duration::from_secs(60);
        let nonces = RingNonces::new(NonceRing::new(NonceKey::new(1, [1; 32])));
        let seen = |ago| Mutex::new(Instant::now().checked_sub(Duration::from_secs(ago)).unwrap());
        let ring = SharedRing { seen: seen(50), ..SharedRing::new(nonces, every) };
        assert!(!ring.is_too_old() && ring.trouble().is_none() && ring.standing().is_there);
        ring.note(Err(Fault::ReplayUnreachable.into()));
        assert!(ring.trouble().unwrap().contains("the nonce ring, seen 5"));
        let ring = SharedRing { seen: seen(61), ..ring };
        assert!(ring.is_too_old() && !ring.standing().is_there && ring.standing().unseen > every);
        ring.note(Ok(()));
        assert!(!ring.is_too_old() && ring.trouble().is_none() && ring.standing().is_there);
    }
}
