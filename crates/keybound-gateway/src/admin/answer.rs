//! Answers of the admin listener, with the fields that keep a browser from doing anything but showing them.

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use http::response::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

pub(super) type Answer = Response<Full<Bytes>>;

/// On every answer. Nothing may be loaded but what this listener serves, and nothing may frame it.
const ALWAYS: [(HeaderName, HeaderValue); 5] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (http::header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("same-origin")),
    (
        http::header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
        ),
    ),
];

/// This, of this type.
pub(super) fn of(kind: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut parts = Response::new(()).into_parts().0;
    parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    dressed(parts, body.into())
}

/// An answer of something else, with the fields that all have here.
pub(super) fn dressed(mut parts: Parts, body: Bytes) -> Answer {
    for (name, value) in ALWAYS {
        parts.headers.insert(name, value);
    }
    Response::from_parts(parts, Full::new(body))
}

/// JSON.
pub(super) fn json(status: StatusCode, value: &Value) -> Answer {
    let mut answer = of("application/json", format!("{value}\n"));
    *answer.status_mut() = status;
    answer
}

/// What is wrong, in words.
pub(super) fn error(status: StatusCode, words: &str) -> Answer {
    json(status, &json!({ "error": words }))
}
