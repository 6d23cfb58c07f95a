//! Counts what is fetched from issuers, and how long it takes.

use std::time::Instant;

use keybound_tower::fetch::{Fetch, Fetching};
use prometheus_client::metrics::counter::Counter;

use super::labels::{FetchLabels, Fetched, IssuerLabels};
use super::{Families, Histogram};

/// Fetches for one issuer, and counts.
#[derive(Debug)]
pub(crate) struct MeteredFetch {
    inner: Box<dyn Fetch>,
    good: Counter,
    failed: Counter,
    time: Histogram,
}

impl MeteredFetch {
    pub(super) fn new(inner: Box<dyn Fetch>, issuer: &str, families: &Families) -> Self {
        let count = |result| families.fetches.get_or_create_owned(&FetchLabels { issuer: issuer.into(), result });
        Self {
            inner,
            good: count(Fetched::Good),
            failed: count(Fetched::Failed),
            time: families.fetch_time.get_or_create_owned(&IssuerLabels { issuer: issuer.into() }),
        }
    }
}

impl Fetch for MeteredFetch {
    fn fetch<'f>(&'f self, location: &'f str) -> Fetching<'f> {
        Box::pin(async move {
            let began = Instant::now();
            let fetched = self.inner.fetch(location).await;
            self.time.observe(began.elapsed());
            if fetched.is_ok() { &self.good } else { &self.failed }.inc();
            fetched
        })
    }
}
