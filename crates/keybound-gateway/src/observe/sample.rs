//! Values that are looked at when somebody asks: the keys of issuers, connections, and with `replays.rs` the replay memory.

use std::sync::atomic::AtomicU64;

use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::replays::Remembered;
use super::{IssuerLabels, ListenerLabels};
use crate::engine::Engine;

type Real = Gauge<f64, AtomicU64>;

/// Connections that are open.
#[derive(Debug, Default)]
pub(crate) struct Open {
    /// Of clients.
    pub(crate) clients: usize,
    /// Of other proxies, by the name of the listener in `[listen]`.
    pub(crate) deciding: Vec<(&'static str, usize)>,
}

#[derive(Debug, Default)]
pub(super) struct Sampled {
    connections: Gauge,
    deciding: Family<ListenerLabels, Gauge>,
    replays: Remembered,
    usable: Family<IssuerLabels, Gauge>,
    age: Family<IssuerLabels, Real>,
}

impl Sampled {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let sampled = Self { replays: Remembered::register(registry), ..Self::default() };
        registry.register("connections", "Connections of clients that are open", sampled.connections.clone());
        registry.register(
            "decision_connections",
            "Connections that are open of proxies that ask, by the listener",
            sampled.deciding.clone(),
        );
        registry.register(
            "issuer_keys_usable",
            "1 if tokens of the issuer can be judged, 0 if its keys are missing or too old",
            sampled.usable.clone(),
        );
        registry.register_with_unit(
            "issuer_keys_age",
            "Since its keys were fetched",
            Unit::Seconds,
            sampled.age.clone(),
        );
        sampled
    }

    pub(super) fn take(&self, engine: &Engine, open: &Open) {
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.connections.set(count(open.clients));
        for &(listener, connections) in &open.deciding {
            self.deciding.get_or_create(&ListenerLabels { listener }).set(count(connections));
        }
        self.replays.take(engine.replays(), engine.config.replay.memory);
        // A new configuration may have other issuers.
        self.usable.clear();
        self.age.clear();
        for state in engine.server.key_states() {
            let labels = IssuerLabels { issuer: (*state.issuer).into() };
            self.usable.get_or_create(&labels).set(i64::from(state.usable));
            if let Some(age) = state.age {
                self.age.get_or_create(&labels).set(age.as_secs_f64());
            }
        }
    }
}
