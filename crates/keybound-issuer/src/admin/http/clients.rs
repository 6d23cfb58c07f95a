//! `/v1/clients`.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::{ETAG, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use super::problem::{Problem, Result};
use super::{done, limit, object, parameters, patch, told};
use crate::admin::{Administration, Shown};
use crate::authorization::encoded;

pub(super) async fn list(State(administration): State<Administration>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let form = parameters(&parts, &["after", "limit"])?;
    let listed = administration.clients(form.get("after").unwrap_or_default(), limit(&form)?).await?;
    Ok(told(StatusCode::OK, &json!({ "clients": listed.clients, "next": listed.next })))
}

pub(super) async fn add(State(administration): State<Administration>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let mut metadata = object(&parts, body).await?;
    let id = match metadata.remove("client_id") {
        None => None,
        Some(Value::String(id)) => Some(id),
        Some(_) => return Err(Problem::unfit("client_id is not a text")),
    };
    let shown = administration.add_client(id.as_deref(), &metadata).await?;
    let at = shown.client.get("client_id").and_then(Value::as_str).map(encoded);
    let mut response = told_client(StatusCode::CREATED, shown);
    if let Some(Ok(at)) = at.map(|id| HeaderValue::try_from(format!("/v1/clients/{id}"))) {
        response.headers_mut().insert(LOCATION, at);
    }
    Ok(response)
}

pub(super) async fn show(State(administration): State<Administration>, Path(id): Path<String>) -> Result<Response> {
    Ok(told_client(StatusCode::OK, administration.client(&id).await?))
}

pub(super) async fn change(
    State(administration): State<Administration>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let patch = patch(parts.clone(), body).await?;
    if patch.get("client_id").is_some_and(|named| named.as_str() != Some(&id)) {
        return Err(Problem::unfit("client_id is another one than in the path, and is never changed"));
    }
    let shown = administration.change_client(&id, &patch, version(&parts.headers)?).await?;
    Ok(told_client(StatusCode::OK, shown))
}

pub(super) async fn new_secret(
    State(administration): State<Administration>,
    Path(id): Path<String>,
) -> Result<Response> {
    Ok(told_client(StatusCode::OK, administration.new_client_secret(&id).await?))
}

pub(super) async fn delete(State(administration): State<Administration>, Path(id): Path<String>) -> Result<Response> {
    administration.delete_client(&id).await?;
    Ok(done())
}

/// A client, with its version, and its secret if it is told.
fn told_client(status: StatusCode, shown: Shown) -> Response {
    let mut client = shown.client;
    if let Some(secret) = shown.secret {
        client.insert("client_secret".to_owned(), secret.into());
    }
    let mut response = told(status, &client.into());
    if let Ok(version) = HeaderValue::try_from(format!("\"{}\"", shown.version)) {
        response.headers_mut().insert(ETAG, version);
    }
    response
}

/// The version that `If-Match` names, if there is one.
fn version(headers: &HeaderMap) -> Result<Option<u64>> {
    let mut fields = headers.get_all(IF_MATCH).iter();
    let (field, more) = (fields.next(), fields.next());
    let Some(field) = field.filter(|field| field.as_bytes() != b"*") else { return Ok(None) };
    let text = field.to_str().ok().filter(|_| more.is_none());
    let version = text.and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
    version.map(Some).ok_or_else(|| Problem::unfit("If-Match is not one ETag of this client, in quotation marks"))
}
