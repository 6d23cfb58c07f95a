//! A histogram of atomics: the one of the library takes a lock for each value.

use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use core::time::Duration;
use std::sync::Arc;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// In seconds: a decision takes some 100 µs, an upstream anything up to its timeout.
const TIMES: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0, 60.0,
];

/// In seconds: whole ones, for that is what `iat` has; around the usual windows.
const OFFSETS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 3600.0];

/// In seconds: what an issuer said of a token is believed for 5 minutes at most.
const AGES: &[f64] = &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0];

/// Counts values by size. Clones are the same histogram.
#[derive(Clone)]
pub(crate) struct Histogram(Arc<Counts>);

struct Counts {
    bounds: &'static [f64],
    /// One for each bound, and one for what is above them all.
    counts: Box<[AtomicU64]>,
    microseconds: AtomicU64,
}

impl Histogram {
    /// For times.
    pub(super) fn of_times() -> Self {
        Self::new(TIMES)
    }

    /// For offsets of clocks.
    pub(super) fn of_offsets() -> Self {
        Self::new(OFFSETS)
    }

    /// For ages of answers.
    pub(super) fn of_ages() -> Self {
        Self::new(AGES)
    }

    fn new(bounds: &'static [f64]) -> Self {
        let counts = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new(Counts { bounds, counts, microseconds: AtomicU64::new(0) }))
    }

    /// Counts one.
    pub(super) fn observe(&self, value: Duration) {
        let Counts { bounds, counts, microseconds } = &*self.0;
        let seconds = value.as_secs_f64();
        let bucket = bounds.iter().position(|bound| seconds <= *bound).unwrap_or(bounds.len());
        counts[bucket].fetch_add(1, Relaxed);
        microseconds.fetch_add(u64::try_from(value.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }
}

impl TypedMetric for Histogram {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Histogram {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> fmt::Result {
        let Counts { bounds, counts, microseconds } = &*self.0;
        let bounds = bounds.iter().copied().chain([f64::MAX]);
        let buckets: Vec<_> = bounds.zip(counts.iter().map(|count| count.load(Relaxed))).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let sum = Duration::from_micros(microseconds.load(Relaxed)).as_secs_f64();
        encoder.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Histogram").finish_non_exhaustive()
    }
}
