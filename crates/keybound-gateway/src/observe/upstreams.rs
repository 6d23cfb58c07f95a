//! How upstream addresses are, looked at when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::labels::{Answered, CheckLabels, CheckedLabels, UpstreamLabels};
use crate::engine::Engine;
use crate::health::{Address, Standing};

#[derive(Debug, Default)]
pub(super) struct Upstreams {
    healthy: Family<CheckLabels, Gauge>,
    checks: Family<CheckedLabels, Counter>,
    unreachable: Family<UpstreamLabels, Counter>,
}

impl Upstreams {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register(
            "upstream_healthy",
            "1 if the upstream answers its health check, 0 if it does not or was not asked yet",
            metrics.healthy.clone(),
        );
        registry.register(
            "upstream_checks",
            "Answers to health checks, and those that did not come",
            metrics.checks.clone(),
        );
        registry.register(
            "upstream_unreachable",
            "Connections to the upstream that could not be made for a request",
            metrics.unreachable.clone(),
        );
        metrics
    }

    /// A new configuration may have other addresses, so that all are written anew.
    pub(super) fn take(&self, engine: &Engine) {
        self.healthy.clear();
        self.checks.clear();
        self.unreachable.clear();
        let mut seen: Vec<&Arc<Address>> = Vec::new();
        for address in engine.upstreams.iter().flatten() {
            if !seen.iter().any(|known| Arc::ptr_eq(known, address)) {
                self.add(address);
                seen.push(address);
            }
        }
    }

    /// Two may differ in what no label tells: then the worse of them counts.
    fn add(&self, address: &Address) {
        let figures = address.figures();
        let upstream: Arc<str> = address.url().to_string().into();
        let labels = UpstreamLabels { upstream: Arc::clone(&upstream) };
        self.unreachable.get_or_create(&labels).inner().fetch_add(figures.unreachable, Relaxed);
        let Some(path) = address.path() else { return };
        let path: Arc<str> = path.into();
        let labels = CheckLabels { upstream: Arc::clone(&upstream), path: Arc::clone(&path) };
        let healthy = i64::from(address.standing() == Standing::Healthy);
        let known = self.healthy.get(&labels).map(|gauge| gauge.get());
        self.healthy.get_or_create(&labels).set(known.map_or(healthy, |known| known.min(healthy)));
        for (result, count) in [(Answered::Good, figures.good), (Answered::Bad, figures.bad)] {
            let labels = CheckedLabels { upstream: Arc::clone(&upstream), path: Arc::clone(&path), result };
            self.checks.get_or_create(&labels).inner().fetch_add(count, Relaxed);
        }
    }
}
