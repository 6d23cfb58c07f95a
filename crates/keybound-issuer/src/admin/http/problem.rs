//! What went wrong, as problem details (RFC 9457).

use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, StatusCode};
use serde_json::json;

use crate::admin::AdminError;
use crate::answer;

pub(super) type Result<T> = core::result::Result<T, Problem>;

/// Its `code` is for programs, its `detail` for people.
#[derive(Clone, Debug)]
pub(super) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Box<str>,
}

/// One whose words do not depend on anything.
pub(super) struct Fixed(StatusCode, &'static str, &'static str);

impl Fixed {
    pub(super) fn answer(&self) -> Response {
        Problem { status: self.0, code: self.1, detail: self.2.into() }.into_response()
    }
}

impl Problem {
    pub(super) const STRANGER: Fixed =
        Fixed(StatusCode::UNAUTHORIZED, "secret.wrong", "send the secret of administrators as Authorization: Bearer");
    pub(super) const NOWHERE: Fixed = Fixed(StatusCode::NOT_FOUND, "path.unknown", "there is nothing here");
    pub(super) const METHOD: Fixed = Fixed(StatusCode::METHOD_NOT_ALLOWED, "method.unknown", "not with this method");
    pub(super) const SLOW: Fixed =
        Fixed(StatusCode::SERVICE_UNAVAILABLE, "store.slow", "it took too long; what was done so far is done");

    /// What was sent is not fit, for the reason that this sentence says.
    pub(super) fn unfit(sentence: impl Into<Box<str>>) -> Self {
        Self { status: StatusCode::BAD_REQUEST, code: "request.unfit", detail: sentence.into() }
    }

    pub(super) fn of_body(status: StatusCode) -> Self {
        let detail = match status {
            StatusCode::PAYLOAD_TOO_LARGE => "the body is too long",
            StatusCode::REQUEST_TIMEOUT => "the body did not come in time",
            _ => "send one JSON object as application/json",
        };
        Self { status, code: "request.body", detail: detail.into() }
    }
}

impl From<AdminError> for Problem {
    fn from(error: AdminError) -> Self {
        let (status, code) = match &error {
            AdminError::Unknown(_) => (StatusCode::NOT_FOUND, "name.unknown"),
            AdminError::Taken(_) => (StatusCode::CONFLICT, "name.taken"),
            AdminError::Configured(_) => (StatusCode::CONFLICT, "name.configured"),
            AdminError::Unfit(_) => (StatusCode::BAD_REQUEST, "request.unfit"),
            AdminError::Changed => (StatusCode::PRECONDITION_FAILED, "version.old"),
            AdminError::NoSecret(_) => (StatusCode::CONFLICT, "secret.none"),
            AdminError::NotHere(_) => (StatusCode::CONFLICT, "keys.elsewhere"),
            AdminError::Keys(_) => (StatusCode::SERVICE_UNAVAILABLE, "keys.failed"),
            AdminError::Failed(fault) => (StatusCode::SERVICE_UNAVAILABLE, fault.code()),
        };
        Self { status, code, detail: error.to_string().into() }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let title = self.status.canonical_reason().unwrap_or_default();
        let body = json!({
            "type": "about:blank", "title": title, "status": self.status.as_u16(), "code": self.code, "detail": self.detail,
        });
        let mut response = answer::json(self.status, body.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("5"));
        }
        response
    }
}
