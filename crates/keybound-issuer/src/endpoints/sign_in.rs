//! The pages on which a person signs in and decides, each at an address of its own that is good in one browser.

use axum::body::Body;
use axum::response::Response;
use http::Method;
use http::request::Parts;

use crate::State;
use crate::answer;
use crate::exchange::read_visit;
use crate::form::Form;
use crate::people::{pages, providers};

/// Answers GET, and POST with the form of the page.
pub(crate) async fn visit(state: &State, parts: Parts, body: Body) -> Response {
    let shown = match read_visit(&parts, body).await {
        Ok(Ok(form)) if parts.method == Method::POST => pages::submit(state, &parts, &form).await,
        Ok(_) => pages::show(state, &parts).await,
        Err(status) => return answer::malformed(status),
    };
    shown.unwrap_or_else(|unfit| unfit.answer(state))
}

/// Answers a browser that comes back from another provider.
pub(crate) async fn come_back(state: &State, parts: Parts) -> Response {
    let shown = match Form::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        Ok(form) => providers::come_back(state, &parts, &form).await,
        Err(refusal) => Err(refusal.into()),
    };
    shown.unwrap_or_else(|unfit| unfit.answer(state))
}
