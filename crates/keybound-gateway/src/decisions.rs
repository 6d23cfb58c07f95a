//! The decision listener: another proxy asks about a request that it holds, and gets 200 without a body for one that may pass,
//! or else the very answer that the client is to have. Each question is decided as the gateway would have decided about
//! the request, and its proof recorded; what is in a body, a form with a token for one, is not seen here.

use std::sync::Arc;

use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response};
use keybound::refusal::Denial;
use keybound_tower::answer::complete;
use keybound_tower::{Cors, Policy};

use crate::answer::Problem;
use crate::body::Body;
use crate::config::Mode;
use crate::engine::Engine;
use crate::front::{Handler, Inbound, Peer};
use crate::observe::{Watch, Worker};
use crate::passage::answer_preflight;
use crate::reload::Live;

mod asked;

use asked::Unasked;

/// The code of a refusal, for a proxy that passes on fields and no body.
const REASON: HeaderName = HeaderName::from_static("keybound-reason");

/// One worker's way of answering questions, whatever configuration is in force.
#[derive(Debug)]
pub struct Decisions {
    live: Arc<Live>,
    worker: Worker,
    cors: Cors,
}

impl Decisions {
    /// For one worker of a front that trusts `listen.decision_peers`.
    pub fn new(live: Arc<Live>) -> Self {
        let worker = live.engine().observe().worker();
        Self { live, worker, cors: Cors::any() }
    }
}

impl Handler for Decisions {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let engine = self.live.engine();
        let Inbound { request, peer } = inbound;
        let (question, _body) = request.into_parts();
        let (logged, own_method) = (engine.config.log.decisions, question.method.clone());
        match asked(question, &engine, &peer) {
            Ok(parts) => {
                let watch = self.worker.watch(&parts.method, logged).traced(&parts.headers);
                let response = self.answer(&engine, parts, &watch).await;
                watch.answered(&response);
                response
            }
            Err(problem) => {
                let response = with_reason(problem.answer(), problem.code());
                self.worker.watch(&own_method, logged).answered(&response);
                response
            }
        }
    }

    fn turned_away(&self, method: Option<&Method>, problem: Problem) {
        self.worker.turned_away(method, problem);
    }
}

/// The request that the question is about.
fn asked(question: Parts, engine: &Engine, peer: &Peer) -> Result<Parts, Problem> {
    let from = peer.address();
    if !peer.is_trusted() {
        tracing::error!(%from, "a question to listen.decisions from an address that is not in listen.decision_peers");
        return Err(Problem::DecisionPeer);
    }
    let host_chooses = engine.config.origins.len() > 1;
    asked::about(question, &engine.config.decisions, host_chooses).map_err(|unasked| match unasked {
        Unasked::Client(problem) => problem,
        Unasked::Fault(misset) => {
            tracing::error!(%from, "a question to listen.decisions is not set up as [decisions] says: {misset}");
            Problem::DecisionFields
        }
    })
}

impl Decisions {
    /// As [`Stack`](crate::stack::Stack) does, except that nothing is forwarded.
    async fn answer<'e>(&self, engine: &'e Engine, mut parts: Parts, watch: &Watch<'e>) -> Response<Body> {
        let refuse = |parts: &Parts, refusal, policy: &Policy| {
            let response = engine.refuse(parts, refusal, policy, &self.cors, watch);
            match response.extensions().get::<Denial>().map(Denial::code) {
                Some(code) => with_reason(response, code),
                None => response,
            }
        };
        let (origin, path) = match engine.arrival(&parts, None) {
            Ok(arrival) => arrival,
            Err(refusal) => return refuse(&parts, refusal, &Policy::required()),
        };
        let Some(passage) = engine.passage(origin, &path) else {
            return with_reason(Problem::RouteUnknown.answer(), Problem::RouteUnknown.code());
        };
        watch.routed(&engine.meters[passage.number]);
        if let Some(response) = passage.method_unlisted(&parts, &self.cors) {
            return with_reason(response, Problem::MethodUnlisted.code());
        }
        let target = match passage.target(&parts.uri, path) {
            Ok(target) => target,
            Err(refusal) => return refuse(&parts, refusal, passage.policy),
        };
        parts.uri = target;
        let preflight = self.cors.asks(&parts).is_some();
        match passage.route.mode {
            Mode::Open => return pass(),
            Mode::Report => {
                if !preflight {
                    let judgement = engine.judge(&parts, origin, passage.policy).await;
                    watch.judged(&parts, engine.report(&parts, judgement).await);
                }
                return pass();
            }
            // Not 200: a proxy for which 204 is no permission gives it to the client, and the others let the app answer.
            Mode::Required | Mode::Optional if preflight => {
                return answer_preflight(&self.cors, &parts, passage.route);
            }
            Mode::Required | Mode::Optional => {}
        }
        let judgement = engine.judge(&parts, origin, passage.policy).await;
        let judgement = watch.judged(&parts, judgement);
        let mut response = match judgement.result() {
            Err(denial) => with_reason(engine.deny(denial, judgement, passage.policy), denial.code()),
            Ok(access) => {
                let identity = match engine.identity(access, &parts, origin, passage.route) {
                    Ok(identity) => identity,
                    Err(problem) => return with_reason(problem.answer(), problem.code()),
                };
                let mut response = pass();
                identity.set(response.headers_mut());
                complete(response.headers_mut(), judgement.nonce(), passage.policy.proof_handling());
                response
            }
        };
        self.cors.expose(response.headers_mut(), parts.headers.get(ORIGIN));
        response
    }
}

/// The request may pass; nothing is vouched for.
fn pass() -> Response<Body> {
    Response::new(Body::empty())
}

fn with_reason(mut response: Response<Body>, code: &'static str) -> Response<Body> {
    response.headers_mut().insert(REASON, HeaderValue::from_static(code));
    response
}
