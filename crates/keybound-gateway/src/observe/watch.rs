//! One request under observation: what is found on the way is noted here, and counted once at the end, whatever the end is.

use core::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http::request::Parts;
use http::{HeaderMap, Method, Response, StatusCode};
use keybound::refusal::{Denial, Refusal};
use keybound_tower::Judgement;
use prometheus_client::metrics::counter::Counter;

use super::labels::ReportLabels;
use super::log::{Line, Marks};
use super::ring::{self, Decision};
use super::{Meter, Observe, Terms};
use crate::answer::Problem;
use crate::body::Body;
use crate::config::LoggedDecisions;
use crate::health::Address;
use crate::telemetry::{Facts, Trace};

/// One worker's place among what is observed.
#[derive(Debug)]
pub(crate) struct Worker {
    observe: Arc<Observe>,
    ring: usize,
    /// What was counted of clients in mode `report`: a few for each, and so looked through.
    reports: RefCell<HashMap<Arc<str>, Vec<Reported>>>,
}

#[derive(Debug)]
struct Reported {
    meter: usize,
    code: &'static str,
    count: Counter,
}

impl Worker {
    pub(super) fn new(observe: Arc<Observe>, ring: usize) -> Self {
        Self { observe, ring, reports: RefCell::default() }
    }

    /// Begins to observe a request, with a span of the trace that these fields of it name, if there are traces.
    pub(crate) fn watch<'w>(
        &'w self,
        method: &Method,
        fields: Option<&HeaderMap>,
        logged: LoggedDecisions,
    ) -> Watch<'w> {
        let method = known(method);
        let traced = self.observe.traces.as_ref().zip(fields);
        Watch {
            worker: self,
            logged,
            method,
            trace: traced.map(|(traces, fields)| Box::new(traces.begin(method, fields))),
            upstream: OnceCell::new(),
            began: Instant::now(),
            meter: Cell::new(&self.observe.unrouted),
            judgement: OnceCell::new(),
            marks: OnceCell::new(),
            refusal: OnceCell::new(),
            would: Cell::new(None),
            problem: Cell::new(None),
            status: Cell::new(None),
        }
    }

    /// Counts and logs a request that was answered before anybody looked at it. It does not push decisions out of the ring.
    pub(crate) fn turned_away(&self, method: Option<&Method>, problem: Problem) {
        let meter = &*self.observe.unrouted;
        meter.answered(Some(problem.status()));
        meter.refused(problem.code());
        let decision = Decision {
            method: method.map(known).unwrap_or_default(),
            status: Some(problem.status().as_u16()),
            reason: Some(problem.code()),
            ..Decision::default()
        };
        Line { decision: &decision, meter, client: "", detail: None, marks: None }.write(LoggedDecisions::Refused);
    }

    /// Counts a request whose client was gone before anybody looked at it.
    pub(crate) fn given_up(&self) {
        self.observe.unrouted.answered(None);
    }

    /// One more that `required` would have refused.
    fn report(&self, meter: &Meter, code: &'static str, client: &str) {
        let mut reports = self.reports.borrow_mut();
        let name = match reports.get_key_value(client) {
            Some((name, _)) => Arc::clone(name),
            None if client.is_empty() => Arc::default(),
            None => self.observe.clients.label(client),
        };
        meter.reported(code);
        let counts = reports.entry(Arc::clone(&name)).or_default();
        if let Some(known) = counts.iter().find(|known| known.meter == meter.number() && known.code == code) {
            known.count.inc();
            return;
        }
        let labels = ReportLabels { route: Arc::clone(meter.shared_route()), reason: code, client: name };
        let count = self.observe.families.reports.get_or_create_owned(&labels);
        count.inc();
        counts.push(Reported { meter: meter.number(), code, count });
    }
}

/// One request. What is known when it is dropped is what is counted: a client that goes away ends it early.
#[derive(Debug)]
pub(crate) struct Watch<'w> {
    worker: &'w Worker,
    logged: LoggedDecisions,
    method: &'static str,
    trace: Option<Box<Trace>>,
    /// The one that took it; looked at for traces alone.
    upstream: OnceCell<Arc<Address>>,
    began: Instant,
    meter: Cell<&'w Meter>,
    judgement: OnceCell<Judgement>,
    marks: OnceCell<Marks>,
    refusal: OnceCell<Refusal>,
    /// What `required` would have refused it for, besides what was decided.
    would: Cell<Option<&'static str>>,
    problem: Cell<Option<Problem>>,
    status: Cell<Option<StatusCode>>,
}

impl<'w> Watch<'w> {
    /// The route it belongs to.
    pub(crate) fn routed(&self, meter: &'w Meter) {
        self.meter.set(meter);
    }

    /// What was decided about it.
    pub(crate) fn judged(&self, parts: &Parts, judgement: Judgement) -> &Judgement {
        self.meter.get().decision_time.observe(self.began.elapsed());
        if super::log::is_wanted(judgement.result().is_ok(), self.logged) {
            let _ = self.marks.set(Marks::of(parts));
        }
        self.judgement.get_or_init(|| judgement)
    }

    /// Refused for something other than token and proof.
    pub(crate) fn refused(&self, refusal: Refusal) {
        let _ = self.refusal.set(refusal);
    }

    /// Let through, and stopped for what came after.
    pub(crate) fn broken_off(&self, denial: &Denial) {
        if let Denial::Refused(refusal) = denial {
            self.refused(refusal.clone());
        }
    }

    /// Let through in mode `report`, where `required` would have refused it for something other than token and proof.
    pub(crate) fn would_refuse(&self, code: &'static str) {
        self.would.set(Some(code));
    }

    /// It is about to be sent on, with these fields. Where it goes is to be noted in what is returned, if anything is.
    pub(crate) fn passed_on(&self, headers: &mut HeaderMap) -> Option<&OnceCell<Arc<Address>>> {
        self.trace.as_ref()?.propagate(headers);
        Some(&self.upstream)
    }

    /// An upstream answered, or did not.
    pub(crate) fn upstream(&self, sent: Instant) {
        self.meter.get().upstream_time.observe(sent.elapsed());
    }

    /// This is the answer.
    pub(crate) fn answered(&self, response: &Response<Body>) {
        self.status.set(Some(response.status()));
        self.problem.set(response.extensions().get::<Problem>().copied());
    }

    /// The code that goes with the end, and what is only for the log.
    fn reason(&self) -> Option<(&'static str, Option<&str>)> {
        if let Some(problem) = self.problem.get() {
            return Some((problem.code(), None));
        }
        if let Some(refusal) = self.refusal.get() {
            return Some((refusal.reason().code(), refusal.detail()));
        }
        if let Some(code) = self.would.get() {
            return Some((code, None));
        }
        let denial = self.judgement.get()?.result().err()?;
        Some((denial.code(), if let Denial::Refused(refusal) = denial { refusal.detail() } else { None }))
    }

    fn count(&self, meter: &Meter, client: &str) {
        meter.answered(self.status.get());
        if let Some(problem) = self.problem.get() {
            meter.refused(problem.code());
        }
        if let Some(refusal) = self.refusal.get() {
            meter.refused(refusal.reason().code());
        }
        if let Some(code) = self.would.get() {
            self.worker.report(meter, code, client);
        }
        let Some(judgement) = self.judgement.get() else { return };
        if let Some(offset) = judgement.iat_offset() {
            let side = if offset > 0 { &meter.ahead } else { &meter.behind };
            side.observe(Duration::from_secs(offset.unsigned_abs()));
        }
        let report = meter.terms() == Terms::Report;
        match judgement.result() {
            Ok(access) if access.admission().is_some() => drop(meter.bound.inc()),
            Ok(_) => drop(meter.bearer.inc()),
            Err(denial) if report => self.worker.report(meter, denial.code(), client),
            Err(denial) => meter.refused(denial.code()),
        }
        if judgement.nonce().is_some() && !report {
            meter.nonces.inc();
        }
        if !report && matches!(judgement.result(), Err(Denial::Refused(refusal)) if refusal.demands_nonce()) {
            meter.challenges.inc();
        }
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        let meter = self.meter.get();
        let judgement = self.judgement.get();
        let client = judgement.and_then(Judgement::client_id).unwrap_or_default();
        self.count(meter, client);
        let trace = self.trace.take();
        let reason = self.reason();
        if let Some(trace) = trace {
            trace.end(&Facts {
                method: self.method,
                route: meter.route(),
                mode: meter.terms().as_str(),
                status: self.status.get().map(|status| status.as_u16()),
                reason: reason.map(|(code, _)| code),
                iat_offset: judgement.and_then(Judgement::iat_offset),
                upstream: self.upstream.get().map(|address| address.url() as &dyn core::fmt::Display),
            });
        }
        // On an open route nothing is decided, and nothing need be noted, unless it went wrong.
        if judgement.is_none() && reason.is_none() {
            return;
        }
        let decision = Decision {
            at: ring::now(),
            meter: meter.number(),
            method: self.method,
            status: self.status.get().map(|status| status.as_u16()),
            reason: reason.map(|(code, _)| code),
            client: String::new(),
            jkt: judgement.and_then(Judgement::jkt).copied(),
            iat_offset: judgement.and_then(Judgement::iat_offset),
        };
        Line {
            decision: &decision,
            meter,
            client,
            detail: reason.and_then(|(_, detail)| detail),
            marks: self.marks.get(),
        }
        .write(self.logged);
        if let Some(ring) = self.worker.observe.rings.get(self.worker.ring) {
            ring.lock().note(decision, client);
        }
    }
}

/// The method by a name of ours: others are as long as a client likes.
fn known(method: &Method) -> &'static str {
    const KNOWN: [(&Method, &str); 9] = [
        (&Method::GET, "GET"),
        (&Method::POST, "POST"),
        (&Method::PUT, "PUT"),
        (&Method::PATCH, "PATCH"),
        (&Method::DELETE, "DELETE"),
        (&Method::HEAD, "HEAD"),
        (&Method::OPTIONS, "OPTIONS"),
        (&Method::CONNECT, "CONNECT"),
        (&Method::TRACE, "TRACE"),
    ];
    KNOWN.iter().find(|(known, _)| *known == method).map_or("other", |(_, name)| name)
}
