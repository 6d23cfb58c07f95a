//! Pushed authorization requests (RFC 9126), bound to a key by `dpop_jkt`, by a proof, or by both (RFC 9449 section 10.1).

use core::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use keybound::authorization_server::pushed_binding;
use keybound::refusal::{Denial, Reason};
use keybound::time::UnixTime;
use serde_json::json;

use crate::State;
use crate::answer;
use crate::audit::Event;
use crate::authorization::Asked;
use crate::client::Client;
use crate::exchange::{Exchange, Use, malformed, read_form};
use crate::form::Form;
use crate::handle;
use crate::proof_endpoint::ProofEndpoint;
use crate::store::{Change, Kind, parse, to_json};

/// How long a pushed request waits for its browser.
pub(super) const LIFETIME: Duration = Duration::from_secs(90);

/// RFC 9126 section 2.2.
const PREFIX: &str = "urn:ietf:params:oauth:request_uri:";

/// Answers a POST.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts, &state.endpoints.par);
    match push(&mut exchange, &body).await {
        Ok(body) => exchange.granted(StatusCode::CREATED, body),
        Err(denial) => exchange.refused(&denial),
    }
}

async fn push(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<String, Denial> {
    let proven = exchange.prove(ProofEndpoint::Par)?;
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    if form.raw("request_uri").is_some() {
        return Err(malformed("a pushed request names no other one").into());
    }
    let client = authenticated.client.clone();
    let parameters = Asked::parameters(exchange.state, form, &client, exchange.now)?;
    let mut asked = Asked::read(exchange.state, &parameters, &client).map_err(|unfit| unfit.denial)?;
    asked.jkt = pushed_binding(asked.jkt(), proven.as_ref())?.map(|jkt| jkt.to_string().into());
    let body = to_json(&asked);
    if exchange.state.is_anybodys(&client) {
        exchange.state.pushed.take(body.len(), exchange.now)?;
    }
    exchange.record(proven, Use::Asking).await?;
    let reference = handle::secret()?;
    let insert = Change::Insert {
        kind: Kind::PUSHED,
        id: handle::digest(&reference),
        family: "".into(),
        expires: exchange.now.plus(LIFETIME),
        body,
    };
    let entry = exchange.entry(Event::RequestPushed, "par").scope(&asked.scope).jkt(asked.jkt.as_deref());
    if exchange.commit_noted(authenticated, vec![insert], &entry).await?.is_err() {
        return Err(Reason::RequestUri.into());
    }
    let request_uri = [PREFIX, &reference].concat();
    Ok(json!({ "request_uri": request_uri, "expires_in": LIFETIME.as_secs() }).to_string())
}

/// What this client pushed, and the name it is stored under: it is used up when a code is issued for it.
pub(super) async fn find(
    state: &State,
    uri: &str,
    client: &Client,
    now: UnixTime,
) -> Result<(Asked, Box<str>), Denial> {
    let id = handle::digest(uri.strip_prefix(PREFIX).ok_or(Reason::RequestUri)?);
    let record = state.store.read(Kind::PUSHED, &id, now).await?.ok_or(Reason::RequestUri)?;
    let asked: Asked = parse(&record)?;
    let fits = *asked.client == *client.id() && asked.fits(client);
    if fits { Ok((asked, id)) } else { Err(Reason::RequestUri.into()) }
}
