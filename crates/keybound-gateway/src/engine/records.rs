//! The replay memory as one configuration may write to it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;

/// Which windows hold: counted up when they change, before the memory has its new epoch.
pub(crate) type Generation = Arc<AtomicU64>;

/// The replay memory, to be written to while the windows are those of one configuration.
///
/// An entry is kept until its `expires`, which follows from the windows of the configuration its proof was judged by. A
/// request may outlive its configuration by as long as its body takes; if the windows have changed meanwhile, it must not leave
/// an entry that goes before its time.
#[derive(Debug)]
pub(crate) struct Records<S> {
    store: Arc<S>,
    generation: Generation,
    own: u64,
}

impl<S> Records<S> {
    /// For the configuration of this number.
    pub(crate) const fn new(store: Arc<S>, generation: Generation, own: u64) -> Self {
        Self { store, generation, own }
    }
}

impl<S: ReplayStore> ReplayStore for Records<S> {
    /// The one in force, so that a nonce that is given now is good under the configuration that comes next.
    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        // Whoever was judged under the epoch that came with other windows finds them changed here. Whoever was judged before is
        // told by the memory that the epoch is over.
        if self.generation.load(Ordering::Acquire) != self.own {
            return Ok(Seen::Forgotten);
        }
        self.store.record(entry, now).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::jwk::Thumbprint;
    use keybound::replay::memory::{MemoryLimits, MemoryStore};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[tokio::test]
    async fn a_configuration_records_under_its_own_windows() {
        let store = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, NOW)).unwrap());
        let entry = |records: &Records<MemoryStore>| {
            let expires = NOW.plus(core::time::Duration::from_secs(300));
            ReplayEntry::new(Thumbprint::from_bytes([1; 32]), "j", "https://a/", records.epoch(), expires)
        };
        let generation = Generation::default();
        let before = Records::new(Arc::clone(&store), Arc::clone(&generation), 0);
        assert_eq!(before.record(&entry(&before), NOW).await, Ok(Seen::Never));
        let judged_before = entry(&before);
        generation.store(1, Ordering::Release);
        store.raise(Epoch::new(2, NOW));
        let after = Records::new(store, generation, 1);
        // Judged before the change, judged after it by what no longer holds, and judged by what holds.
        assert_eq!(before.record(&judged_before, NOW).await, Ok(Seen::Forgotten));
        assert_eq!(after.record(&judged_before, NOW).await, Ok(Seen::Forgotten));
        assert_eq!(before.record(&entry(&before), NOW).await, Ok(Seen::Forgotten));
        assert_eq!(after.record(&entry(&after), NOW).await, Ok(Seen::Before));
    }
}
