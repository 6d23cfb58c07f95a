//! What is asked for, and what is answered.

use core::net::IpAddr;
use core::time::Duration;

use bytes::Bytes;
use http::header::{ALLOW, WWW_AUTHENTICATE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use serde_json::json;
use tokio::time::timeout;

use super::answer::{self, Answer};
use super::guard::{self, Stranger};
use super::{Shown, inspect, issuer, page, ready, reasons, status};

/// As Prometheus asks for it since OpenMetrics 1.0.
pub(super) const METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A proof and a token, with room for both at their longest.
const MOST_BODY: usize = 64 << 10;

/// For a body to come.
const BODY: Duration = Duration::from_secs(10);

/// A filter for the log.
const MOST_FILTER: usize = 512;

pub(super) async fn answer(request: Request<Incoming>, local: IpAddr, shown: &Shown) -> Answer {
    let (parts, body) = request.into_parts();
    match guard::admit(&parts, local) {
        Ok(()) => {}
        Err(stranger) => return refused(stranger),
    }
    if issuer::is_administration(parts.uri.path()) {
        let engine = shown.engine();
        return issuer::administer(engine.issuer.as_ref(), engine.config.listen.admin_secret.as_ref(), parts, body)
            .await;
    }
    let method = if parts.method == Method::HEAD { &Method::GET } else { &parts.method };
    let path = parts.uri.path();
    if let Some(page) = page::find(path) {
        return if *method == Method::GET { page } else { not_allowed("GET, HEAD") };
    }
    let knows = guard::knows(&parts, shown.engine().config.listen.admin_secret.as_ref());
    match path {
        "/healthz" if *method == Method::GET => return answer::of("text/plain; charset=utf-8", "ok\n"),
        "/readyz" if *method == Method::GET => return ready::answer(shown, knows),
        _ if !knows => return stranger(),
        _ => {}
    }
    match (method, path) {
        (&Method::GET, "/metrics") => {
            let text = shown.engine().observe().text(&shown.engine(), &shown.open());
            answer::of(METRICS, text)
        }
        (&Method::GET, "/status.json") => answer::json(StatusCode::OK, &status::status(shown)),
        (&Method::GET, "/decisions.json") => answer::json(StatusCode::OK, &status::decisions(shown)),
        (&Method::GET, "/reasons.json") => answer::json(StatusCode::OK, &reasons::table()),
        (&Method::POST, "/explain") => match bounded(body, MOST_BODY).await {
            Some(body) => inspect::answer(&shown.engine(), &body),
            None => answer::error(StatusCode::PAYLOAD_TOO_LARGE, "too much, or too slow"),
        },
        (&Method::GET, "/loglevel") => level(shown),
        (&Method::POST, "/loglevel") => set_level(shown, body).await,
        (_, "/explain") => not_allowed("POST"),
        (_, "/loglevel") => not_allowed("GET, HEAD, POST"),
        (_, "/metrics" | "/status.json" | "/decisions.json" | "/reasons.json" | "/healthz" | "/readyz") => {
            not_allowed("GET, HEAD")
        }
        _ => answer::error(StatusCode::NOT_FOUND, "there is nothing here"),
    }
}

/// Who may not ask is told why.
pub(super) fn refused(stranger: Stranger) -> Answer {
    match stranger {
        Stranger::Host => {
            let words = "Host is neither localhost, a loopback address, nor the address of this connection";
            answer::error(StatusCode::MISDIRECTED_REQUEST, words)
        }
        Stranger::Origin => answer::error(StatusCode::FORBIDDEN, "pages of other origins may not ask"),
    }
}

pub(super) fn stranger() -> Answer {
    let mut answer = answer::error(StatusCode::UNAUTHORIZED, "send listen.admin_secret as Authorization: Bearer");
    answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keybound admin\""));
    answer
}

pub(super) fn not_allowed(methods: &'static str) -> Answer {
    let mut answer = answer::error(StatusCode::METHOD_NOT_ALLOWED, "not with this method");
    answer.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    answer
}

async fn bounded(body: Incoming, most: usize) -> Option<Bytes> {
    let whole = timeout(BODY, Limited::new(body, most).collect()).await;
    Some(whole.ok()?.ok()?.to_bytes())
}

fn level(shown: &Shown) -> Answer {
    match &shown.log_level {
        Some(level) => answer::json(StatusCode::OK, &json!({ "level": level.get() })),
        None => answer::error(StatusCode::NOT_IMPLEMENTED, "the log of this process is not ours to change"),
    }
}

async fn set_level(shown: &Shown, body: Incoming) -> Answer {
    let Some(log) = &shown.log_level else { return level(shown) };
    let body = bounded(body, MOST_FILTER).await;
    let filter = body.as_deref().and_then(|body| core::str::from_utf8(body).ok()).map(str::trim);
    let Some(filter) = filter.filter(|filter| !filter.is_empty()) else {
        return answer::error(StatusCode::BAD_REQUEST, "send a filter such as debug, or info,keybound::decision=debug");
    };
    match log.set(filter) {
        Ok(()) => {
            tracing::info!(filter, "the log level was changed");
            level(shown)
        }
        Err(fault) => answer::error(StatusCode::BAD_REQUEST, &fault),
    }
}
