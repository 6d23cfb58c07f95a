//! What is decided about a request that another proxy holds: as [`Stack`](crate::stack::Stack) does, except that nothing is
//! forwarded. How the proxy is told is not here.

use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response};
use keybound::refusal::Denial;
use keybound::request::{announces_form, form_holds_token};
use keybound_tower::answer::complete;
use keybound_tower::{Cors, Judgement, Policy};

use crate::answer::{Asker, Problem, REASON};
use crate::body::Body;
use crate::config::{Mode, Route};
use crate::engine::Engine;
use crate::observe::Watch;
use crate::passage::{answer_preflight, is_encoded};
use crate::proxy::Identity;

/// What becomes of the request.
pub(super) enum Verdict<'e> {
    /// It may pass; nothing is vouched for.
    Unvouched,
    /// It may pass, and it is known who sent it.
    Vouched(Vouched<'e>),
    /// The client gets this instead.
    Answered(Response<Body>),
}

/// What goes with a request that may pass.
pub(super) struct Vouched<'e> {
    /// For whoever the request is for.
    pub(super) identity: Identity,
    pub(super) route: &'e Route,
    /// For the client, beside the answer: a nonce, and what pages may read.
    pub(super) back: HeaderMap,
}

/// Decides about the request. Of `body` there may be the beginning, or nothing: not every proxy sends it.
pub(super) async fn decide<'e>(engine: &'e Engine, parts: &mut Parts, body: &[u8], watch: &Watch<'e>) -> Verdict<'e> {
    let cors = Cors::any();
    let refuse = |parts: &Parts, refusal, policy: &Policy| {
        let response = engine.refuse(parts, refusal, policy, &cors, watch);
        Verdict::Answered(match response.extensions().get::<Denial>().map(Denial::code) {
            Some(code) => with_reason(response, code),
            None => response,
        })
    };
    let (origin, path) = match engine.arrival(parts, None) {
        Ok(arrival) => arrival,
        Err(refusal) => return refuse(parts, refusal, &Policy::required()),
    };
    let Some(passage) = engine.passage(origin, &path) else {
        return match path.unambiguous() {
            Err(refusal) => refuse(parts, refusal, &Policy::required()),
            Ok(_) => problem(Problem::RouteUnknown),
        };
    };
    watch.routed(&engine.meters[passage.number]);
    if let Some(response) = passage.method_unlisted(parts, &cors) {
        return Verdict::Answered(with_reason(response, Problem::MethodUnlisted.code()));
    }
    let target = match passage.target(&parts.uri, path) {
        Ok(target) => target,
        Err(refusal) => return refuse(parts, refusal, passage.policy),
    };
    parts.uri = target;
    let preflight = cors.asks(parts).is_some();
    let judge = || async { judge(engine, parts, body, origin, passage.policy).await };
    match passage.route.mode {
        Mode::Open => return Verdict::Unvouched,
        // A preflight has no credentials that anything could be found out about.
        Mode::Report if preflight => return Verdict::Unvouched,
        Mode::Report if is_closed_form(parts, body) => {
            watch.would_refuse(Problem::FormEncoded.code());
            return Verdict::Unvouched;
        }
        Mode::Report => {
            watch.judged(parts, engine.report(parts, judge().await).await);
            return Verdict::Unvouched;
        }
        // Not 200: a proxy for which 204 is no permission gives it to the client, and the others let the app answer.
        Mode::Required | Mode::Optional if preflight => {
            return Verdict::Answered(answer_preflight(&cors, parts, passage.route));
        }
        Mode::Required | Mode::Optional if is_closed_form(parts, body) => return problem(Problem::FormEncoded),
        Mode::Required | Mode::Optional => {}
    }
    let judgement = watch.judged(parts, judge().await);
    let page = parts.headers.get(ORIGIN);
    match judgement.result() {
        Err(denial) => {
            let mut response = with_reason(engine.deny(denial, judgement, passage.policy), denial.code());
            cors.expose(response.headers_mut(), page);
            Verdict::Answered(response)
        }
        Ok(access) => {
            let identity = match engine.identity(access, parts, origin, passage.route) {
                Ok(identity) => identity,
                Err(failed) => return problem(failed),
            };
            let mut back = HeaderMap::new();
            complete(&mut back, judgement.nonce(), passage.policy.proof_handling());
            cors.expose(&mut back, page);
            Verdict::Vouched(Vouched { identity, route: passage.route, back })
        }
    }
}

async fn judge(engine: &Engine, parts: &Parts, body: &[u8], origin: usize, policy: &Policy) -> Judgement {
    if announces_form(&parts.headers) && form_holds_token(body) {
        return Judgement::token_in_form(&parts.headers);
    }
    engine.judge(parts, origin, policy).await
}

/// A form that is there, and that nobody can look into.
fn is_closed_form(parts: &Parts, body: &[u8]) -> bool {
    !body.is_empty() && announces_form(&parts.headers) && is_encoded(&parts.headers)
}

fn problem<'e>(problem: Problem) -> Verdict<'e> {
    Verdict::Answered(answer(problem))
}

/// The answer to a problem, for a proxy.
pub(super) fn answer(problem: Problem) -> Response<Body> {
    problem.answer_to(Asker::Proxy)
}

fn with_reason(mut response: Response<Body>, code: &'static str) -> Response<Body> {
    response.headers_mut().insert(REASON, HeaderValue::from_static(code));
    response
}
