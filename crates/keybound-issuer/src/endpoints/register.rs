//! Dynamic registration (RFC 7591) and its management (RFC 7592), where the configuration allows it.

use axum::body::Body;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use keybound::challenge::TokenErrorAnswer;
use keybound::jws::json::{Object, Value};
use keybound::refusal::{Denial, Fault, Reason};
use serde_json::json;

use crate::State;
use crate::answer;
use crate::audit::{Entry, Event, Refused};
use crate::client::Secret;
use crate::config::Registration;
use crate::exchange::{read_body, write_noted};
use crate::people::Connection;
use crate::registered::{Registered, Secrets};
use crate::store::{Change, Kind, NEVER, parse, to_json};

/// Answers a POST of somebody who wants to be a client.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_body(&parts, body, "application/json").await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    answered(StatusCode::CREATED, register(state, &parts, &body).await)
}

async fn register(state: &State, parts: &Parts, body: &[u8]) -> Result<Option<String>, Denial> {
    let allowed = match &state.config.registration {
        Registration::Off => false,
        Registration::Open => true,
        Registration::WithToken(expected) => bearer(&parts.headers).is_some_and(|token| expected.is(token)),
    };
    if !allowed {
        return Err(Reason::RegistrationToken.into());
    }
    let (registered, secrets) = Registered::new(state, body, None)?;
    let body = to_json(&registered);
    make_room(state, &body)?;
    let insert = Change::Insert {
        kind: Kind::CLIENT,
        id: registered.client_id.clone(),
        family: "".into(),
        expires: NEVER,
        body,
    };
    let entry = entry(state, parts, Event::ClientRegistered, &registered);
    if write_noted(state, vec![insert], &entry, state.clock.now()).await?.is_err() {
        return Err(Reason::RegistrationMetadata.into());
    }
    Ok(Some(registered.information(state, Some(&secrets)).to_string()))
}

/// Also for what takes the place of something: it may be longer, and each time an entry of the audit log is left.
fn make_room(state: &State, body: &str) -> Result<(), Fault> {
    match state.config.registration {
        Registration::Open => state.registrations.take(body.len(), state.clock.now()),
        _ => Ok(()),
    }
}

/// Answers a client that looks at its registration, changes it, or gives it back.
pub(crate) async fn manage(state: &State, parts: Parts, body: Body) -> Response {
    if parts.method == Method::PUT {
        let body = match read_body(&parts, body, "application/json").await {
            Ok(body) => body,
            Err(status) => return answer::malformed(status),
        };
        return answered(StatusCode::OK, change(state, &parts, &body).await);
    }
    let status = if parts.method == Method::DELETE { StatusCode::NO_CONTENT } else { StatusCode::OK };
    answered(status, look_or_leave(state, &parts).await)
}

/// The registration this path names, if its token came along. An unknown client is not told from a wrong token.
async fn authorized(state: &State, parts: &Parts) -> Result<(Registered, u64), Denial> {
    let id = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let record = state.store.read(Kind::CLIENT, id, state.clock.now()).await?;
    let token = bearer(&parts.headers).unwrap_or_default();
    let Some(record) = record else {
        Secret::NOBODYS.is(token);
        return Err(Reason::RegistrationToken.into());
    };
    let registered: Registered = parse(&record)?;
    if registered.is_token(token) { Ok((registered, record.version)) } else { Err(Reason::RegistrationToken.into()) }
}

async fn look_or_leave(state: &State, parts: &Parts) -> Result<Option<String>, Denial> {
    let (registered, _) = authorized(state, parts).await?;
    if parts.method != Method::DELETE {
        return Ok(Some(information(state, parts, &registered, None)));
    }
    let delete = Change::Delete { kind: Kind::CLIENT, id: registered.client_id.clone() };
    let entry = entry(state, parts, Event::ClientDeleted, &registered);
    let _ = write_noted(state, vec![delete], &entry, state.clock.now()).await?;
    Ok(None)
}

async fn change(state: &State, parts: &Parts, body: &[u8]) -> Result<Option<String>, Denial> {
    let (before, version) = authorized(state, parts).await?;
    let named = Object::parse(body).map_err(|_| Reason::RegistrationMetadata)?;
    if named.get("client_id").and_then(Value::as_str) != Some(&before.client_id) {
        return Err(Reason::RegistrationMetadata.into());
    }
    let (after, secrets) = Registered::new(state, body, Some(&before))?;
    let body = to_json(&after);
    make_room(state, &body)?;
    let replace = Change::Replace { kind: Kind::CLIENT, id: before.client_id, version, expires: NEVER, body };
    let entry = entry(state, parts, Event::ClientChanged, &after);
    if write_noted(state, vec![replace], &entry, state.clock.now()).await?.is_err() {
        return Err(Reason::RegistrationToken.into());
    }
    Ok(Some(information(state, parts, &after, Some(&secrets))))
}

/// The client information response, which has the token of the registration (RFC 7592 section 3): the one that came with the request,
/// for none is kept.
fn information(state: &State, parts: &Parts, registered: &Registered, secrets: Option<&Secrets>) -> String {
    let mut information = registered.information(state, secrets);
    information["registration_access_token"] = json!(bearer(&parts.headers));
    information.to_string()
}

/// What a client does to its own registration.
fn entry(state: &State, parts: &Parts, event: Event, registered: &Registered) -> Entry {
    let peer = parts.extensions.get::<Connection>().map(Connection::peer);
    Entry::new(event, state.clock.now()).at("register", peer).client(&registered.client_id)
}

/// RFC 6750 section 2.1.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let mut fields = headers.get_all(AUTHORIZATION).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let (scheme, token) = field.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(token.trim_start_matches(' '))
}

fn answered(status: StatusCode, result: Result<Option<String>, Denial>) -> Response {
    let mut response = match result {
        Ok(body) => answer::json(status, body.unwrap_or_default()),
        Err(denial) => {
            let mut response = answer::error(&TokenErrorAnswer::new(&denial, None));
            if let Denial::Refused(refusal) = &denial {
                let detail = refusal.detail().map(Box::from);
                response.extensions_mut().insert(Refused { detail, ..Refused::because(denial.code()) });
            }
            if matches!(&denial, Denial::Refused(refusal) if refusal.reason() == Reason::RegistrationToken) {
                answer::wants_bearer(&mut response, denial.code());
            }
            response
        }
    };
    answer::never_stored(&mut response);
    response
}
