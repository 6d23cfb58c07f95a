//! Token requests, by each grant, and what comes of them.

mod callback;
mod code;
mod device;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use keybound::client::{Binding, Form, Secret, Unbound, judge_token_type};
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::jws::json::{Number, Object, Value};
use keybound::time::UnixTime;

use crate::access::{Access, Grant, TokenExchange};
use crate::client::{Core, now};
use crate::endpoint::{Asking, Reply};
use crate::error::{Error, visible};
use crate::key::Holder;
use crate::metadata::Metadata;
use crate::token::Token;
use crate::tokens::Held;

/// Gets a token from the start.
pub(crate) async fn begin(
    access: &Access,
    metadata: &Metadata,
    holder: Arc<Holder>,
    core: &Core,
) -> Result<Held, Error> {
    let asking = Asking { access, metadata, core };
    let done = |token, holder| Held { token: Arc::new(token), holder };
    match &access.grant {
        Grant::ClientCredentials => {
            let fill = |form: &mut Form| {
                form.pair("grant_type", "client_credentials");
                for_what(access, form);
            };
            Ok(done(ask(asking, &holder, fill).await?, holder))
        }
        Grant::Exchange(exchange) => {
            let token = ask(asking, &holder, |form| fill_exchange(access, exchange, form)).await?;
            Ok(done(token, holder))
        }
        Grant::Refresh { token, .. } => {
            let token = refresh(access, token, metadata, &holder, core).await?;
            Ok(done(token, holder))
        }
        Grant::AuthorizationCode(login) => {
            let holder = if login.fresh_key { code::fresh_key(&holder)? } else { holder };
            let token = code::log_in(asking, login, &holder).await?;
            Ok(done(token, holder))
        }
        Grant::DeviceCode(device) => {
            let token = device::log_in(asking, device, &holder).await?;
            Ok(done(token, holder))
        }
    }
}

/// Gets a token by a refresh token, with the scope it had.
pub(crate) async fn refresh(
    access: &Access,
    token: &Secret,
    metadata: &Metadata,
    holder: &Holder,
    core: &Core,
) -> Result<Token, Error> {
    let fill = |form: &mut Form| {
        form.pair("grant_type", "refresh_token").pair("refresh_token", token.expose());
        for_what(access, form);
    };
    ask(Asking { access, metadata, core }, holder, fill).await
}

fn fill_exchange(access: &Access, exchange: &TokenExchange, form: &mut Form) {
    form.pair("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange")
        .pair("subject_token", exchange.subject.expose())
        .pair("subject_token_type", &exchange.subject_type)
        .pair("requested_token_type", TokenExchange::ACCESS_TOKEN);
    if let Some((actor, actor_type)) = &exchange.actor {
        form.pair("actor_token", actor.expose()).pair("actor_token_type", actor_type);
    }
    for audience in &exchange.audiences {
        form.pair("audience", audience);
    }
    for_what(access, form);
}

/// Scope and resources.
fn for_what(access: &Access, form: &mut Form) {
    if let Some(scope) = &access.scope {
        form.pair("scope", scope);
    }
    for resource in &access.resources {
        form.pair("resource", resource);
    }
}

/// One token request.
async fn ask(asking: Asking<'_>, holder: &Holder, fill: impl Fn(&mut Form) + Sync) -> Result<Token, Error> {
    let asked = now();
    let reply = asking.proved(asking.metadata.token_endpoint(), holder, fill).await?;
    answered(asking, &reply, asked)
}

fn answered(asking: Asking<'_>, reply: &Reply, asked: UnixTime) -> Result<Token, Error> {
    if reply.status == StatusCode::OK {
        read(asking, &reply.body, asked)
    } else {
        Err(reply.refused(&asking.access.issuer))
    }
}

/// Reads a token response (RFC 6749 section 5.1).
fn read(asking: Asking<'_>, body: &[u8], asked: UnixTime) -> Result<Token, Error> {
    let Asking { access, core, .. } = asking;
    let fault = |fault| Error::TokenResponse { issuer: access.issuer.clone(), fault };
    let object = Object::parse(body).map_err(|_| fault("its answer is not one JSON object"))?;
    let member = |name| object.get(name).and_then(Value::as_str);
    let unbound = if core.accept_unbound { Unbound::Tell } else { Unbound::Refuse };
    let binding = judge_token_type(member("token_type"), unbound)
        .map_err(|why| Error::Unbound { issuer: access.issuer.clone(), why })?;
    let bearer = || member("token_type").is_some_and(|name| name.eq_ignore_ascii_case("Bearer"));
    if binding != Binding::Bound && !bearer() {
        return Err(fault("its token_type is neither DPoP nor Bearer"));
    }
    let text = member("access_token").ok_or_else(|| fault("its answer has no access_token"))?;
    let expires = match object.get("expires_in") {
        None | Some(Value::Null) => None,
        Some(Value::Number(Number::Whole(seconds))) => Some(asked.plus(Duration::from_secs(*seconds))),
        Some(_) => return Err(fault("its expires_in is not a number of seconds")),
    };
    let token = Token::new(text).map_err(|_| fault("its access_token cannot be sent in Authorization"))?;
    let mut token = token.lives(asked, expires);
    if binding != Binding::Bound {
        token = token.danger_unbound();
    }
    // Silence means that it is the scope that was asked for.
    if let Some(scope) = member("scope").or(access.scope.as_deref()) {
        token = token.with_scope(visible(scope));
    }
    if let Some(refresh) = member("refresh_token") {
        token = token.with_refresh(Secret::new(refresh));
    }
    Ok(token)
}

/// 256 random bits as text: for `state` and for the verifier of PKCE.
fn random_text() -> Result<String, Error> {
    let octets: [u8; 32] = random_array().map_err(|_| Error::Random)?;
    Ok(encode_base64url(&octets))
}
