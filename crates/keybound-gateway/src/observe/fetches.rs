//! Counts what issuers are asked for, how long they take, and how old the answers are that are believed.

use core::time::Duration;
use std::time::Instant;

use keybound_tower::fetch::{Fetch, FetchError, Fetching};
use keybound_tower::introspection::{Ask, Asking, Question};
use prometheus_client::metrics::counter::Counter;

use super::labels::{Document, FetchLabels, FetchTimeLabels, Fetched, IssuerLabels, QuestionLabels};
use super::{Families, Histogram};

/// Good ones, failed ones, and the time of both.
#[derive(Debug)]
struct Outcomes {
    good: Counter,
    failed: Counter,
    time: Histogram,
}

impl Outcomes {
    fn count<T>(&self, began: Instant, outcome: Result<T, FetchError>) -> Result<T, FetchError> {
        self.time.observe(began.elapsed());
        if outcome.is_ok() { &self.good } else { &self.failed }.inc();
        outcome
    }
}

/// Fetches for one issuer, and counts.
#[derive(Debug)]
pub(crate) struct MeteredFetch {
    inner: Box<dyn Fetch>,
    metadata: Outcomes,
    keys: Outcomes,
}

impl MeteredFetch {
    pub(super) fn new(inner: Box<dyn Fetch>, issuer: &str, families: &Families) -> Self {
        let outcomes = |document| {
            let count = |result| {
                let labels = FetchLabels { issuer: issuer.into(), document, result };
                families.fetches.get_or_create_owned(&labels)
            };
            let time = FetchTimeLabels { issuer: issuer.into(), document };
            let time = families.fetch_time.get_or_create_owned(&time);
            Outcomes { good: count(Fetched::Good), failed: count(Fetched::Failed), time }
        };
        Self { inner, metadata: outcomes(Document::Metadata), keys: outcomes(Document::Keys) }
    }

    fn outcomes(&self, location: &str) -> &Outcomes {
        const METADATA: [&str; 2] = ["/.well-known/oauth-authorization-server", "/.well-known/openid-configuration"];
        let is_metadata = METADATA.iter().any(|place| location.contains(place));
        if is_metadata { &self.metadata } else { &self.keys }
    }
}

impl Fetch for MeteredFetch {
    fn fetch<'f>(&'f self, location: &'f str) -> Fetching<'f> {
        Box::pin(async move {
            let began = Instant::now();
            let fetched = self.inner.fetch(location).await;
            self.outcomes(location).count(began, fetched)
        })
    }
}

/// Asks one issuer about its tokens, and counts.
#[derive(Debug)]
pub(crate) struct MeteredAsk {
    inner: Box<dyn Ask>,
    outcomes: Outcomes,
    age: Histogram,
}

impl MeteredAsk {
    pub(super) fn new(inner: Box<dyn Ask>, issuer: &str, families: &Families) -> Self {
        let count = |result| families.questions.get_or_create_owned(&QuestionLabels { issuer: issuer.into(), result });
        let labels = IssuerLabels { issuer: issuer.into() };
        let time = families.question_time.get_or_create_owned(&labels);
        let outcomes = Outcomes { good: count(Fetched::Good), failed: count(Fetched::Failed), time };
        Self { inner, outcomes, age: families.answer_age.get_or_create_owned(&labels) }
    }
}

impl Ask for MeteredAsk {
    fn ask<'a>(&'a self, question: Question<'a>) -> Asking<'a> {
        Box::pin(async move {
            let began = Instant::now();
            let said = self.inner.ask(question).await;
            self.outcomes.count(began, said)
        })
    }

    fn believed(&self, age: Duration) {
        self.age.observe(age);
    }
}
