//! The page on which people look after what they sign in with, and the one script there is.

use axum::body::Body;
use axum::response::Response;
use http::HeaderValue;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use http::request::Parts;

use crate::State;
use crate::answer;
use crate::exchange::read_visit;
use crate::people::account;

/// What makes passkeys and signs in with them.
const SCRIPT: &str = include_str!("../../templates/passkeys.js");

/// Answers GET, and POST with a form of the page.
pub(crate) async fn visit(state: &State, parts: Parts, body: Body) -> Response {
    let shown = match read_visit(&parts, body).await {
        Ok(Ok(form)) => account::visit(state, &parts, &form).await,
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(status) => return answer::malformed(status),
    };
    shown.unwrap_or_else(|unfit| unfit.answer(state))
}

/// The script.
pub(crate) fn script() -> Response {
    let mut response = Response::new(SCRIPT.into());
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/javascript; charset=utf-8"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
