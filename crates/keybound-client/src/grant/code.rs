//! The authorization code grant of a native program (RFC 8252): PKCE with S256, `dpop_jkt`, pushed where the issuer takes that,
//! and an answer on loopback whose `state` and `iss` are looked at.

use std::sync::Arc;

use http::StatusCode;
use keybound::client::Form;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jws::encode_base64url;
use keybound::jws::json::{Object, Value};
use sha2::{Digest as _, Sha256};

use super::callback::Callback;
use super::{ask, for_what, random_text};
use crate::access::Prompt;
use crate::endpoint::Asking;
use crate::error::Error;
use crate::key::Holder;
use crate::login::Login;
use crate::token::Token;
use crate::transport::Target;

/// What the protocol says in an authorization request; the caller adds to it and replaces none of it.
const OWN: [&str; 11] = [
    "client_id",
    "code_challenge",
    "code_challenge_method",
    "dpop_jkt",
    "redirect_uri",
    "request",
    "request_uri",
    "resource",
    "response_type",
    "scope",
    "state",
];

/// Has the user log in.
pub(super) async fn log_in(asking: Asking<'_>, login: &Login, holder: &Holder) -> Result<Token, Error> {
    let Asking { access, metadata, .. } = asking;
    let endpoint = metadata.authorization_endpoint()?;
    let callback = Callback::bind(login).await?;
    let (state, verifier) = (random_text()?, random_text()?);
    let challenge = encode_base64url(&Sha256::digest(&verifier)); // R-CLI-22
    let jkt = holder.jkt().to_string();
    let fill = |form: &mut Form| {
        form.pair("response_type", "code")
            .pair("redirect_uri", callback.uri())
            .pair("state", &state)
            .pair("code_challenge", &challenge)
            .pair("code_challenge_method", "S256")
            .pair("dpop_jkt", &jkt); // R-CLI-21
        for_what(access, form);
        let others = login.parameters.iter().filter(|(name, _)| !OWN.contains(&&**name));
        for (name, value) in others {
            form.pair(name, value);
        }
    };
    let url = match metadata.pushed_authorization_endpoint() {
        Some(pushed) => push(asking, pushed, endpoint, holder, fill).await?,
        None => {
            let mut form = Form::new();
            form.pair("client_id", &access.client_id);
            fill(&mut form);
            with_query(endpoint, &form)
        }
    };
    let prompt = Prompt { url: &url, user_code: None, complete: None };
    login.show.show(&prompt).map_err(Error::Login)?;
    let iss = metadata.names_itself().then_some(&*access.issuer);
    let code = callback.wait(&state, &access.issuer, iss, login.patience).await?;
    let fill = |form: &mut Form| {
        form.pair("grant_type", "authorization_code")
            .pair("code", code.expose())
            .pair("redirect_uri", callback.uri())
            .pair("code_verifier", &verifier);
        for resource in &access.resources {
            form.pair("resource", resource);
        }
    };
    ask(asking, holder, fill).await
}

/// Pushes the request (RFC 9126), proved with the key that `dpop_jkt` names, and returns what the browser is to open.
async fn push(
    asking: Asking<'_>,
    pushed: &Target,
    endpoint: &Target,
    holder: &Holder,
    fill: impl Fn(&mut Form) + Sync,
) -> Result<String, Error> {
    let reply = asking.proved(pushed, holder, fill).await?;
    let issuer = &asking.access.issuer;
    if !matches!(reply.status, StatusCode::CREATED | StatusCode::OK) {
        return Err(reply.refused(issuer));
    }
    let object = Object::parse(&reply.body).ok();
    let request_uri = object.as_ref().and_then(|object| object.get("request_uri").and_then(Value::as_str));
    let fault = "its answer to the pushed request has no request_uri";
    let request_uri = request_uri.ok_or_else(|| Error::TokenResponse { issuer: issuer.clone(), fault })?;
    let mut form = Form::new();
    form.pair("client_id", &asking.access.client_id).pair("request_uri", request_uri);
    Ok(with_query(endpoint, &form))
}

/// The endpoint may have a query of its own (RFC 6749 section 3.1).
fn with_query(endpoint: &Target, form: &Form) -> String {
    let url = endpoint.url().as_str();
    let joint = if endpoint.url().query().is_some() { '&' } else { '?' };
    format!("{url}{joint}{}", form.as_str())
}

/// A new key that can do what `like` can.
pub(super) fn fresh_key(like: &Holder) -> Result<Arc<Holder>, Error> {
    let key = SoftwareKey::generate(like.alg()).map_err(|_| Error::Random)?;
    Ok(Arc::new(Holder::of(Arc::new(key).into())?))
}
