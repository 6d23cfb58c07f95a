//! Token exchange (RFC 8693): a client turns a bearer token of its own into one that is bound to its key, with the same rights
//! or fewer, for as long as the first one lives. Never the other way: it takes a proof, and a token that is bound already
//! stays with its key.

use core::str::FromStr as _;

use keybound::authorization_server::GrantBinding;
use keybound::jwk::Thumbprint;
use keybound::refusal::{Denial, Reason};
use keybound::time::UnixTime;

use super::{Grant, Head, Login, Redemption, scope, scopes};
use crate::client::Client;
use crate::exchange::{Exchange, malformed};
use crate::form::Form;
use crate::store::{Kind, parse};
use crate::tokens::{self, Live};

/// RFC 8693 section 3.
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";

pub(super) async fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    let subject = form.get("subject_token").ok_or_else(|| malformed("subject_token is missing"))?;
    if form.get("subject_token_type") != Some(ACCESS_TOKEN) {
        return Err(malformed("subject_token_type is not that of an access token").into());
    }
    if form.get("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(malformed("requested_token_type is not that of an access token").into());
    }
    if ["actor_token", "actor_token_type"].into_iter().any(|name| form.get(name).is_some()) {
        return Err(malformed("actors are not exchanged").into());
    }
    let token = tokens::read(exchange.state, subject, exchange.now).await?.ok_or(Reason::GrantInvalid)?;
    if *token.client_id != *client.id() {
        return Err(Reason::GrantInvalid.into());
    }
    let audience = token.resource().ok_or(Reason::GrantInvalid)?;
    // Either names where the token will be used (RFC 8693 section 2.1).
    if !form.all("resource").chain(form.all("audience")).all(|target| target == audience) {
        return Err(Reason::TargetInvalid.into());
    }
    let login = match tokens::family_of(&token.jti) {
        Some(family) => Some(login(exchange, family, &token).await?),
        None => None,
    };
    let key = match &token.cnf {
        Some(cnf) => GrantBinding::Key(Thumbprint::from_str(&cnf.jkt).map_err(|_| Reason::GrantInvalid)?),
        None => GrantBinding::AnyKey,
    };
    Ok(Grant {
        audience: audience.into(),
        scope: scope(form.get("scope"), scopes(&token.scope))?,
        key,
        redemption: Redemption::Free,
        family: tokens::family_of(&token.jti).map(Box::from),
        refresh: None,
        login,
        not_after: Some(UnixTime::from_secs(token.exp)),
        issued_token_type: Some(ACCESS_TOKEN),
        subject: token.sub,
    })
}

/// How its user signed in, who is disabled by now perhaps: then nothing more comes of it.
async fn login(exchange: &Exchange<'_>, family: &str, token: &Live) -> Result<Login, Denial> {
    let record = exchange.state.store.read(Kind::GRANT, family, exchange.now).await?.ok_or(Reason::GrantInvalid)?;
    let head: Head = parse(&record)?;
    Ok(Login { auth_time: token.auth_time, nonce: None, is_local: head.is_local })
}
