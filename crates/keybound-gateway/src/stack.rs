//! The route of one request through the gateway: public origin, path, route, protection, upstream.

use std::rc::Rc;
use std::sync::Arc;

use axum::Router;
use bytes::Bytes;
use http::header::ORIGIN;
use http::request::Parts;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use keybound::refusal::{Denial, Refusal};
use keybound::request::{Origin, RequestPath};
use keybound_tower::answer::complete;
use keybound_tower::{Access, Cors, Judgement, Policy};
use tower::ServiceExt as _;

use crate::answer::Problem;
use crate::body::{Body, RequestBody};
use crate::config::{self, AmbiguousPaths, Mode};
use crate::engine::Engine;
use crate::front::{Handler, Inbound, Peer};
use crate::proxy::{self, Identity, Proxy, Terms, Upstreams};

/// The longest request body the embedded issuer reads.
const ISSUER_BODY: usize = 64 * 1024;

/// One worker's way of answering.
#[derive(Debug)]
pub struct Stack {
    engine: Arc<Engine>,
    proxy: Rc<Proxy>,
    upstreams: Vec<Upstreams>,
    origins: Vec<proxy::Origin>,
    issuer: Option<Router>,
    cors: Cors,
}

impl Stack {
    /// For one worker, whose proxy this is.
    pub fn new(engine: Arc<Engine>, proxy: Rc<Proxy>) -> Self {
        let config = &engine.config;
        Self {
            upstreams: config.routes.iter().map(|route| proxy.upstreams(&route.upstreams)).collect(),
            origins: config.origins.iter().map(proxy::Origin::new).collect(),
            issuer: engine.issuer.as_ref().map(keybound_issuer::Issuer::router),
            cors: Cors::any(),
            proxy,
            engine,
        }
    }

    async fn answer(&self, inbound: Inbound) -> Response<Body> {
        let Inbound { request, peer } = inbound;
        let (mut parts, body) = request.into_parts();
        let origin = match self.engine.server.origins().choose(&parts) {
            Ok(origin) => origin,
            Err(refusal) => return self.refuse(&parts, refusal, &Policy::required()),
        };
        let path = match RequestPath::parse(parts.uri.path()) {
            Ok(path) => path,
            Err(refusal) => return self.refuse(&parts, refusal, &Policy::required()),
        };
        if let Some(router) = self.issuer.as_ref().filter(|_| self.is_issuers(path.as_str())) {
            return issue(router.clone(), parts, body).await;
        }
        let Some(number) = self.engine.config.routes.iter().position(|route| route.path.covers(path.as_str())) else {
            return Problem::RouteUnknown.answer();
        };
        let (route, policy) = (&self.engine.config.routes[number], &self.engine.policies[number]);
        let path = match route.ambiguous_paths {
            AmbiguousPaths::Allow => Ok(path),
            AmbiguousPaths::Refuse => path.unambiguous(),
        };
        let normal = match path {
            Ok(path) => normal_target(&parts.uri, &path),
            Err(refusal) => return self.refuse(&parts, refusal, policy),
        };
        parts.uri = normal;
        let passage = Passage { route, policy, origin, upstreams: &self.upstreams[number] };
        self.pass(passage, parts, body, peer).await
    }

    /// On the terms of the route's mode.
    async fn pass(&self, passage: Passage<'_>, parts: Parts, body: RequestBody, peer: Peer) -> Response<Body> {
        let Passage { route, policy, origin, upstreams } = passage;
        let declared = self.engine.server.origins().iter().position(|one| one == origin).unwrap_or_default();
        let outward = &self.origins[declared];
        let forward = |parts, body, terms| async move {
            let request = Request::from_parts(parts, body);
            self.proxy.forward(Inbound { request, peer }, upstreams, &terms).await
        };
        if route.mode == Mode::Open {
            return forward(parts, body, Terms::unchanged(outward)).await;
        }
        if self.cors.asks(&parts).is_some() {
            return self.cors.answer_preflight(&parts).map(|()| Body::empty());
        }
        let page = parts.headers.get(ORIGIN).cloned();
        let judgement = self.engine.server.decide(&parts, origin, policy).await;
        log(route, &parts, &judgement);
        let (nonce, handling) = (judgement.nonce().cloned(), policy.proof_handling());
        let mut response = match judgement.result() {
            _ if route.mode == Mode::Report => return forward(parts, body, Terms::unchanged(outward)).await,
            Err(denial) => self.engine.server.answer(denial, &judgement, policy).map(text),
            Ok(access) => {
                let identity = identity(access);
                let terms = Terms::vouched(outward, &identity, route.upstream_authorization, route.proof);
                let mut response = forward(parts, body, terms).await;
                complete(response.headers_mut(), nonce.as_ref(), handling);
                response
            }
        };
        self.cors.expose(response.headers_mut(), page.as_ref());
        response
    }

    /// A refusal that has to do with neither token nor proof.
    fn refuse(&self, parts: &Parts, refusal: Refusal, policy: &Policy) -> Response<Body> {
        tracing::info!(reason = refusal.reason().code(), detail = refusal.detail(), "refused");
        let denial = Denial::from(refusal);
        let judgement = Judgement::denied(&parts.headers, denial.clone());
        let mut response = self.engine.server.answer(&denial, &judgement, policy).map(text);
        self.cors.expose(response.headers_mut(), parts.headers.get(ORIGIN));
        response
    }

    /// Whether the embedded issuer answers for this path.
    fn is_issuers(&self, path: &str) -> bool {
        let below = self.engine.config.authorization_server.as_ref().map(|settings| settings.url.path());
        let under =
            |prefix: &str| path.strip_prefix(prefix).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        path.starts_with("/.well-known/oauth-authorization-server") || below.is_some_and(under)
    }
}

/// What was chosen for a request.
struct Passage<'s> {
    route: &'s config::Route,
    policy: &'s Policy,
    origin: &'s Origin,
    upstreams: &'s Upstreams,
}

impl Handler for Stack {
    async fn handle(&self, inbound: Inbound) -> Response<Body> {
        self.answer(inbound).await
    }
}

fn text(body: String) -> Body {
    Body::from(Bytes::from(body))
}

/// The very form that the route was chosen by, and the query as it came.
fn normal_target(uri: &Uri, path: &RequestPath<'_>) -> Uri {
    if uri.path() == path.as_str() {
        return uri.clone();
    }
    let target = match uri.query() {
        Some(query) => format!("{}?{query}", path.as_str()),
        None => path.as_str().to_owned(),
    };
    PathAndQuery::try_from(target).map_or_else(|_| uri.clone(), Uri::from)
}

fn identity(access: &Access) -> Identity {
    let facts = access.facts();
    let scope = facts.scopes().collect::<Vec<_>>().join(" ");
    let identity =
        Identity::default().subject(facts.subject()).client(facts.client_id()).scope(&scope).issuer(facts.issuer());
    match access.admission() {
        Some(admission) => identity.jkt(&admission.jkt().to_string()),
        None => identity,
    }
}

/// The issuer in this process, asked as over HTTP.
pub(crate) async fn issue(router: Router, parts: Parts, body: RequestBody) -> Response<Body> {
    let Ok(whole) = Limited::new(body, ISSUER_BODY).collect().await else {
        return Problem::BodyOversized.answer();
    };
    let request = Request::from_parts(parts, axum::body::Body::new(Full::new(whole.to_bytes())));
    let response: Result<_, core::convert::Infallible> = router.oneshot(request).await;
    match response {
        Ok(response) => response.map(Body::streaming),
        Err(never) => match never {},
    }
}

/// Who was refused and why; the detail is for this place alone.
fn log(route: &config::Route, parts: &Parts, judgement: &Judgement) {
    let (path, method) = (route.path.as_str(), parts.method.as_str());
    match judgement.result() {
        Ok(_) => tracing::debug!(route = path, method, client = judgement.client_id(), "admitted"),
        Err(denial) => {
            let detail = if let Denial::Refused(refusal) = denial { refusal.detail() } else { None };
            tracing::info!(
                route = path,
                method,
                reason = denial.code(),
                detail,
                client = judgement.client_id(),
                iat_offset = judgement.iat_offset(),
                "refused"
            );
        }
    }
}
