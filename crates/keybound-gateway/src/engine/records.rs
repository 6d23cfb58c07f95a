//! The replay memory as one configuration may write to it.

use core::future::{self, Future};
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::replay::memory::MemoryStore;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore, Seen};
use keybound::time::UnixTime;

/// The replay memory, to be written to under one epoch.
///
/// An entry is found again by its `expires`, which follows from the windows of the configuration its proof was judged by. A
/// request may outlive its configuration by as long as its body takes; if the windows have changed meanwhile, so has the
/// epoch, and then it must not leave an entry where nobody looks for it.
#[derive(Debug)]
pub(crate) struct Records {
    store: Arc<MemoryStore>,
    epoch: u64,
}

impl Records {
    pub(crate) const fn new(store: Arc<MemoryStore>, epoch: u64) -> Self {
        Self { store, epoch }
    }
}

impl ReplayStore for Records {
    /// The one in force, so that a nonce that is given now is good under the configuration that comes next.
    fn epoch(&self) -> Epoch {
        self.store.epoch()
    }

    fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> impl Future<Output = Result<Seen, Fault>> + Send {
        future::ready(if entry.epoch().id() == self.epoch {
            self.store.record_now(entry, now)
        } else {
            Ok(Seen::Forgotten)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::jwk::Thumbprint;
    use keybound::replay::memory::MemoryLimits;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);

    #[tokio::test]
    async fn a_configuration_records_under_its_own_epoch() {
        let store = Arc::new(MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, NOW)).unwrap());
        let entry = |records: &Records| {
            let expires = NOW.plus(core::time::Duration::from_secs(300));
            ReplayEntry::new(Thumbprint::from_bytes([1; 32]), "j", "https://a/", records.epoch(), expires)
        };
        let before = Records::new(Arc::clone(&store), 1);
        assert_eq!(before.record(&entry(&before), NOW).await, Ok(Seen::Never));
        let judged_before = entry(&before);
        store.raise(Epoch::new(2, NOW));
        let after = Records::new(store, 2);
        // Judged before the change, judged after it by what no longer holds, and judged by what holds.
        assert_eq!(before.record(&judged_before, NOW).await, Ok(Seen::Forgotten));
        assert_eq!(before.record(&entry(&before), NOW).await, Ok(Seen::Forgotten));
        assert_eq!(after.record(&entry(&after), NOW).await, Ok(Seen::Before));
    }
}
