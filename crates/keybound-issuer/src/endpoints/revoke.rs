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
use crate::client::Client;
use crate::exchange::{Exchange, malformed, read_form};
use crate::form::Form;
use crate::grants::authorization_code::parse;
use crate::grants::refresh_token;
use crate::handle;
use crate::store::{Change, Kind};
use crate::tokens;

/// Answers a POST.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts.headers, &state.endpoints.revoke);
    match revoke(&mut exchange, &body).await {
        Ok(()) => exchange.granted(StatusCode::OK, "{}".to_owned()),
        Err(denial) => exchange.refused(&denial),
    }
}

async fn revoke(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<(), Denial> {
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    let token = form.get("token").ok_or_else(|| malformed("token is missing"))?;
    let change = change(exchange, token, &authenticated.client.clone()).await?;
    // It may have been revoked already: then it is as it should be.
    let _ = exchange.commit(authenticated, change.into_iter().collect()).await?;
    Ok(())
}

async fn change(exchange: &Exchange<'_>, token: &str, client: &Client) -> Result<Option<Change>, Denial> {
    let state = exchange.state;
    if let Some(token) = tokens::read(state, token, exchange.now).await? {
        let revoked = Change::Insert {
            kind: Kind::REVOKED,
            id: token.jti.clone(),
            family: "".into(),
            expires: UnixTime::from_secs(token.exp),
            body: "{}".into(),
        };
        return Ok((*token.client_id == *client.id()).then_some(revoked));
    }
    let id = handle::digest(token);
    let Some(record) = state.store.read(Kind::REFRESH, &id, exchange.now).await? else { return Ok(None) };
    let stored: refresh_token::Stored = parse(&record)?;
    let family = Change::DeleteFamily { family: record.family.clone() };
    Ok((*stored.client == *client.id()).then_some(family))
}
