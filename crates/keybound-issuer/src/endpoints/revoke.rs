//! Revocation (RFC 7009): a client gives a token back. A refresh token takes all that came of its grant with it; an access token
//! goes alone. Whether there was such a token is not told.

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use keybound::refusal::Denial;
use keybound::time::UnixTime;

use crate::State;
use crate::answer;
use crate::audit::{Entry, Event};
use crate::client::Client;
use crate::exchange::{Exchange, malformed, read_form};
use crate::form::Form;
use crate::grants::refresh_token;
use crate::handle;
use crate::store::{Change, Kind, parse};
use crate::tokens;

/// Answers a POST.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts, &state.endpoints.revoke);
    match revoke(&mut exchange, &body).await {
        Ok(()) => exchange.granted(StatusCode::OK, "{}".to_owned()),
        Err(denial) => exchange.refused(&denial),
    }
}

async fn revoke(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<(), Denial> {
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    let token = form.get("token").ok_or_else(|| malformed("token is missing"))?;
    // It may have been revoked already: then it is as it should be.
    let _ = match change(exchange, token, &authenticated.client.clone()).await? {
        Some((change, entry)) => exchange.commit_noted(authenticated, vec![change], &entry).await?,
        None => exchange.commit(authenticated, Vec::new()).await?,
    };
    Ok(())
}

/// What the audit log calls this endpoint.
const NAME: &str = "revoke";

async fn change(exchange: &Exchange<'_>, token: &str, client: &Client) -> Result<Option<(Change, Entry)>, Denial> {
    let entry = |event| exchange.entry(event, NAME).of_token(token);
    let state = exchange.state;
    if let Some(token) = tokens::read(state, token, exchange.now).await? {
        let revoked = Change::Insert {
            kind: Kind::REVOKED,
            id: token.jti.clone(),
            family: "".into(),
            expires: UnixTime::from_secs(token.exp),
            body: "{}".into(),
        };
        let mut entry = entry(Event::TokenRevoked).subject(&token.sub).grant(tokens::family_of(&token.jti));
        entry.jti = Some(token.jti.clone());
        return Ok((*token.client_id == *client.id()).then_some((revoked, entry)));
    }
    let id = handle::digest(token);
    let Some(record) = state.store.read(Kind::REFRESH, &id, exchange.now).await? else { return Ok(None) };
    let stored: refresh_token::Stored = parse(&record)?;
    let family = Change::DeleteFamily { family: record.family.clone() };
    let entry = entry(Event::GrantRevoked).subject(&stored.subject).grant(Some(&record.family));
    Ok((*stored.client == *client.id()).then_some((family, entry)))
}
