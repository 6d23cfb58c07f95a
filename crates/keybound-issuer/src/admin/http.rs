//! The same over HTTP, as JSON, for whoever knows the secret. `openapi.json` describes it; a test holds the two together.

use core::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use http::header::{AUTHORIZATION, CONTENT_TYPE, WWW_AUTHENTICATE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use keybound::jws::json::Object;
use serde_json::{Map, Value, json};

use self::problem::{Problem, Result};
use super::Administration;
use crate::answer;
use crate::audit::{Events, MOST_LISTED, Page, Query};
use crate::client::Secret;
use crate::exchange::read_body;
use crate::form::Form;
use crate::people::Connection;

mod clients;
mod keys;
mod problem;
mod users;

/// What the interface is, in OpenAPI 3.1.
pub const OPENAPI: &str = include_str!("openapi.json");

/// How many of a list come without `limit`, and at most.
const USUALLY: u32 = 100;
const MOST: u32 = 500;

/// A request may take this long: the deletion of a client looks at every grant.
const PATIENCE: Duration = Duration::from_secs(100);

impl Administration {
    /// What an administrator can do, under `/v1`, with its description at `/openapi.json`. Every request but for the description takes
    /// this secret as `Authorization: Bearer`.
    ///
    /// # Security
    ///
    /// Whoever has the secret is the issuer, as good as. Serve it on loopback or behind TLS, on a listener of its own.
    pub fn router(&self, secret: Secret) -> Router {
        let v1 = Router::new()
            .route("/v1/clients", get(clients::list).post(clients::add))
            .route("/v1/clients/{client_id}", get(clients::show).patch(clients::change).delete(clients::delete))
            .route("/v1/clients/{client_id}/secret", post(clients::new_secret))
            .route("/v1/users", get(users::list).post(users::add))
            .route("/v1/users/{name}", get(users::show).patch(users::change).delete(users::delete))
            .route("/v1/users/{name}/password", put(users::set_password).delete(users::no_password))
            .route("/v1/users/{name}/grants", get(users::grants).delete(users::revoke_grants))
            .route("/v1/users/{name}/grants/{grant}", delete(users::revoke_grant))
            .route("/v1/users/{name}/sessions", get(users::sessions).delete(users::end_sessions))
            .route("/v1/keys", get(keys::list))
            .route("/v1/keys/rotation", post(keys::rotate))
            .route("/v1/keys/{kid}", delete(keys::revoke))
            .route("/v1/audit", get(list_entries))
            .fallback(async || Problem::NOWHERE.answer())
            .method_not_allowed_fallback(async || Problem::METHOD.answer())
            .layer(from_fn_with_state(Door { secret, administration: self.clone() }, admit))
            .with_state(self.clone());
        Router::new().route("/openapi.json", get(async || described())).merge(v1)
    }
}

/// Who comes in, and where it is noted who does not.
#[derive(Clone)]
struct Door {
    secret: Secret,
    administration: Administration,
}

/// Only whoever knows the secret, and no answer is kept by anybody.
async fn admit(State(door): State<Door>, request: Request, next: Next) -> Response {
    let said = bearer(request.headers());
    let mut response = if said.is_some_and(|said| door.secret.is(said)) {
        let answered = tokio::time::timeout(PATIENCE, next.run(request)).await;
        answered.unwrap_or_else(|_| Problem::SLOW.answer())
    } else {
        let reason = if request.headers().contains_key(AUTHORIZATION) { "secret.wrong" } else { "secret.missing" };
        let peer = request.extensions().get::<Connection>().map(Connection::peer);
        door.administration.turned_away(reason, peer).await;
        let mut response = Problem::STRANGER.answer();
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"keybound admin\""));
        response
    };
    answer::never_stored(&mut response);
    response
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, secret) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(secret.trim())
}

fn described() -> Response {
    answer::json(StatusCode::OK, OPENAPI)
}

/// The parameters of the query, each of them known and once.
fn parameters(parts: &Parts, known: &[&str]) -> Result<Form> {
    let query = parts.uri.query().unwrap_or_default();
    let form =
        Form::parse(query.as_bytes()).map_err(|_| Problem::unfit("the query is malformed, or has a name twice"))?;
    if form.names().any(|name| !known.contains(&name)) {
        return Err(Problem::unfit("there is a parameter in the query that nobody knows"));
    }
    Ok(form)
}

fn number(form: &Form, name: &'static str) -> Result<Option<u64>> {
    let unfit = || Problem::unfit(format!("{name} is not a number"));
    form.get(name).map(|text| text.parse().map_err(|_| unfit())).transpose()
}

fn limit(form: &Form) -> Result<u32> {
    let limit = number(form, "limit")?.unwrap_or(USUALLY.into());
    let limit = u32::try_from(limit).ok().filter(|limit| (1..=MOST).contains(limit));
    limit.ok_or_else(|| Problem::unfit(format!("limit is not a number from 1 to {MOST}")))
}

/// One strict JSON object.
async fn object(parts: &Parts, body: Body) -> Result<Map<String, Value>> {
    let body = read_body(parts, body, "application/json").await.map_err(Problem::of_body)?;
    Ok(Object::parse(&body)
        .map_err(|_| Problem::unfit("the body is not one JSON object with each name in it once"))?
        .to_json())
}

/// What is to be changed: RFC 7396 has a name of its own for it, and plain JSON will do.
async fn patch(mut parts: Parts, body: Body) -> Result<Map<String, Value>> {
    if parts.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "application/merge-patch+json") {
        parts.headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    }
    object(&parts, body).await
}

fn told(status: StatusCode, body: &Value) -> Response {
    answer::json(status, body.to_string())
}

fn done() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NO_CONTENT;
    response
}

async fn list_entries(State(administration): State<Administration>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let names = ["event", "client", "subject", "reason", "since", "until", "after", "limit"];
    let form = parameters(&parts, &names)?;
    let text = |name| form.get(name).map(Box::from);
    let event = form.get("event").map(str::parse::<Events>).transpose();
    let event = event.map_err(|unknown| Problem::unfit(format!("event: {unknown}")))?;
    let query = Query {
        event,
        client: text("client"),
        subject: text("subject"),
        reason: text("reason"),
        since: number(&form, "since")?,
        until: number(&form, "until")?,
        after: text("after"),
        limit: Some(limit(&form)? as usize),
    };
    const { assert!(MOST as usize <= MOST_LISTED) }
    let Page { entries, next } = administration.entries(&query).await?;
    let mut rows = Vec::new();
    for noted in entries {
        let mut row = serde_json::to_value(&noted.entry).unwrap_or_default();
        row["id"] = json!(noted.id);
        rows.push(row);
    }
    Ok(told(StatusCode::OK, &json!({ "entries": rows, "next": next })))
}
