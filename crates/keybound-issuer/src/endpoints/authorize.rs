//! The authorization endpoint: a browser comes with a request of a client, and goes back with a code (RFC 6749 section 4.1).

use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use keybound::refusal::Reason;
use keybound::time::UnixTime;

use super::par;
use crate::State;
use crate::answer;
use crate::authorization::{Approval, Asked, Unfit};
use crate::client::Client;
use crate::exchange::read_visit;
use crate::form::Form;
use crate::handle;
use crate::people::{Connection, Visit, Visitor};

/// Answers GET, and POST with a form (OpenID Connect Core section 3.1.2.1).
pub(crate) async fn visit(state: &State, parts: Parts, body: Body) -> Response {
    let answered = match read_visit(&parts, body).await {
        Ok(Ok(form)) => decide(state, &parts, form).await,
        Ok(Err(refusal)) => Err(refusal.into()),
        Err(status) => return answer::malformed(status),
    };
    answered.unwrap_or_else(|unfit| unfit.answer(state))
}

async fn decide(state: &State, parts: &Parts, form: Form) -> Result<Response, Unfit> {
    let now = state.clock.now();
    let id = form.get("client_id").ok_or(Reason::RedirectInvalid)?;
    let client = state.clients.find(state, id, now).await?.ok_or(Reason::RedirectInvalid)?;
    let decided = of_client(state, parts, form, &client, now).await;
    decided.map_err(|unfit| if client.is_vouched_for() { unfit } else { unfit.on_a_page() }.of(client.id()))
}

async fn of_client(
    state: &State,
    parts: &Parts,
    form: Form,
    client: &Client,
    now: UnixTime,
) -> Result<Response, Unfit> {
    let (asked, pushed) = match form.get("request_uri").filter(|_| form.get("request").is_none()) {
        // What stands beside it counts for nothing (R-AS-20).
        Some(uri) => {
            let (asked, id) = par::find(state, uri, client, now).await?;
            (asked, Some(id))
        }
        None => {
            let parameters = Asked::parameters(state, form, client, now)?;
            (Asked::read(state, &parameters, client)?, None)
        }
    };
    let peer = parts.extensions.get::<Connection>().map(Connection::peer);
    let pushed = pushed.as_deref();
    let visit = Visit { parts, client, now, asked: Some(&asked), pushed };
    match state.people.visit(state, visit).await? {
        Visitor::Agrees(user) => {
            let approval = Approval { pushed, peer, code: handle::secret()?, besides: Vec::new() };
            let approved = asked.approve(state, &user, approval, now).await?;
            approved.map_err(|_| Reason::RequestUri.into())
        }
        Visitor::Sees(page) => Ok(page),
        Visitor::Refuses(reason) => Err(asked.refuse(reason)),
    }
}
