//! A verdict in Envoy's words.

use http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, AUTHORIZATION, CONNECTION, CONTENT_LENGTH,
};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::BodyExt as _;

use super::messages::{
    self, AppendAction, CheckResponse, DeniedHttpResponse, HeaderValueOption, HttpResponse, HttpStatus, OkHttpResponse,
    Status,
};
use crate::body::Body;
use crate::config::{ProofHandling, UpstreamAuthorization};
use crate::decisions::verdict::Vouched;
use crate::proxy::fields::{as_bearer, is_ours};

/// By the numbers of `google.rpc.Code`. Any but OK keeps the client out.
const OK: i32 = 0;
const PERMISSION_DENIED: i32 = 7;
const UNAUTHENTICATED: i32 = 16;

/// What the app is told of the client, none of which a client may say.
const IDENTITY: [&str; 6] = [
    "keybound-subject",
    "keybound-client",
    "keybound-scope",
    "keybound-jkt",
    "keybound-issuer",
    "keybound-attestation",
];

/// The client gets this answer.
pub(super) async fn denied(response: Response<Body>) -> CheckResponse {
    let (head, body) = response.into_parts();
    let octets = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let code = if head.status == StatusCode::UNAUTHORIZED { UNAUTHENTICATED } else { PERMISSION_DENIED };
    let denied = DeniedHttpResponse {
        status: Some(HttpStatus { code: head.status.as_u16().into() }),
        headers: whole(&head.headers),
        body: String::from_utf8_lossy(&octets).into_owned(),
    };
    CheckResponse {
        status: Some(Status { code, ..Status::default() }),
        http_response: Some(HttpResponse::Denied(denied)),
    }
}

/// The request may pass; nothing is vouched for, and nothing taken away but what only keybound may say.
pub(super) fn unvouched(request: &HeaderMap) -> CheckResponse {
    passes(OkHttpResponse { headers_to_remove: foreign(request, &HeaderMap::new()), ..OkHttpResponse::default() })
}

/// The request may pass, and says whom it comes from.
pub(super) fn vouched(vouched: &Vouched<'_>, request: &HeaderMap) -> CheckResponse {
    let Vouched { identity, route, back } = vouched;
    let mut set = HeaderMap::new();
    identity.set(&mut set);
    let mut headers_to_remove = foreign(request, &set);
    match route.upstream_authorization {
        UpstreamAuthorization::Pass => {}
        UpstreamAuthorization::Strip => headers_to_remove.push(AUTHORIZATION.as_str().to_owned()),
        UpstreamAuthorization::Bearer => {
            set.extend(request.get(AUTHORIZATION).map(|credentials| (AUTHORIZATION, credentials.clone())));
            as_bearer(&mut set);
        }
    }
    if route.proof != ProofHandling::Check {
        headers_to_remove.push("dpop".to_owned());
    }
    let headers = set.iter().map(|(name, value)| option(name, value, AppendAction::OverwriteIfExistsOrAdd)).collect();
    let response_headers_to_add = back.iter().map(|(name, value)| option(name, value, beside(name))).collect();
    passes(OkHttpResponse { headers, headers_to_remove, response_headers_to_add })
}

fn passes(response: OkHttpResponse) -> CheckResponse {
    let status = Status { code: OK, ..Status::default() };
    CheckResponse { status: Some(status), http_response: Some(HttpResponse::Ok(response)) }
}

/// The names that the client must not have said. Those that are set are left out: Envoy removes after it has set.
fn foreign(request: &HeaderMap, set: &HeaderMap) -> Vec<String> {
    let said = request.keys().map(HeaderName::as_str).filter(|name| is_ours(name) && !IDENTITY.contains(name));
    // Also if Envoy is set up to tell of some fields only.
    IDENTITY.into_iter().filter(|name| !set.contains_key(*name)).chain(said).map(str::to_owned).collect()
}

/// What becomes of a field of ours that the app's answer has as well.
fn beside(name: &HeaderName) -> AppendAction {
    match *name {
        ACCESS_CONTROL_ALLOW_ORIGIN => AppendAction::AddIfAbsent,
        ACCESS_CONTROL_EXPOSE_HEADERS => AppendAction::AppendIfExistsOrAdd,
        _ => AppendAction::OverwriteIfExistsOrAdd,
    }
}

/// The fields of an answer that has no others; of a name that is there twice, each.
fn whole(fields: &HeaderMap) -> Vec<HeaderValueOption> {
    let mut options = Vec::with_capacity(fields.len());
    for name in fields.keys().filter(|name| **name != CONNECTION && **name != CONTENT_LENGTH) {
        let mut action = AppendAction::OverwriteIfExistsOrAdd;
        for value in fields.get_all(name) {
            options.push(option(name, value, action));
            action = AppendAction::AppendIfExistsOrAdd;
        }
    }
    options
}

fn option(name: &HeaderName, value: &HeaderValue, action: AppendAction) -> HeaderValueOption {
    let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
    let header = messages::HeaderValue { key: name.as_str().to_owned(), value, ..messages::HeaderValue::default() };
    HeaderValueOption { header: Some(header), append_action: action.into() }
}
