//! The decision listener: another proxy asks about a request that it holds, and gets 200 without a body for one that may pass,
//! or else the very answer that the client is to have. Each question is decided as the gateway would have decided about
//! the request, and its proof recorded; what is in a body, a form with a token for one, is not seen here. Envoy, which
//! asks by gRPC, is answered in `envoy`.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};

use crate::answer::Problem;
use crate::body::Body;
use crate::engine::Engine;
use crate::front::{Handler, Inbound, Peer};
use crate::observe::Worker;
use crate::reload::Live;

mod asked;
mod envoy;
mod verdict;

use asked::Unasked;
pub use envoy::ExtAuthz;
use verdict::{Verdict, Vouched, decide};

/// One worker's way of answering questions, whatever configuration is in force.
#[derive(Debug)]
pub struct Decisions {
    live: Arc<Live>,
    worker: Worker,
}

impl Decisions {
    /// For one worker of a front that trusts `listen.decision_peers`.
    pub fn new(live: Arc<Live>) -> Self {
        let worker = live.engine().observe().worker();
        Self { live, worker }
    }
}

impl Handler for Decisions {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let engine = self.live.engine();
        let Inbound { head: question, peer, .. } = inbound;
        let (logged, own_method) = (engine.config.log.decisions, question.method.clone());
        match asked(*question, &engine, &peer) {
            Ok(mut parts) => {
                let watch = self.worker.watch(&parts.method, Some(&parts.headers), logged);
                let response = told(decide(&engine, &mut parts, &[], &watch).await);
                watch.answered(&response);
                response
            }
            Err(problem) => {
                let response = verdict::answer(problem);
                self.worker.watch(&own_method, None, logged).answered(&response);
                response
            }
        }
    }

    fn turned_away(&self, method: Option<&Method>, problem: Problem) {
        self.worker.turned_away(method, problem);
    }

    fn given_up(&self) {
        self.worker.given_up();
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

/// As the proxy is told by HTTP.
fn told(verdict: Verdict<'_>) -> Response<Body> {
    match verdict {
        Verdict::Answered(response) => response,
        Verdict::Unvouched => Response::new(Body::empty()),
        Verdict::Vouched(Vouched { identity, back, .. }) => {
            let mut response = Response::new(Body::empty());
            *response.headers_mut() = back;
            identity.set(response.headers_mut());
            response
        }
    }
}
