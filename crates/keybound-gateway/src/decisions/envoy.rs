//! `listen.ext_authz`: Envoy asks by gRPC, as its filter `ext_authz` does, and is told by the words of that protocol what becomes
//! of the request, of its fields, and of the fields of the answer.

use std::sync::Arc;

use http::request::Parts;
use http::{Method, Response};

use super::asked::Unasked;
use super::verdict::{self, Verdict, decide};
use crate::answer::Problem;
use crate::body::Body;
use crate::engine::Engine;
use crate::front::{Handler, Inbound};
use crate::observe::Worker;
use crate::reload::Live;
use grpc::{Code, Failure};
use messages::CheckRequest;

mod grpc;
mod messages;
mod question;
mod reply;

/// The one method there is.
const CHECK: &str = "/envoy.service.auth.v3.Authorization/Check";

/// The longest question: the fields of a request, of which Envoy takes 60 KiB unless told otherwise, and of its body as much as
/// Envoy was told to send.
const MOST: usize = 256 << 10;

/// One worker's way of answering Envoy, whatever configuration is in force.
#[derive(Debug)]
pub struct ExtAuthz {
    live: Arc<Live>,
    worker: Worker,
}

impl ExtAuthz {
    /// For one worker of a front that trusts `listen.decision_peers`.
    pub fn new(live: Arc<Live>) -> Self {
        let worker = live.engine().observe().worker();
        Self { live, worker }
    }

    /// Counts a question that could not be answered, and fails its call.
    fn fail(&self, engine: &Engine, head: &Parts, problem: Problem, failure: Failure) -> Response<Body> {
        self.worker.watch(&head.method, None, engine.config.log.decisions).answered(&problem.answer());
        failure.answer(head)
    }

    async fn check(&self, engine: &Engine, asked: CheckRequest) -> Result<Response<Body>, Unasked> {
        let logged = engine.config.log.decisions;
        let question::Question { mut parts, body } = question::about(asked)?;
        let watch = self.worker.watch(&parts.method, Some(&parts.headers), logged);
        let told = match decide(engine, &mut parts, &body, &watch).await {
            Verdict::Unvouched => {
                watch.answered(&Response::new(Body::empty()));
                reply::unvouched(&parts.headers)
            }
            Verdict::Vouched(vouched) => {
                watch.answered(&Response::new(Body::empty()));
                reply::vouched(&vouched, &parts.headers)
            }
            Verdict::Answered(response) => {
                watch.answered(&response);
                reply::denied(response).await
            }
        };
        Ok(grpc::answer(&told))
    }
}

impl Handler for ExtAuthz {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let engine = self.live.engine();
        let Inbound { head, body, peer } = inbound;
        let from = peer.address();
        if !peer.is_trusted() {
            tracing::error!(%from, "a question to listen.ext_authz from an address that is not in listen.decision_peers");
            let failure = Failure(Code::PermissionDenied, "this address is not in decision peers");
            return self.fail(&engine, &head, Problem::DecisionPeer, failure);
        }
        let read = match grpc::calls(&head, CHECK) {
            Ok(()) => grpc::read(body, MOST).await,
            Err(failure) => Err(failure),
        };
        let asked = match read {
            Ok(asked) => asked,
            Err(failure) => {
                tracing::error!(%from, "a question to listen.ext_authz is not one of envoy.service.auth.v3: {}", failure.1);
                return self.fail(&engine, &head, Problem::DecisionFields, failure);
            }
        };
        let problem = match self.check(&engine, asked).await {
            Ok(response) => return response,
            Err(Unasked::Client(problem)) => problem,
            Err(Unasked::Fault(misset)) => {
                tracing::error!(%from, "a question to listen.ext_authz does not tell of the request: {misset}");
                Problem::DecisionFields
            }
        };
        let response = verdict::answer(problem);
        self.worker.watch(&head.method, None, engine.config.log.decisions).answered(&response);
        grpc::answer(&reply::denied(response).await)
    }

    fn turned_away(&self, method: Option<&Method>, problem: Problem) {
        self.worker.turned_away(method, problem);
    }

    fn given_up(&self) {
        self.worker.given_up();
    }
}
