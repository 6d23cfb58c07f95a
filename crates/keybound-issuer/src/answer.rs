//! How every answer looks: JSON, readable by scripts of any origin, never with credentials (R-AS-31).

use core::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ALLOW, CACHE_CONTROL, CONTENT_TYPE, PRAGMA,
    WWW_AUTHENTICATE,
};
use http::{HeaderValue, StatusCode};
use keybound::challenge::TokenErrorAnswer;
use keybound::refusal::{Fault, Reason};

use crate::audit::Refused;

/// JSON with this status.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// JSON that anybody may keep for this long.
pub(crate) fn public(body: impl Into<Body>, cache: Duration) -> Response {
    let mut response = json(StatusCode::OK, body);
    if let Ok(cache) = HeaderValue::try_from(format!("public, max-age={}", cache.as_secs())) {
        response.headers_mut().insert(CACHE_CONTROL, cache);
    }
    response
}

/// What cannot be had now.
pub(crate) fn failed(fault: Fault) -> Response {
    error(&TokenErrorAnswer::new(&fault.into(), None))
}

/// The answer to a token request that is refused.
pub(crate) fn error(answer: &TokenErrorAnswer) -> Response {
    let mut response = json(answer.status(), answer.body());
    answer.apply(response.headers_mut());
    response.extensions_mut().insert(Refused::because(answer.code()));
    never_stored(&mut response);
    response
}

/// A request that is malformed as HTTP, with a status that says more than 400.
pub(crate) fn malformed(status: StatusCode) -> Response {
    let answer = TokenErrorAnswer::new(&Reason::RequestMalformed.into(), None);
    let mut response = error(&answer);
    *response.status_mut() = status;
    response
}

/// Asks for a token of registration (RFC 6750 section 3).
pub(crate) fn wants_bearer(response: &mut Response, code: &str) {
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let challenge = format!("Bearer error=\"invalid_token\", error_description=\"{code}\"");
    if let Ok(challenge) = HeaderValue::try_from(challenge) {
        response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
    }
    *response.body_mut() = format!(r#"{{"error":"invalid_token","error_description":"{code}"}}"#).into();
}

/// There is nothing here.
pub(crate) fn not_found() -> Response {
    let mut response = json(StatusCode::NOT_FOUND, r#"{"error":"not_found"}"#);
    // A 404 may be kept by whoever likes (RFC 9110 section 15.5.5), and something may be there after the next start.
    never_stored(&mut response);
    response
}

/// For another method than these.
pub(crate) fn method_not_allowed(methods: &'static str) -> Response {
    let mut response = malformed(StatusCode::METHOD_NOT_ALLOWED);
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(methods));
    response
}

/// The answer to a preflight request, which needs neither proof nor credentials.
pub(crate) fn preflight(methods: &'static str) -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    let headers = response.headers_mut();
    headers.insert(ALLOW, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
    headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("DPoP, Authorization, Content-Type"));
    headers.insert(ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    response
}

/// Tokens and errors are never stored (R-AS-28).
pub(crate) fn never_stored(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(PRAGMA, HeaderValue::from_static("no-cache"));
}

/// Lets scripts of any origin read the answer and the fields a client needs.
pub(crate) fn readable_anywhere(response: &mut Response) {
    let headers = response.headers_mut();
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("DPoP-Nonce, WWW-Authenticate"));
}
