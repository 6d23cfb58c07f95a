//! The route of one request through the gateway: public origin, path, route, protection, upstream.

use core::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use http::header::ORIGIN;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use keybound::refusal::{Reason, Refusal};
use keybound::request::{announces_form, authority};
use keybound_issuer::Connection;
use keybound_tower::answer::complete;
use keybound_tower::{Cors, Judgement, Policy};
use tower::ServiceExt as _;

use crate::answer::Problem;
use crate::attestation;
use crate::body::{Body, Found, Later, RequestBody};
use crate::config::{self, Mode};
use crate::engine::Engine;
use crate::front::{Handler, Inbound, Peer};
use crate::metadata::{Resource, published};
use crate::observe::{Watch, Worker};
use crate::passage::{Passage, answer_preflight, is_encoded};
use crate::proxy::{self, Proxy, Terms, Upstreams};
use crate::reload::Live;

/// The longest request body the embedded issuer reads.
const ISSUER_BODY: usize = 64 * 1024;

/// The media type of a key set (RFC 7517 section 8.5.2).
const JWK_SET: &str = "application/jwk-set+json";

/// One worker's way of answering, whatever configuration is in force.
#[derive(Debug)]
pub struct Stack {
    live: Arc<Live>,
    proxy: Rc<Proxy>,
    serving: RefCell<Rc<Serving>>,
    worker: Worker,
}

impl Stack {
    /// For one worker, whose proxy this is.
    pub fn new(live: Arc<Live>, proxy: Rc<Proxy>) -> Self {
        let engine = live.engine();
        let worker = engine.observe().worker();
        let serving = Rc::new(Serving::new(engine, Rc::clone(&proxy)));
        Self { live, proxy, serving: RefCell::new(serving), worker }
    }

    /// What a request that comes now is served by, to its end.
    fn serving(&self) -> Rc<Serving> {
        let engine = self.live.load();
        let mut serving = self.serving.borrow_mut();
        if !Arc::ptr_eq(&serving.engine, &engine) {
            *serving = Rc::new(Serving::new(Arc::clone(&engine), Rc::clone(&self.proxy)));
        }
        Rc::clone(&serving)
    }
}

impl Handler for Stack {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        let serving = self.serving();
        let head = &inbound.head;
        let watch = self.worker.watch(&head.method, Some(&head.headers), serving.engine.config.log.decisions);
        let response = serving.answer(inbound, &watch).await;
        watch.answered(&response);
        response
    }

    fn turned_away(&self, method: Option<&Method>, problem: Problem) {
        self.worker.turned_away(method, problem);
    }

    fn given_up(&self) {
        self.worker.given_up();
    }
}

/// One worker's way of answering under one configuration.
#[derive(Debug)]
struct Serving {
    engine: Arc<Engine>,
    proxy: Rc<Proxy>,
    upstreams: Vec<Upstreams>,
    origins: Vec<proxy::Origin>,
    issuer: Option<Router>,
    cors: Cors,
}

impl Serving {
    fn new(engine: Arc<Engine>, proxy: Rc<Proxy>) -> Self {
        let config = &engine.config;
        let routes = config.routes.iter().zip(&engine.upstreams);
        Self {
            upstreams: routes.map(|(route, addresses)| proxy.upstreams_at(addresses).rewriting(route)).collect(),
            origins: config.origins.iter().map(proxy::Origin::new).collect(),
            issuer: engine.issuer.as_ref().map(keybound_issuer::Issuer::router),
            cors: Cors::any(),
            proxy,
            engine,
        }
    }

    async fn answer<'s>(&'s self, inbound: Inbound, watch: &Watch<'s>) -> Response<Body> {
        let Inbound { head: mut parts, body, peer } = inbound;
        let refuse = |refusal| self.engine.refuse(&parts, refusal, &Policy::required(), &self.cors, watch);
        let forwarded = match peer.is_trusted().then(|| forwarded_host(&parts.headers)).transpose() {
            Ok(forwarded) => forwarded.flatten(),
            Err(refusal) => return refuse(refusal),
        };
        if let Some(router) = self.issuer.as_ref().filter(|_| self.is_for_the_issuer(&parts, forwarded.as_deref())) {
            watch.routed(&self.engine.issuer_meter);
            let connection = Connection::new(self.engine.config.listen.address, peer.address());
            return Box::pin(issue(router.clone(), connection, parts, body)).await;
        }
        let (origin, path) = match self.engine.arrival(&parts, forwarded.as_deref()) {
            Ok(arrival) => arrival,
            Err(refusal) => return refuse(refusal),
        };
        if let Some(router) = self.issuer.as_ref().filter(|_| self.is_issuers(origin, path.as_str())) {
            watch.routed(&self.engine.issuer_meter);
            let connection = Connection::new(self.engine.config.listen.address, peer.address());
            return Box::pin(issue(router.clone(), connection, parts, body)).await;
        }
        let described = |resource: &&Resource| resource.is_described_at(origin, path.as_str());
        if let Some(resource) = self.engine.resources.iter().find(described) {
            return resource.answer(&parts, &self.cors);
        }
        if let Some(attestor) = self.engine.attestor.as_ref().filter(|_| path.as_str() == attestation::WELL_KNOWN) {
            return published(&parts, &self.cors, attestor.jwks(), HeaderValue::from_static(JWK_SET));
        }
        let Some(passage) = self.engine.passage(origin, &path).filter(|passage| !passage.route.upstreams.is_empty())
        else {
            // No route allows it, then.
            return path.unambiguous().map_or_else(refuse, |_| Problem::RouteUnknown.answer());
        };
        watch.routed(&self.engine.meters[passage.number]);
        if let Some(response) = passage.method_unlisted(&parts, &self.cors) {
            return response;
        }
        let target = match passage.target(&parts.uri, path) {
            Ok(target) => target,
            Err(refusal) => return self.engine.refuse(&parts, refusal, passage.policy, &self.cors, watch),
        };
        parts.uri = target;
        let Passage { number, route, policy, .. } = passage;
        let errand = Errand { route, policy, origin, upstreams: &self.upstreams[number], watch };
        self.pass(errand, parts, body, peer).await
    }

    /// On the terms of the route's mode.
    async fn pass(&self, errand: Errand<'_, '_>, head: Box<Parts>, body: RequestBody, peer: Peer) -> Response<Body> {
        let inbound = Inbound { head, body, peer };
        match errand.route.mode {
            Mode::Open => self.forward(&errand, inbound, Terms::unchanged(&self.origins[errand.origin])).await,
            Mode::Report => Box::pin(self.report(&errand, inbound)).await,
            Mode::Required | Mode::Optional => Box::pin(self.protect(&errand, inbound)).await,
        }
    }

    /// On to an upstream.
    async fn forward(&self, errand: &Errand<'_, '_>, mut inbound: Inbound, terms: Terms<'_>) -> Response<Body> {
        let terms = terms.telling(errand.watch.passed_on(&mut inbound.head.headers));
        let sent = Instant::now();
        let response = self.proxy.forward(inbound, errand.upstreams, &terms).await;
        errand.watch.upstream(sent);
        response
    }

    /// Everything passes; what `required` would have refused is noted.
    async fn report(&self, errand: &Errand<'_, '_>, mut inbound: Inbound) -> Response<Body> {
        let watch = errand.watch;
        let mut late = None;
        // A preflight has no credentials that anything could be found out about.
        if self.cors.asks(&inbound.head).is_none() {
            match self.judge(&inbound.head, &mut inbound.body, Later::Tell, errand).await {
                Ok(judgement) => {
                    let judgement = watch.judged(&inbound.head, self.engine.report(&inbound.head, judgement).await);
                    let came = judgement.result().is_ok().then(|| inbound.body.token_came()).flatten();
                    late = came.map(|came| (came, Judgement::token_in_form(&inbound.head.headers)));
                }
                Err(problem @ Problem::FormEncoded) => watch.would_refuse(problem.code()),
                Err(problem) => return problem.answer(),
            }
        }
        let response = self.forward(errand, inbound, Terms::unchanged(&self.origins[errand.origin])).await;
        if let Some((_, denied)) = late.filter(|(came, _)| came.get())
            && let Err(denial) = denied.result()
        {
            watch.would_refuse(denial.code());
        }
        response
    }

    /// Only what may pass passes.
    async fn protect(&self, errand: &Errand<'_, '_>, mut inbound: Inbound) -> Response<Body> {
        if self.cors.asks(&inbound.head).is_some() {
            return answer_preflight(&self.cors, &inbound.head, errand.route);
        }
        let page = inbound.head.headers.get(ORIGIN).cloned();
        let mut response = match self.judge(&inbound.head, &mut inbound.body, Later::BreakOff, errand).await {
            Ok(judgement) => {
                let judgement = errand.watch.judged(&inbound.head, judgement);
                self.judged(errand, inbound, judgement).await
            }
            Err(problem) => problem.answer(),
        };
        self.cors.expose(response.headers_mut(), page.as_ref());
        response
    }

    /// The answer to a request of which this was found.
    async fn judged(&self, errand: &Errand<'_, '_>, inbound: Inbound, judgement: &Judgement) -> Response<Body> {
        let Errand { route, policy, origin, watch, .. } = *errand;
        let access = match judgement.result() {
            Ok(access) => access,
            Err(denial) => return self.engine.deny(denial, judgement, policy),
        };
        let head = &inbound.head;
        // What is answered if a token turns up in the part of a form that is still to come.
        let late = announces_form(&head.headers).then(|| Box::new(Judgement::token_in_form(&head.headers)));
        let identity = match self.engine.identity(access, head, origin, route) {
            Ok(identity) => identity,
            Err(problem) => return problem.answer(),
        };
        let terms = Terms::vouched(&self.origins[origin], &identity, route.upstream_authorization, route.proof);
        let mut response = self.forward(errand, inbound, terms).await;
        if response.extensions().get() == Some(&Problem::TokenInForm)
            && let Some((late, Err(denial))) = late.as_ref().map(|late| (late, late.result()))
        {
            watch.broken_off(denial);
            response = self.engine.deny(denial, late, policy);
        }
        complete(response.headers_mut(), judgement.nonce(), policy.proof_handling());
        response
    }

    /// Decides about a request, the beginning of a form included: a token in it is one too many, or alone and refused as well
    /// (R-RS-10, R-RS-11).
    async fn judge(
        &self,
        parts: &Parts,
        body: &mut RequestBody,
        later: Later,
        errand: &Errand<'_, '_>,
    ) -> Result<Judgement, Problem> {
        if announces_form(&parts.headers) {
            if is_encoded(&parts.headers) {
                return Err(Problem::FormEncoded);
            }
            if body.hold_form(later).await? == Found::Token {
                return Ok(Judgement::token_in_form(&parts.headers));
            }
        }
        Ok(self.engine.judge(parts, errand.origin, errand.policy).await)
    }

    /// Whether the embedded issuer has an origin of its own, and this is a request to it.
    fn is_for_the_issuer(&self, parts: &Parts, forwarded: Option<&str>) -> bool {
        let Some(own) = &self.engine.issuer_origin else { return false };
        let aimed = forwarded.map_or_else(|| authority(parts), Ok);
        aimed.is_ok_and(|aimed| own.named(aimed).is_some())
    }

    /// Whether the embedded issuer answers for this path, where it lives at one of the declared origins.
    fn is_issuers(&self, origin: usize, path: &str) -> bool {
        let Some(settings) = &self.engine.config.authorization_server else { return false };
        let below = path.strip_prefix(settings.url.path());
        let is_under = below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        let is_metadata = path.starts_with("/.well-known/oauth-authorization-server");
        self.engine.issuer_at == Some(origin) && (is_under || is_metadata)
    }
}

/// The host that a trusted peer says the client aimed at: of `X-Forwarded-Host`, or of the last element of `Forwarded`, which is
/// that peer's own (RFC 7239 section 4). One that says it twice says nothing that could be believed.
fn forwarded_host(headers: &HeaderMap) -> Result<Option<String>, Refusal> {
    let invalid = || Refusal::from(Reason::HostInvalid);
    let mut fields = headers.get_all("x-forwarded-host").iter();
    match (fields.next(), fields.next()) {
        (Some(_), Some(_)) => return Err(invalid()),
        (Some(host), None) => {
            let host = host.to_str().map_err(|_| invalid())?.trim();
            return if host.is_empty() || host.contains(',') { Err(invalid()) } else { Ok(Some(host.to_owned())) };
        }
        (None, _) => {}
    }
    let Some(last) = headers.get_all("forwarded").iter().next_back() else { return Ok(None) };
    let element = last.to_str().map_err(|_| invalid())?.rsplit(',').next().unwrap_or_default();
    let mut hosts = element.split(';').filter_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("host").then(|| value.trim().trim_matches('"').to_owned())
    });
    match (hosts.next(), hosts.next()) {
        (host, None) => Ok(host),
        (_, Some(_)) => Err(invalid()),
    }
}

/// What was chosen for a request.
struct Errand<'s, 'w> {
    route: &'s config::Route,
    policy: &'s Policy,
    /// Its position among the declared ones.
    origin: usize,
    upstreams: &'s Upstreams,
    watch: &'s Watch<'w>,
}

/// The issuer in this process, asked as over HTTP.
pub(crate) async fn issue(
    router: Router,
    connection: Connection,
    mut head: Box<Parts>,
    body: RequestBody,
) -> Response<Body> {
    head.extensions.insert(connection);
    let whole = match Limited::new(body, ISSUER_BODY).collect().await {
        Ok(whole) => whole,
        // What is wrong with the body itself, or that there is too much of it.
        Err(error) => return error.downcast_ref().copied().unwrap_or(Problem::BodyOversized).answer(),
    };
    let request = Request::from_parts(*head, axum::body::Body::new(Full::new(whole.to_bytes())));
    let response: Result<_, core::convert::Infallible> = router.oneshot(request).await;
    match response {
        Ok(response) => response.map(Body::streaming),
        Err(never) => match never {},
    }
}
