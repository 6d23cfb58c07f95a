//! How it stands with the memory of used proofs and the nonce ring in it, of a gateway or of an issuer alone: looked at when somebody asks.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use crate::engine::Replays;

#[derive(Debug, Default)]
pub(super) struct Remembered {
    entries: Gauge,
    bytes: Gauge,
    limit: Gauge,
    no_room: Counter,
    epoch: Gauge<f64, AtomicU64>,
    nonce_only: Gauge,
    entered: Counter,
    admitted: Counter,
    reserve_full: Counter,
    there: Gauge,
    unreachable: Counter,
    reconnects: Counter,
    epochs: Counter,
    ring_there: Gauge,
    ring_unseen: Gauge<f64, AtomicU64>,
    ring_turns: Counter,
}

impl Remembered {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let sampled = Self::default();
        registry.register("replay_entries", "Used proofs that are remembered in this process", sampled.entries.clone());
        registry.register_with_unit("replay_memory", "What they take", Unit::Bytes, sampled.bytes.clone());
        registry.register_with_unit("replay_memory_limit", "What they may take", Unit::Bytes, sampled.limit.clone());
        registry.register(
            "replay_no_room",
            "Proofs refused because the replay memory was full",
            sampled.no_room.clone(),
        );
        registry.register_with_unit(
            "replay_epoch_start_time",
            "When the replay memory began, since 1970",
            Unit::Seconds,
            sampled.epoch.clone(),
        );
        registry.register(
            "replay_nonce_only",
            "1 while the replay memory is full or away and nonces of this process alone count",
            sampled.nonce_only.clone(),
        );
        registry.register("replay_nonce_only_entered", "How often that began", sampled.entered.clone());
        registry.register("replay_nonce_only_admitted", "Proofs admitted in it", sampled.admitted.clone());
        registry.register(
            "replay_nonce_only_no_room",
            "Proofs refused in it because its reserve was full",
            sampled.reserve_full.clone(),
        );
        registry.register(
            "replay_store_there",
            "1 if used proofs can be recorded, 0 while their store is away or cannot be written to",
            sampled.there.clone(),
        );
        registry.register(
            "replay_store_unreachable",
            "Proofs that could not be recorded because their store did not answer in time or failed",
            sampled.unreachable.clone(),
        );
        registry.register(
            "replay_store_reconnects",
            "How often their store was connected to again",
            sampled.reconnects.clone(),
        );
        registry.register(
            "replay_store_epochs",
            "How often a store that others share may have forgotten",
            sampled.epochs.clone(),
        );
        sampled.register_ring(registry);
        sampled
    }

    fn register_ring(&self, registry: &mut Registry) {
        registry.register(
            "nonce_ring_there",
            "1 unless the nonce ring that is kept in their store could not be seen or opened at the last look",
            self.ring_there.clone(),
        );
        registry.register_with_unit(
            "nonce_ring_unseen",
            "Since that ring was seen; 0 if none is kept there",
            Unit::Seconds,
            self.ring_unseen.clone(),
        );
        registry.register(
            "nonce_ring_turns",
            "How often that ring was turned, by whatever process",
            self.ring_turns.clone(),
        );
    }

    /// `limit`: the bytes that it may take in this process.
    pub(super) fn take(&self, replays: &Replays, limit: u64) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.entries.set(count(replays.entries()));
        self.bytes.set(count(replays.bytes()));
        self.limit.set(i64::try_from(limit).unwrap_or(i64::MAX));
        self.no_room.inner().store(replays.refused_for_room(), Relaxed);
        self.epoch.set(replays.began().as_secs() as f64);
        if let Some(figures) = replays.nonce_only() {
            self.nonce_only.set(i64::from(figures.is_nonce_only));
            self.entered.inner().store(figures.entered, Relaxed);
            self.admitted.inner().store(figures.admitted, Relaxed);
            self.reserve_full.inner().store(figures.no_room, Relaxed);
        }
        let standing = replays.standing();
        self.there.set(standing.as_ref().map_or(1, |standing| i64::from(standing.is_there)));
        if let Some(standing) = standing {
            self.unreachable.inner().store(standing.unreachable, Relaxed);
            self.reconnects.inner().store(standing.reconnects, Relaxed);
            self.epochs.inner().store(standing.epochs, Relaxed);
        }
        let ring = replays.ring_standing();
        self.ring_there.set(ring.map_or(1, |ring| i64::from(ring.is_there)));
        if let Some(ring) = ring {
            self.ring_unseen.set(ring.unseen.as_secs_f64());
            self.ring_turns.inner().store(ring.turns, Relaxed);
        }
    }
}
