//! The handles of one route's metrics, taken once.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};

use http::StatusCode;
use prometheus_client::metrics::counter::Counter;

use super::labels::{
    AnswerLabels, Class, Credentials, CredentialsLabels, OffsetLabels, RefusalLabels, RouteLabels, Side,
};
use super::{Families, Histogram, Terms, codes};

/// The handles of one route.
#[derive(Debug)]
pub(crate) struct Meter {
    number: usize,
    labels: RouteLabels,
    answers: [Counter; Class::ALL.len()],
    pub(super) bound: Counter,
    pub(super) bearer: Counter,
    /// By number of the code, made when first needed: most never are.
    refusals: Box<[OnceLock<Counter>]>,
    /// The same of what `required` would have refused, for all clients together.
    reported: Box<[AtomicU64]>,
    family: super::Family<RefusalLabels, Counter>,
    pub(super) challenges: Counter,
    pub(super) nonces: Counter,
    pub(super) decision_time: Histogram,
    pub(super) upstream_time: Histogram,
    pub(super) behind: Histogram,
    pub(super) ahead: Histogram,
}

impl Class {
    pub(super) const ALL: [Self; 6] =
        [Self::Informational, Self::Success, Self::Redirection, Self::Client, Self::Server, Self::Canceled];

    fn of(status: Option<StatusCode>) -> usize {
        status.map_or(5, |status| usize::from(status.as_u16() / 100).clamp(1, 5) - 1)
    }
}

impl Meter {
    pub(super) fn new(number: usize, route: &str, mode: Terms, families: &Families) -> Self {
        let route: Arc<str> = route.into();
        let labels = RouteLabels { route: Arc::clone(&route), mode };
        let answers = Class::ALL.map(|status| {
            families.answers.get_or_create_owned(&AnswerLabels { route: Arc::clone(&route), mode, status })
        });
        let credentials = |credentials| {
            families.admissions.get_or_create_owned(&CredentialsLabels { route: Arc::clone(&route), mode, credentials })
        };
        Self {
            number,
            answers,
            bound: credentials(Credentials::Bound),
            bearer: credentials(Credentials::Bearer),
            refusals: (0..codes::count()).map(|_| OnceLock::new()).collect(),
            reported: (0..codes::count()).map(|_| AtomicU64::new(0)).collect(),
            family: families.refusals.clone(),
            challenges: families.challenges.get_or_create_owned(&labels),
            nonces: families.nonces.get_or_create_owned(&labels),
            decision_time: families.decision_time.get_or_create_owned(&labels),
            upstream_time: families.upstream_time.get_or_create_owned(&labels),
            behind: families.offsets.get_or_create_owned(&OffsetLabels { side: Side::Behind }),
            ahead: families.offsets.get_or_create_owned(&OffsetLabels { side: Side::Ahead }),
            labels,
        }
    }

    /// Tells meters apart, whatever configuration they come from.
    pub(super) const fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn route(&self) -> &str {
        &self.labels.route
    }

    pub(super) const fn shared_route(&self) -> &Arc<str> {
        &self.labels.route
    }

    pub(crate) const fn terms(&self) -> Terms {
        self.labels.mode
    }

    /// One more answer; without a status, the client was gone before there was one.
    pub(super) fn answered(&self, status: Option<StatusCode>) {
        self.answers[Class::of(status)].inc();
    }

    /// One more refusal or failure.
    pub(super) fn refused(&self, code: &'static str) {
        let Some(cell) = codes::number(code).and_then(|number| self.refusals.get(number)) else { return };
        let RouteLabels { route, mode } = &self.labels;
        let labels = || RefusalLabels { route: Arc::clone(route), mode: *mode, reason: code };
        cell.get_or_init(|| self.family.get_or_create_owned(&labels())).inc();
    }

    /// One more that `required` would have refused.
    pub(super) fn reported(&self, code: &str) {
        if let Some(count) = codes::number(code).and_then(|number| self.reported.get(number)) {
            count.fetch_add(1, Relaxed);
        }
    }

    /// How often each reason would have been given in mode `required`, on a route in mode `report`.
    pub(crate) fn reports(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let counts = self.reported.iter().map(|count| count.load(Relaxed));
        codes::all().iter().copied().zip(counts).filter(|(_, count)| *count > 0)
    }

    /// How often each reason was given, without those that never were.
    pub(crate) fn refusals(&self) -> impl Iterator<Item = (&'static str, u64)> {
        codes::all().iter().zip(&self.refusals).filter_map(|(code, cell)| Some((*code, cell.get()?.get())))
    }

    /// Requests answered or given up, admissions by a bound token, and by a bearer token.
    pub(crate) fn totals(&self) -> (u64, u64, u64) {
        (self.answers.iter().map(Counter::get).sum(), self.bound.get(), self.bearer.get())
    }
}
