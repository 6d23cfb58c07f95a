//! The end of a session (OpenID Connect RP-Initiated Logout): whoever is signed in here is not any more, and goes back to the
//! client where the client said so in its registration.

use axum::body::Body;
use axum::response::Response;
use http::header::SET_COOKIE;
use http::request::Parts;
use keybound::refusal::Reason;
use keybound::token::jwt::client_of_id_token;

use crate::State;
use crate::answer;
use crate::authorization::{Unfit, add, see, send_back};
use crate::client::Client;
use crate::exchange::read_visit;
use crate::form::Form;
use crate::people::sign_out::{Ended, comes_without_cookies, sign_out};
use crate::people::view;

/// Answers GET, and POST with a form.
pub(crate) async fn visit(state: &State, parts: Parts, body: Body) -> Response {
    let ended = match read_visit(&parts, body).await {
        Ok(Ok(form)) => end(state, &parts, &form).await,
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(status) => return answer::malformed(status),
    };
    ended.unwrap_or_else(|unfit| unfit.answer(state))
}

/// The client that the browser comes from: it names itself, or holds an ID token of ours, or both. One that says two things, or
/// shows a token that is none of ours, is none (RP-Initiated Logout section 2).
fn client_id(state: &State, form: &Form) -> Result<Option<Box<str>>, Reason> {
    let named = form.get("client_id").map(Box::<str>::from);
    let Some(hint) = form.get("id_token_hint") else { return Ok(named) };
    let hinted =
        client_of_id_token(hint, &state.key_set.current(), &state.config.issuer).ok_or(Reason::RedirectInvalid)?;
    match named {
        Some(named) if named != hinted => Err(Reason::RedirectInvalid),
        _ => Ok(Some(hinted)),
    }
}

/// Sends the browser here once more, by GET, with what was read of the form.
fn by_get(state: &State, form: &Form, client: Option<&Client>, back: Option<&str>) -> Response {
    let mut location = state.endpoints.end_session.as_str().to_owned();
    let fields =
        [("client_id", client.map(Client::id)), ("post_logout_redirect_uri", back), ("state", form.get("state"))];
    for (name, value) in fields {
        if let Some(value) = value {
            add(&mut location, name, value);
        }
    }
    see(location)
}

async fn end(state: &State, parts: &Parts, form: &Form) -> Result<Response, Unfit> {
    let client = match client_id(state, form)? {
        Some(id) => state.clients.find(state, &id, state.clock.now()).await?,
        None => None,
    };
    let back = match form.get("post_logout_redirect_uri") {
        None => None,
        Some(uri) => {
            let client = client.as_ref().ok_or(Reason::RedirectInvalid)?;
            let known = client.post_logout_redirect_uris.iter().any(|known| **known == *uri);
            Some(known.then_some(uri).ok_or(Reason::RedirectInvalid)?)
        }
    };
    if comes_without_cookies(state, parts, form) {
        return Ok(by_get(state, form, client.as_deref(), back));
    }
    let (back, cookies) = match sign_out(state, parts, form, client.as_deref(), back).await? {
        Ended::Sees(page) => return Ok(page),
        Ended::Now(cookies) => (back, cookies),
        // Nobody is sent on, unasked, to an address that a stranger registered.
        Ended::Nobody => (back.filter(|_| client.is_some_and(|client| client.is_vouched_for())), Vec::new()),
    };
    let mut response = match back {
        Some(uri) => send_back(uri, form.get("state").map(|state| ("state", state))),
        None => view::told("You are signed out", "You may close this page."),
    };
    for cookie in cookies {
        response.headers_mut().append(SET_COOKIE, cookie);
    }
    Ok(response)
}
