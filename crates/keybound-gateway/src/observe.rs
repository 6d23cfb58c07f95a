//! What is counted, and the latest decisions. Counting is a few atomic additions: each worker has its handles from the start
//! and looks nothing up by name. Labels are bounded: routes as they are configured, reasons of the tables, some clients.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::time::{SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

mod clients;
mod codes;
mod fetches;
mod histogram;
mod issuer;
mod labels;
mod log;
mod meter;
mod replays;
mod ring;
mod sample;
mod upstreams;
mod watch;

use crate::config::Telemetry;
use crate::telemetry::{Counts, Traces};
use clients::Clients;
pub(crate) use fetches::{MeteredAsk, MeteredFetch};
use histogram::Histogram;
pub(crate) use labels::Terms;
use labels::{
    AnswerLabels, CredentialsLabels, FetchLabels, FetchTimeLabels, Handed, IssuerLabels, ListenerLabels, OffsetLabels,
    QuestionLabels, RefusalLabels, ReportLabels, RouteLabels, SpanLabels,
};
pub(crate) use meter::Meter;
use ring::Ring;
pub(crate) use ring::{Decision, MOST_DECISIONS};
pub(crate) use sample::Open;
pub(crate) use watch::{Watch, Worker};

/// Everything that is counted in one process. It outlives the configurations that come and go.
#[derive(Debug)]
pub struct Observe {
    registry: Registry,
    families: Families,
    sampled: sample::Sampled,
    upstreams: upstreams::Upstreams,
    issuers: issuer::Issuers,
    meters: Mutex<Vec<Arc<Meter>>>,
    /// What never reached a route.
    unrouted: Arc<Meter>,
    clients: Clients,
    rings: Box<[Mutex<Ring>]>,
    /// Where requests are traced, if they are.
    traces: Option<Traces>,
    workers: AtomicUsize,
    started: SystemTime,
}

/// The metrics with a label for the route or the issuer.
#[derive(Debug)]
struct Families {
    answers: Family<AnswerLabels, Counter>,
    admissions: Family<CredentialsLabels, Counter>,
    refusals: Family<RefusalLabels, Counter>,
    reports: Family<ReportLabels, Counter>,
    challenges: Family<RouteLabels, Counter>,
    nonces: Family<RouteLabels, Counter>,
    decision_time: Histograms<RouteLabels>,
    upstream_time: Histograms<RouteLabels>,
    offsets: Histograms<OffsetLabels>,
    fetches: Family<FetchLabels, Counter>,
    fetch_time: Histograms<FetchTimeLabels>,
    questions: Family<QuestionLabels, Counter>,
    question_time: Histograms<IssuerLabels>,
    answer_age: Histograms<IssuerLabels>,
}

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

impl Observe {
    /// Nothing has happened yet. Traces go where `telemetry` says, if it does.
    pub(crate) fn new(telemetry: Option<&Telemetry>) -> Result<Arc<Self>, String> {
        let mut registry = Registry::default();
        let started = SystemTime::now();
        process(&mut registry, started);
        let ours = registry.sub_registry_with_prefix("keybound");
        let families = Families::register(ours);
        let sampled = sample::Sampled::register(ours);
        let upstreams = upstreams::Upstreams::register(ours);
        let issuers = issuer::Issuers::register(ours);
        let spans = spans(ours);
        let traces = telemetry.map(|settings| Traces::new(settings, spans)).transpose()?;
        let unrouted = Arc::new(Meter::new(0, "", Terms::None, &families));
        let rings = std::thread::available_parallelism().map_or(1, core::num::NonZero::get);
        Ok(Arc::new(Self {
            registry,
            families,
            sampled,
            upstreams,
            issuers,
            meters: Mutex::new(vec![Arc::clone(&unrouted)]),
            unrouted,
            clients: Clients::default(),
            rings: (0..rings).map(|_| Mutex::new(Ring::default())).collect(),
            traces,
            workers: AtomicUsize::new(0),
            started,
        }))
    }

    /// The handles for a route, the same ones whenever it is asked for: a new configuration goes on counting.
    pub(crate) fn meter(&self, route: &str, terms: Terms) -> Arc<Meter> {
        let mut meters = self.meters.lock();
        if let Some(known) = meters.iter().find(|meter| meter.route() == route && meter.terms() == terms) {
            return Arc::clone(known);
        }
        let meter = Arc::new(Meter::new(meters.len(), route, terms, &self.families));
        meters.push(Arc::clone(&meter));
        meter
    }

    /// One worker's place.
    pub(crate) fn worker(self: &Arc<Self>) -> Worker {
        let number = self.workers.fetch_add(1, Relaxed);
        Worker::new(Arc::clone(self), number % self.rings.len())
    }

    /// Counts fetches of the keys of `issuer`.
    pub(crate) fn metered(&self, issuer: &str, fetch: impl keybound_tower::fetch::Fetch + 'static) -> MeteredFetch {
        MeteredFetch::new(Box::new(fetch), issuer, &self.families)
    }

    /// Counts questions to `issuer`.
    pub(crate) fn metered_ask(
        &self,
        issuer: &str,
        ask: impl keybound_tower::introspection::Ask + 'static,
    ) -> MeteredAsk {
        MeteredAsk::new(Box::new(ask), issuer, &self.families)
    }

    /// The latest decisions of all workers, newest first.
    pub(crate) fn decisions(&self) -> Vec<Decision> {
        let mut all: Vec<_> = self.rings.iter().flat_map(|ring| ring.lock().decisions()).collect();
        all.sort_by_key(|decision| core::cmp::Reverse(decision.at));
        all.truncate(MOST_DECISIONS);
        all
    }

    /// Every meter there is, the one for what reached no route first.
    pub(crate) fn meters(&self) -> Vec<Arc<Meter>> {
        self.meters.lock().clone()
    }

    /// Hands over the spans that there are; there will be no more.
    pub(crate) fn end(&self) {
        if let Some(traces) = &self.traces {
            traces.end();
        }
    }

    /// When the process began to count.
    pub(crate) const fn started(&self) -> SystemTime {
        self.started
    }

    /// OpenMetrics text, once the values that are only looked at have been.
    pub(crate) fn text(&self, engine: &crate::engine::Engine, open: &Open) -> String {
        self.sampled.take(engine, open);
        self.upstreams.take(engine);
        if let Some(issuer) = &engine.issuer {
            self.issuers.take(issuer);
        }
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

/// The metrics of an issuer alone.
#[derive(Debug)]
pub(crate) struct OfIssuer {
    registry: Registry,
    issuers: issuer::Issuers,
    replays: replays::Remembered,
}

impl OfIssuer {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        process(&mut registry, SystemTime::now());
        let ours = registry.sub_registry_with_prefix("keybound");
        let (issuers, replays) = (issuer::Issuers::register(ours), replays::Remembered::register(ours));
        Self { registry, issuers, replays }
    }

    pub(crate) fn text(&self, alone: &crate::engine::IssuerAlone) -> String {
        self.issuers.take(alone.issuer());
        self.replays.take(alone.replays(), alone.replay_memory());
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut text, &self.registry);
        text
    }
}

impl Families {
    fn register(registry: &mut Registry) -> Self {
        let families = Self {
            answers: Family::default(),
            admissions: Family::default(),
            refusals: Family::default(),
            reports: Family::default(),
            challenges: Family::default(),
            nonces: Family::default(),
            decision_time: Family::new_with_constructor(Histogram::of_times),
            upstream_time: Family::new_with_constructor(Histogram::of_times),
            offsets: Family::new_with_constructor(Histogram::of_offsets),
            fetches: Family::default(),
            fetch_time: Family::new_with_constructor(Histogram::of_times),
            questions: Family::default(),
            question_time: Family::new_with_constructor(Histogram::of_times),
            answer_age: Family::new_with_constructor(Histogram::of_ages),
        };
        families.counters(registry);
        families.histograms(registry);
        families
    }

    fn counters(&self, registry: &mut Registry) {
        registry.register(
            "requests",
            "Requests answered, by class of status; canceled: the client went away before",
            self.answers.clone(),
        );
        registry.register("admissions", "Requests let through by a token", self.admissions.clone());
        registry.register("refusals", "Requests kept out or failed, by reason code", self.refusals.clone());
        registry.register(
            "report_refusals",
            "Requests on routes in mode report that required would have refused, by reason and client",
            self.reports.clone(),
        );
        registry.register("nonce_challenges", "Refusals with use_dpop_nonce", self.challenges.clone());
        registry.register("nonces_issued", "Nonces given with an answer", self.nonces.clone());
        registry.register(
            "jwks_fetches",
            "Documents fetched from issuers: metadata and key sets",
            self.fetches.clone(),
        );
        registry.register("introspections", "Questions to issuers about tokens", self.questions.clone());
    }

    fn histograms(&self, registry: &mut Registry) {
        let seconds = || Unit::Seconds;
        registry.register_with_unit(
            "decision",
            "From a whole request header to the decision",
            seconds(),
            self.decision_time.clone(),
        );
        registry.register_with_unit(
            "upstream",
            "From sending a request on to the header of its answer",
            seconds(),
            self.upstream_time.clone(),
        );
        registry.register_with_unit(
            "proof_iat_offset",
            "How far iat of verified proofs was from our clock, behind or ahead of it",
            seconds(),
            self.offsets.clone(),
        );
        registry.register_with_unit(
            "jwks_fetch",
            "How long a document of an issuer took to come",
            seconds(),
            self.fetch_time.clone(),
        );
        registry.register_with_unit(
            "introspection",
            "How long an issuer took to say what a token is",
            seconds(),
            self.question_time.clone(),
        );
        registry.register_with_unit(
            "introspection_answer_age",
            "How old what an issuer had said of a token was when it was believed again",
            seconds(),
            self.answer_age.clone(),
        );
    }
}

/// What becomes of spans.
fn spans(registry: &mut Registry) -> Counts {
    let family = Family::<SpanLabels, Counter>::default();
    registry.register("spans", "Spans of traces: sent, taken by nobody, or dropped for lack of room", family.clone());
    let count = |result| family.get_or_create_owned(&SpanLabels { result });
    Counts { sent: count(Handed::Sent), failed: count(Handed::Failed), dropped: count(Handed::Dropped) }
}

/// What there is to say about the process itself; the start time under the name that every process uses.
fn process(registry: &mut Registry, started: SystemTime) {
    let build = Info::new(vec![("version", env!("CARGO_PKG_VERSION"))]);
    registry.register("keybound_build", "Which keybound this is", build);
    let gauge = Gauge::<f64, AtomicU64>::default();
    gauge.set(started.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64());
    registry.register_with_unit("process_start_time", "When this process began, since 1970", Unit::Seconds, gauge);
}
