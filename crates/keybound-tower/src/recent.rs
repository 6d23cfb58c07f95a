//! Proofs that were seen a moment ago, remembered in front of a store that is far away.

use core::fmt;
use core::hash::Hasher as _;

use keybound::crypto::aws_lc::random_array;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;
use parking_lot::Mutex;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

/// How many locks there are.
const SHARDS: usize = 16;

/// A store with a small memory in front, for proofs that come again at once: those are told [`Seen::Before`] without asking the store.
///
/// It never says [`Seen::Never`] by itself. It holds which proofs the store has said to know, until one has expired or another takes
/// its place. Such a proof was used, whatever epoch the store is in since: it stays [`Seen::Before`] where the store would say
/// [`Seen::Forgotten`], which would make a client try again.
///
/// ```
/// use keybound::replay::MemoryStore;
/// use keybound_tower::Recent;
///
/// # fn with(shared: MemoryStore) -> Result<(), keybound::refusal::Fault> {
/// let replays = Recent::new(shared, 1 << 16)?;
/// # drop(replays);
/// # Ok(())
/// # }
/// ```
pub struct Recent<S> {
    store: S,
    key: [u8; 16],
    shards: Box<[Mutex<Box<[Place]>>]>,
}

/// A proof and the last second in which it is one.
#[derive(Clone, Copy)]
struct Place {
    digest: u128,
    expires: UnixTime,
}

impl<S: ReplayStore> Recent<S> {
    /// In front of `store`, with room for about so many proofs, 32 octets each.
    ///
    /// # Errors
    ///
    /// [`Fault::CryptoFailure`] if there are no random numbers.
    pub fn new(store: S, proofs: usize) -> Result<Self, Fault> {
        let empty = Place { digest: 0, expires: UnixTime::from_secs(0) };
        let shard = || Mutex::new(vec![empty; proofs.div_ceil(SHARDS).max(1)].into_boxed_slice());
        Ok(Self { store, key: random_array()?, shards: (0..SHARDS).map(|_| shard()).collect() })
    }

    /// The store behind it.
    pub const fn store(&self) -> &S {
        &self.store
    }

    /// Keyed by what nobody else knows: proofs that fall together cannot be made.
    fn digest(&self, entry: &ReplayEntry<'_>) -> u128 {
        let mut digest = SipHasher24::new_with_key(&self.key);
        entry.digest_input(|octets| digest.write(octets));
        digest.finish128().as_u128()
    }

    fn with<T>(&self, digest: u128, work: impl FnOnce(&mut Place) -> T) -> Option<T> {
        let spread = usize::try_from((digest >> 64) & 0xffff_ffff).unwrap_or(0);
        let mut shard = self.shards.get(spread % SHARDS)?.lock();
        let places = shard.len();
        shard.get_mut(spread / SHARDS % places).map(work)
    }
}

impl<S: ReplayStore> ReplayStore for Recent<S> {
    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let digest = self.digest(entry);
        let is_here = |place: &mut Place| place.digest == digest && now <= place.expires;
        if self.with(digest, is_here) == Some(true) {
            return Ok(Seen::Before);
        }
        let seen = self.store.record(entry, now).await?;
        if matches!(seen, Seen::Never | Seen::Before) {
            self.with(digest, |place| *place = Place { digest, expires: entry.expires() });
        }
        Ok(seen)
    }
}

impl<S: fmt::Debug> fmt::Debug for Recent<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recent").field("store", &self.store).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;
    use keybound::jwk::Thumbprint;
    use keybound::replay::memory::{MemoryLimits, MemoryStore};
    use std::sync::atomic::{AtomicUsize, Ordering};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    /// A store in memory that counts how often it is asked.
    #[derive(Debug)]
    struct Far(MemoryStore, AtomicUsize);

    impl Far {
        fn new() -> Self {
            let store = MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, NOW)).unwrap();
            Self(store, AtomicUsize::new(0))
        }
    }

    impl ReplayStore for Far {
        fn epoch(&self) -> Epoch {
            self.0.epoch()
        }

        async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
            self.1.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            self.0.record_now(entry, now)
        }
    }

    #[tokio::test]
    async fn it_is_a_store() {
        keybound::replay::suite::run(&Recent::new(Far::new(), 1024).unwrap(), "wide", NOW).await;
        keybound::replay::suite::run(&Recent::new(Far::new(), 1).unwrap(), "narrow", NOW).await;
    }

    #[tokio::test]
    async fn what_comes_again_is_not_asked_about() {
        let recent = Recent::new(Far::new(), 1024).unwrap();
        let expires = NOW.plus(Duration::from_secs(300));
        let entry = ReplayEntry::new(Thumbprint::from_bytes([1; 32]), "a", "https://a/", recent.epoch(), expires);
        assert_eq!(recent.record(&entry, NOW).await, Ok(Seen::Never));
        for _ in 0..10 {
            assert_eq!(recent.record(&entry, NOW).await, Ok(Seen::Before));
        }
        assert_eq!(recent.store().1.load(Ordering::Relaxed), 1);
        // What has expired is the store's to judge, and what it does not answer is remembered nowhere.
        let later = expires.plus(Duration::from_secs(100));
        let again = ReplayEntry::new(Thumbprint::from_bytes([1; 32]), "a", "https://a/", recent.epoch(), later);
        assert_eq!(recent.record(&again, later).await, Ok(Seen::Never));
        let forgotten = ReplayEntry::new(Thumbprint::from_bytes([2; 32]), "b", "https://a/", Epoch::new(2, NOW), later);
        assert_eq!(recent.record(&forgotten, NOW).await, Ok(Seen::Forgotten));
        assert_eq!(recent.record(&forgotten, NOW).await, Ok(Seen::Forgotten));
    }
}
