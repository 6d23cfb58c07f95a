//! `/v1/keys`. No private key is ever in an answer.

use axum::extract::{Path, State};
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value, json};

use super::problem::Result;
use super::told;
use crate::admin::Administration;
use crate::keys::StoredKey;

pub(super) async fn list(State(administration): State<Administration>) -> Result<Response> {
    Ok(shown(&administration.keys()?))
}

pub(super) async fn rotate(State(administration): State<Administration>) -> Result<Response> {
    Ok(shown(&administration.rotate_keys().await?))
}

pub(super) async fn revoke(State(administration): State<Administration>, Path(kid): Path<String>) -> Result<Response> {
    Ok(shown(&administration.revoke_key(&kid).await?))
}

fn shown(keys: &[StoredKey]) -> Response {
    let keys: Value = keys.iter().map(|key| Value::from(key.facts())).collect();
    told(StatusCode::OK, &json!({ "keys": keys }))
}
