//! `/v1/users`, and what they granted.

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

use super::problem::{Problem, Result};
use super::{done, limit, object, parameters, patch, told};
use crate::admin::{Administration, Description};
use crate::authorization::encoded;
use crate::users::User;

pub(super) async fn list(State(administration): State<Administration>, request: Request) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let form = parameters(&parts, &["after", "limit"])?;
    let limit = limit(&form)?;
    let users = administration.users(form.get("after").unwrap_or_default(), limit).await?;
    let next = users.last().filter(|_| users.len() == limit as usize).map(User::id);
    Ok(told(StatusCode::OK, &json!({ "users": users.iter().map(User::facts).collect::<Value>(), "next": next })))
}

pub(super) async fn add(State(administration): State<Administration>, request: Request) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let mut sent = object(&parts, body).await?;
    let password = secret(&mut sent)?;
    let name =
        text(&mut sent, "name")?.flatten().ok_or_else(|| Problem::unfit("name is missing: what to sign in with"))?;
    let known =
        Description { full_name: text(&mut sent, "full_name")?.flatten(), email: text(&mut sent, "email")?.flatten() };
    nothing_else(&sent)?;
    let user = administration.add_user(&name, known, password.as_ref().map(|text| text.as_str())).await?;
    let mut response = told(StatusCode::CREATED, &user.facts().into());
    if let Ok(at) = HeaderValue::try_from(format!("/v1/users/{}", encoded(user.id()))) {
        response.headers_mut().insert(LOCATION, at);
    }
    Ok(response)
}

pub(super) async fn show(State(administration): State<Administration>, Path(name): Path<String>) -> Result<Response> {
    Ok(told(StatusCode::OK, &administration.user(&name).await?.facts().into()))
}

pub(super) async fn change(
    State(administration): State<Administration>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let mut sent = patch(parts, body).await?;
    let (full_name, email) = (text(&mut sent, "full_name")?, text(&mut sent, "email")?);
    let disabled = match sent.remove("disabled") {
        None => None,
        Some(Value::Bool(disabled)) => Some(disabled),
        Some(_) => return Err(Problem::unfit("disabled is neither true nor false")),
    };
    nothing_else(&sent)?;
    let mut user = administration.user(&name).await?;
    if full_name.is_some() || email.is_some() {
        let known = Description {
            full_name: full_name.unwrap_or_else(|| user.full_name().map(Box::from)),
            email: email.unwrap_or_else(|| user.email().map(Box::from)),
        };
        user = administration.describe_user(&name, &known).await?;
    }
    match disabled {
        Some(true) => user = administration.disable_user(&name).await?,
        Some(false) => user = administration.enable_user(&name).await?,
        None => {}
    }
    Ok(told(StatusCode::OK, &user.facts().into()))
}

pub(super) async fn delete(State(administration): State<Administration>, Path(name): Path<String>) -> Result<Response> {
    administration.delete_user(&name).await?;
    Ok(done())
}

pub(super) async fn set_password(
    State(administration): State<Administration>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let (parts, body) = request.into_parts();
    let mut sent = object(&parts, body).await?;
    let password = secret(&mut sent)?.ok_or_else(|| Problem::unfit("password is missing"))?;
    nothing_else(&sent)?;
    administration.set_password(&name, Some(&password)).await?;
    Ok(done())
}

pub(super) async fn no_password(
    State(administration): State<Administration>,
    Path(name): Path<String>,
) -> Result<Response> {
    administration.set_password(&name, None).await?;
    Ok(done())
}

pub(super) async fn grants(
    State(administration): State<Administration>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let form = parameters(&parts, &["after", "limit"])?;
    let limit = limit(&form)?;
    let subject = administration.subject(&name).await?;
    let grants = administration.grants(&subject, form.get("after").unwrap_or_default(), limit).await?;
    let next = grants.last().filter(|_| grants.len() == limit as usize).map(|grant| grant.id.clone());
    let rows = grants.iter().map(|grant| {
        json!({
            "id": grant.id, "client_id": grant.client, "scope": grant.scope, "since": grant.since, "expires": grant.expires,
        })
    });
    Ok(told(StatusCode::OK, &json!({ "grants": rows.collect::<Value>(), "next": next })))
}

pub(super) async fn revoke_grants(
    State(administration): State<Administration>,
    Path(name): Path<String>,
) -> Result<Response> {
    let subject = administration.subject(&name).await?;
    let revoked = administration.revoke_grants(&subject).await?;
    Ok(told(StatusCode::OK, &json!({ "revoked": revoked })))
}

pub(super) async fn revoke_grant(
    State(administration): State<Administration>,
    Path((name, grant)): Path<(String, String)>,
) -> Result<Response> {
    let subject = administration.subject(&name).await?;
    administration.revoke_grant(&subject, &grant).await?;
    Ok(done())
}

pub(super) async fn sessions(
    State(administration): State<Administration>,
    Path(name): Path<String>,
    request: Request,
) -> Result<Response> {
    let (parts, _) = request.into_parts();
    let form = parameters(&parts, &["after", "limit"])?;
    let limit = limit(&form)?;
    let subject = administration.subject(&name).await?;
    let page = administration.sessions(&subject, form.get("after").unwrap_or_default(), limit).await?;
    let rows = page
        .sessions
        .iter()
        .map(|session| json!({ "id": session.id, "since": session.since, "expires": session.expires }));
    Ok(told(StatusCode::OK, &json!({ "sessions": rows.collect::<Value>(), "next": page.next })))
}

pub(super) async fn end_sessions(
    State(administration): State<Administration>,
    Path(name): Path<String>,
) -> Result<Response> {
    let subject = administration.subject(&name).await?;
    administration.end_sessions(&subject).await?;
    Ok(done())
}

/// A member that is a text or `null`, if it is there.
fn text(sent: &mut Map<String, Value>, name: &'static str) -> Result<Option<Option<Box<str>>>> {
    match sent.remove(name) {
        None => Ok(None),
        Some(Value::Null) => Ok(Some(None)),
        Some(Value::String(text)) => Ok(Some(Some(text.into()))),
        Some(_) => Err(Problem::unfit(format!("{name} is neither a text nor null"))),
    }
}

/// A password, wiped when it is not needed any more.
fn secret(sent: &mut Map<String, Value>) -> Result<Option<Zeroizing<String>>> {
    match sent.remove("password") {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(Zeroizing::new(text))),
        Some(_) => Err(Problem::unfit("password is not a text")),
    }
}

fn nothing_else(sent: &Map<String, Value>) -> Result<()> {
    if sent.is_empty() { Ok(()) } else { Err(Problem::unfit("there is a member in the body that nobody knows")) }
}
