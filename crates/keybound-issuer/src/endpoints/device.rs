//! Device authorization (RFC 8628): where a device gets its two codes, and where a person brings one of them.

use core::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use keybound::authorization_server::{dpop_jkt, pushed_binding};
use keybound::crypto::aws_lc::random_array;
use keybound::refusal::{Denial, Fault, Reason};
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::State;
use crate::answer;
use crate::audit::{Entry, Event};
use crate::authorization::Unfit;
use crate::client::GrantType;
use crate::exchange::{Exchange, Lost, Use, read_form, write_noted};
use crate::form::Form;
use crate::grants::device_code::{Decision, Stored};
use crate::grants::{audience, scope};
use crate::handle;
use crate::people::{Connection, Visit, Visitor, guard, is_developers, pages, view};
use crate::proof_endpoint::ProofEndpoint;
use crate::store::{Change, Kind, parse, to_json};

/// How long a person has.
const LIFETIME: Duration = Duration::from_secs(600);

/// How much longer a device is told that it is over.
const AFTER: Duration = Duration::from_secs(600);

/// How long a code is kept.
pub(super) const KEPT: Duration = LIFETIME.saturating_add(AFTER);

/// Seconds between two questions of a device.
const INTERVAL: u64 = 5;

/// How often a decision is tried while its device asks.
const TRIES: usize = 4;

/// As much as is read of what a person types.
pub(crate) const TYPED: usize = 32;

/// Letters that are not taken for others, and no vowels: what they spell offends nobody (RFC 8628 section 6.1).
const ALPHABET: &[u8; 20] = b"BCDFGHJKLMNPQRSTVWXZ";

/// Answers a POST of a device.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts, &state.endpoints.device_authorization);
    match begin(&mut exchange, &body).await {
        Ok(body) => exchange.granted(StatusCode::OK, body),
        Err(denial) => exchange.refused(&denial),
    }
}

async fn begin(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<String, Denial> {
    let proven = exchange.prove(ProofEndpoint::DeviceAuthorization)?;
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    let client = authenticated.client.clone();
    if !client.grant_types.contains(&GrantType::DeviceCode) {
        return Err(Reason::ClientForbidden.into());
    }
    let jkt = pushed_binding(dpop_jkt(form.raw("dpop_jkt"))?, proven.as_ref())?;
    let stored = Stored {
        client: client.id.clone(),
        scope: scope(form.get("scope"), client.scopes())?,
        audience: audience(&form, &exchange.state.config)?,
        jkt: jkt.map(|jkt| jkt.to_string().into()),
        ends: exchange.now.plus(LIFETIME).as_secs(),
        interval: INTERVAL,
        asked: 0,
        decision: Decision::Pending,
    };
    let body = to_json(&stored);
    if exchange.state.is_anybodys(&client) {
        exchange.state.devices.take(body.len(), exchange.now)?;
    }
    exchange.record(proven, Use::Asking).await?;
    let (device_code, user_code) = (handle::secret()?, user_code()?);
    let id = handle::digest(&device_code);
    let family: Box<str> = handle::name()?.into();
    let insert = |kind, id: &str, expires, body| Change::Insert {
        kind,
        id: id.into(),
        family: family.clone(),
        expires: exchange.now.plus(expires),
        body,
    };
    let changes = vec![
        insert(Kind::DEVICE, &id, KEPT, body),
        insert(Kind::USER_CODE, &handle::digest(&user_code), LIFETIME, to_json(&id)),
    ];
    let entry = exchange.entry(Event::DeviceBegun, "device_authorization").scope(&stored.scope).grant(Some(&family));
    let entry = entry.jkt(stored.jkt.as_deref());
    if exchange.commit_noted(authenticated, changes, &entry).await?.is_err() {
        // The user code is another device's at the moment, once in 25 billion.
        return Err(Fault::StoreUnavailable.into());
    }
    let shown = format!("{}-{}", &user_code[..4], &user_code[4..]);
    let at = exchange.state.endpoints.device.as_str();
    let complete = format!("{at}?user_code={shown}");
    Ok(json!({
        "device_code": device_code,
        "user_code": shown,
        "verification_uri": at,
        "verification_uri_complete": complete,
        "expires_in": LIFETIME.as_secs(),
        "interval": INTERVAL,
    })
    .to_string())
}

/// Eight letters, 34 bits: enough for ten minutes.
fn user_code() -> Result<String, Fault> {
    let mut code = String::with_capacity(8);
    while code.len() < 8 {
        let octets: [u8; 16] = random_array()?;
        // Those above the last whole multiple of 20 would make some letters likelier.
        let letters = octets.iter().filter(|octet| **octet < 240).map(|octet| ALPHABET[usize::from(*octet % 20)]);
        code.extend(letters.map(char::from).take(8 - code.len()));
    }
    Ok(code)
}

/// What a person typed, however it was typed.
fn normal(user_code: &str) -> String {
    user_code.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_uppercase()).collect()
}

/// How a device spells what a person typed.
pub(crate) fn spelled(typed: &str) -> String {
    let mut spelled = normal(typed);
    if spelled.len() > 4 {
        spelled.insert(4, '-');
    }
    spelled
}

/// A device that waits for a decision.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Found {
    /// The digest of its code.
    pub(crate) id: Box<str>,
    /// The digest of the code that people type.
    user_code: Box<str>,
    pub(crate) client: Box<str>,
    pub(crate) scope: Box<str>,
    pub(crate) audience: Box<str>,
}

/// The device with this code.
pub(crate) async fn find(state: &State, typed: &str, now: UnixTime) -> Result<Option<Found>, Fault> {
    let user_code = handle::digest(&normal(typed));
    let Some(record) = state.store.read(Kind::USER_CODE, &user_code, now).await? else { return Ok(None) };
    let id: Box<str> = parse(&record)?;
    let Some(record) = state.store.read(Kind::DEVICE, &id, now).await? else { return Ok(None) };
    let Stored { client, scope, audience, .. } = parse(&record)?;
    Ok(Some(Found { id, user_code, client, scope: scope.into(), audience }))
}

/// Tells the device what was decided, and changes what is to change besides; the code that was typed is good once.
pub(crate) async fn settle(
    state: &State,
    parts: &Parts,
    found: &Found,
    decision: &Decision,
    besides: &[Change],
    now: UnixTime,
) -> Result<Result<(), Lost>, Fault> {
    let peer = parts.extensions.get::<Connection>().map(Connection::peer);
    let (event, subject) = match decision {
        Decision::Approved { subject, .. } => (Event::DeviceApproved, Some(subject)),
        _ => (Event::DeviceDenied, None),
    };
    let mut entry = Entry::new(event, now).at("device", peer).client(&found.client).scope(&found.scope);
    entry.subject = subject.cloned();
    // A device that asks at this very moment is in between at most a few times.
    for _ in 0..TRIES {
        let Some(record) = state.store.read(Kind::DEVICE, &found.id, now).await? else { break };
        let stored: Stored = parse(&record)?;
        if now.as_secs() > stored.ends || !matches!(stored.decision, Decision::Pending) {
            break;
        }
        let decided = Change::Replace {
            kind: Kind::DEVICE,
            id: found.id.clone(),
            version: record.version,
            expires: record.expires,
            body: to_json(&Stored { decision: decision.clone(), ..stored }),
        };
        let used = Change::Take { kind: Kind::USER_CODE, id: found.user_code.clone() };
        let changes = besides.iter().cloned().chain([used, decided]);
        entry.grant = Some(record.family);
        if write_noted(state, changes.collect(), &entry, now).await?.is_ok() {
            return Ok(Ok(()));
        }
    }
    Ok(Err(Lost))
}

/// Answers a browser that comes for a device, with its code perhaps.
pub(crate) async fn visit(state: &State, parts: Parts) -> Response {
    let decided = match Form::parse(parts.uri.query().unwrap_or_default().as_bytes()) {
        Ok(form) => decide(state, &parts, form.get("user_code")).await,
        Err(refusal) => Err(refusal.into()),
    };
    decided.unwrap_or_else(|unfit| unfit.answer(state))
}

async fn decide(state: &State, parts: &Parts, typed: Option<&str>) -> Result<Response, Unfit> {
    let now = state.clock.now();
    let unasked = state.config.auto_approve.as_deref().filter(|_| typed.is_some() && is_developers(parts));
    // Nobody learns which codes there are without having signed in.
    if unasked.is_none() && state.people.are_there(state, now).await? {
        return pages::bring(state, parts, typed.unwrap_or_default(), now).await;
    }
    let found = find(state, typed.unwrap_or_default(), now).await?.ok_or(Reason::DeviceExpired)?;
    let client = state.clients.find(state, &found.client, now).await?.ok_or(Reason::DeviceExpired)?;
    // Here the tokens go to whoever began, not to an address of the client: to any page that has its own code opened.
    if let Some(user) = unasked.filter(|_| guard::may_be_led(state, parts)) {
        return Ok(view::connect(state, &client, user, typed.unwrap_or_default()));
    }
    let visit = Visit { parts, client: &client, now, asked: None, pushed: None };
    let (decision, answer) = match state.people.visit(state, visit).await? {
        Visitor::Sees(page) => return Ok(page),
        Visitor::Agrees(user) => {
            let told = view::told("Your device is connected", "You may close this page and go back to it.");
            (Decision::Approved { login: user.login(None), subject: user.subject }, Ok(told))
        }
        Visitor::Refuses(reason) => (Decision::Denied, Err(Unfit::from(reason).of(&found.client))),
    };
    match settle(state, parts, &found, &decision, &[], now).await? {
        Ok(()) => answer,
        // Another browser was first, or it took too long.
        Err(_) => Err(Reason::DeviceExpired.into()),
    }
}
