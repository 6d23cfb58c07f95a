//! The administration of an issuer: that of the embedded one beside the console, and the admin listener of an issuer alone.

use core::net::IpAddr;
use std::sync::Arc;

use http::request::Parts;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use keybound_issuer::Issuer;
use serde_json::json;
use tokio::sync::watch;
use tower::ServiceExt as _;

use super::answer::{self, Answer};
use super::routes::{METRICS, not_allowed, refused, stranger};
use super::serve::Exhibit;
use super::{guard, ready};
use crate::config::AdminSecret;
use crate::engine::IssuerAlone;
use crate::front::Stop;
use crate::observe::OfIssuer;

/// Of an answer that is put together here, a page of five hundred entries.
const MOST_ANSWER: usize = 4 << 20;

/// Whether this is a path of the administration.
pub(super) fn is_administration(path: &str) -> bool {
    path == "/openapi.json" || path == "/v1" || path.starts_with("/v1/")
}

/// What the administration answers. Where the console needs no secret, this does.
pub(super) async fn administer(
    issuer: Option<&Issuer>,
    secret: Option<&AdminSecret>,
    parts: Parts,
    body: Incoming,
) -> Answer {
    let Some(issuer) = issuer else {
        return answer::error(StatusCode::NOT_FOUND, "there is no [authorization_server] here to administer");
    };
    let Some(secret) = secret.and_then(AdminSecret::for_issuer) else {
        let words = "set listen.admin_secret or listen.admin_secret_file: whoever administers an issuer must know it";
        return answer::error(StatusCode::FORBIDDEN, words);
    };
    let router = issuer.administration().router(secret);
    let request = Request::from_parts(parts, axum::body::Body::new(body));
    let answered: Result<_, core::convert::Infallible> = router.oneshot(request).await;
    let Ok(response) = answered;
    let (parts, body) = response.into_parts();
    match Limited::new(body, MOST_ANSWER).collect().await {
        Ok(whole) => answer::dressed(parts, whole.to_bytes()),
        Err(_) => answer::error(StatusCode::INTERNAL_SERVER_ERROR, "the answer is too long; ask with a smaller limit"),
    }
}

/// An issuer that runs alone, as its admin listener shows it.
#[derive(Debug)]
#[must_use = "nothing is shown before Admin::start_issuer"]
pub struct ShownIssuer {
    alone: Arc<IssuerAlone>,
    secret: Option<AdminSecret>,
    stopping: watch::Receiver<bool>,
    metrics: OfIssuer,
}

impl ShownIssuer {
    /// Of which everybody sees the health, and whoever knows the secret the rest; from `stop` on it is not ready any more.
    pub fn new(alone: &Arc<IssuerAlone>, secret: Option<AdminSecret>, stop: &Stop) -> Self {
        Self { alone: Arc::clone(alone), secret, stopping: stop.watch(), metrics: OfIssuer::new() }
    }

    /// What is missing is for those who may see the rest too.
    async fn ready(&self, knows: bool) -> Answer {
        let draining = self.stopping.borrow().then_some("draining: this process is about to end");
        let store = (!self.alone.issuer().is_ready().await)
            .then_some("the store: authorization_server.store does not answer, or takes nothing that is written");
        let replays = self.alone.replays();
        let missing = draining.into_iter().chain(store).map(str::to_owned).chain(ready::broken(replays));
        let missing: Vec<String> = missing.collect();
        let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
        let mut value = json!({ "ready": missing.is_empty() });
        if knows {
            value["missing"] = missing.into();
            value["degraded"] = ready::away(replays).into();
        }
        answer::json(status, &value)
    }
}

impl Exhibit for ShownIssuer {
    async fn answer(&self, request: Request<Incoming>, local: IpAddr) -> Answer {
        let (parts, body) = request.into_parts();
        if let Err(stranger) = guard::admit(&parts, local) {
            return refused(stranger);
        }
        let knows = guard::knows(&parts, self.secret.as_ref());
        let is_get = matches!(parts.method, Method::GET | Method::HEAD);
        match parts.uri.path() {
            "/healthz" if is_get => answer::of("text/plain; charset=utf-8", "ok\n"),
            "/readyz" if is_get => self.ready(knows).await,
            "/healthz" | "/readyz" | "/metrics" if !is_get => not_allowed("GET, HEAD"),
            path if is_administration(path) => {
                administer(Some(self.alone.issuer()), self.secret.as_ref(), parts, body).await
            }
            _ if !knows => stranger(),
            "/metrics" => answer::of(METRICS, self.metrics.text(&self.alone)),
            _ => answer::error(StatusCode::NOT_FOUND, "there is nothing here"),
        }
    }

    async fn meanwhile(self: Arc<Self>) {}
}
