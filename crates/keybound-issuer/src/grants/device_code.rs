//! A device code (RFC 8628 section 3.4): a device that has no browser asks until somebody has decided elsewhere. The code is
//! bound to the key the device began with, where it began with one.
//!
//! It is good once. Used once more, at the same moment or later, it gets nothing, and nothing is revoked for that, unlike with the
//! codes that browsers carry about: devices ask again and again, and do so when an answer was lost or came late.

use core::str::FromStr as _;

use keybound::authorization_server::GrantBinding;
use keybound::jwk::Thumbprint;
use keybound::refusal::{Denial, Fault, Reason};
use serde::{Deserialize, Serialize};

use super::{Grant, Head, Login, Redemption, begin, family_named, refresh_plan, same_audience};
use crate::client::Client;
use crate::exchange::{Exchange, malformed};
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, Record, parse, to_json};

/// What is kept of a device code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) client: Box<str>,
    pub(crate) scope: String,
    pub(crate) audience: Box<str>,
    pub(crate) jkt: Option<Box<str>>,
    /// The last second in which it can be redeemed; the record stays longer, so that the device learns that it is over.
    pub(crate) ends: u64,
    /// Seconds that the device has to wait between two questions.
    pub(crate) interval: u64,
    /// When it asked last.
    pub(crate) asked: u64,
    pub(crate) decision: Decision,
}

/// What the person said.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) enum Decision {
    Pending,
    Approved { subject: Box<str>, login: Login },
    Denied,
}

pub(super) async fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    let code = form.get("device_code").ok_or_else(|| malformed("device_code is missing"))?;
    let id = handle::digest(code);
    let record = exchange.state.store.read(Kind::DEVICE, &id, exchange.now).await?.ok_or(Reason::GrantInvalid)?;
    let stored: Stored = parse(&record)?;
    if *stored.client != *client.id() {
        return Err(Reason::GrantInvalid.into());
    }
    let (subject, login, redemption, family) = match &stored.decision {
        _ if exchange.now.as_secs() > stored.ends => return Err(Reason::DeviceExpired.into()),
        Decision::Denied => return Err(Reason::LoginDenied.into()),
        Decision::Pending => (Box::default(), None, not_yet(exchange, id, &record, &stored), None),
        Decision::Approved { subject, login } => {
            let ends =
                refresh_plan(exchange, client, &stored.scope).map_or(exchange.access_ends(), |plan| plan.expires);
            let take = Change::Take { kind: Kind::DEVICE, id };
            let family = family_named(subject, &record.family);
            let begin = begin(&family, &Head::new(&stored.client, subject, &stored.scope, login, exchange.now), ends);
            let redemption = Redemption::Once { changes: vec![take, begin], family: None };
            (subject.clone(), Some(login.clone()), redemption, Some(family))
        }
    };
    Ok(Grant {
        key: match &stored.jkt {
            Some(jkt) => GrantBinding::Key(Thumbprint::from_str(jkt).map_err(|_| Fault::StoreUnavailable)?),
            None => GrantBinding::Free,
        },
        refresh: refresh_plan(exchange, client, &stored.scope),
        audience: same_audience(form, &stored.audience)?,
        subject,
        scope: stored.scope,
        redemption,
        family,
        login,
        not_after: None,
        issued_token_type: None,
    })
}

/// Nobody has decided. Who asks too soon waits longer from then on (RFC 8628 section 3.5).
fn not_yet(exchange: &Exchange<'_>, id: Box<str>, record: &Record, stored: &Stored) -> Redemption {
    let now = exchange.now.as_secs();
    let is_slow = now >= stored.asked.saturating_add(stored.interval);
    let interval = if is_slow { stored.interval } else { stored.interval + 5 };
    let asked = Change::Replace {
        kind: Kind::DEVICE,
        id,
        version: record.version,
        expires: record.expires,
        body: to_json(&Stored { asked: now, interval, ..stored.clone() }),
    };
    Redemption::NotYet { change: asked, reason: if is_slow { Reason::DevicePending } else { Reason::DeviceSlow } }
}
