//! The end of a session: a page asks first, for any site may send a browser here.

use axum::response::Response;
use http::request::Parts;
use http::{HeaderValue, Method};

use super::cookies::Cookie;
use super::{Connection, guard, session, view};
use crate::State;
use crate::audit::{Entry, Event};
use crate::authorization::Unfit;
use crate::client::Client;
use crate::exchange::write_noted;
use crate::form::Form;

/// What came of it.
pub(crate) enum Ended {
    /// A page asks, or says that nothing was ended.
    Sees(Response),
    /// Nobody is signed in here.
    Nobody,
    /// The person said so; these cookies are to be set.
    Now(Vec<HeaderValue>),
}

/// Whether a form came that is none of ours, without a session: a browser sends no cookies with a form of another site, so nobody
/// knows whether somebody is signed in.
pub(crate) fn comes_without_cookies(state: &State, parts: &Parts, form: &Form) -> bool {
    parts.method == Method::POST && form.get("step").is_none() && Cookie::Session.read(state, parts).is_none()
}

/// Ends the session of this browser, once its person has said so. `back` is where the browser goes afterwards.
pub(crate) async fn sign_out(
    state: &State,
    parts: &Parts,
    form: &Form,
    client: Option<&Client>,
    back: Option<&str>,
) -> Result<Ended, Unfit> {
    let now = state.clock.now();
    let Some(present) = session::present(state, parts, now).await? else { return Ok(Ended::Nobody) };
    // A session without this cookie was never begun here; nothing but the session is in the token then.
    let browser = Cookie::Browser.read(state, parts).unwrap_or_default();
    let token = guard::token(browser, &["sign out", &present.id]);
    match form.get("step") {
        Some(step @ ("sign_out" | "stay")) => {
            guard::comes_from_here(state, parts)?;
            guard::check(form, &token)?;
            if step == "stay" {
                return Ok(Ended::Sees(view::told("You are still signed in", "You may close this page.")));
            }
            let peer = parts.extensions.get::<Connection>().map(Connection::peer);
            let entry = Entry::new(Event::UserSignedOut, now).at("logout", peer).subject(present.user.subject());
            write_noted(state, session::end(state, parts).into_iter().collect(), &entry, now).await?.ok();
            Ok(Ended::Now(vec![Cookie::Session.clear(state)]))
        }
        _ => {
            let kept = [
                ("client_id", client.map(Client::id)),
                ("post_logout_redirect_uri", back),
                ("state", form.get("state")),
            ];
            let kept: Vec<_> = kept.into_iter().filter_map(|(name, value)| Some((name, value?.to_owned()))).collect();
            let page = view::Page {
                host: view::host(state),
                token,
                action: state.endpoints.end_session.as_str().to_owned(),
                client: client.map(view::Application::of),
            };
            Ok(Ended::Sees(view::sign_out(page, &present.user, &kept, back)))
        }
    }
}
