//! A refresh token (RFC 6749 section 6): used once, and followed by another. One that was used before revokes the whole
//! family (RFC 9700 section 4.14.2): its owner and somebody else both have it.

use core::str::FromStr as _;

use keybound::authorization_server::GrantBinding;
use keybound::jwk::Thumbprint;
use keybound::refusal::{Denial, Fault, Reason};
use serde::{Deserialize, Serialize};

use super::{Grant, Login, Redemption, refresh_plan, same_audience, scope, scopes};
use crate::client::Client;
use crate::exchange::{Exchange, malformed};
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, parse, to_json};

/// What is kept of a refresh token.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The key it is good with; of public clients alone.
    pub(crate) jkt: Option<Box<str>>,
    /// Whether the tokens that came with it were bound.
    pub(crate) bound: bool,
    pub(crate) used: bool,
    pub(crate) client: Box<str>,
    pub(crate) subject: Box<str>,
    pub(crate) scope: String,
    pub(crate) audience: Box<str>,
    pub(crate) login: Option<Login>,
}

impl Stored {
    pub(crate) fn to_json(&self) -> Box<str> {
        to_json(self)
    }

    /// R-AS-06, R-AS-07, R-AS-09.
    fn key(&self) -> Result<GrantBinding, Fault> {
        Ok(match &self.jkt {
            Some(jkt) => GrantBinding::Key(Thumbprint::from_str(jkt).map_err(|_| Fault::StoreUnavailable)?),
            None if self.bound => GrantBinding::AnyKey,
            None => GrantBinding::Free,
        })
    }
}

pub(super) async fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    let token = form.get("refresh_token").ok_or_else(|| malformed("refresh_token is missing"))?;
    let id = handle::digest(token);
    let record = exchange.state.store.read(Kind::REFRESH, &id, exchange.now).await?.ok_or(Reason::GrantInvalid)?;
    let stored: Stored = parse(&record)?;
    if *stored.client != *client.id() {
        return Err(Reason::GrantInvalid.into());
    }
    // What the client may not have any more is not refreshed.
    let still: Vec<&str> = scopes(&stored.scope).filter(|scope| client.scopes().any(|may| may == *scope)).collect();
    let granted = scope(form.get("scope"), still.iter().copied())?;
    let refresh = refresh_plan(exchange, client, &still.join(" "));
    let ends = refresh.as_ref().map_or_else(|| exchange.access_ends(), |plan| plan.expires);
    let family = record.family.clone();
    let extend = |kind, id: &str| Change::Extend { kind, id: id.into(), expires: ends };
    // Rotation tells theft where a token is good for whoever has it. Under FAPI this one is its client's alone.
    let stays = exchange.state.config.fapi && !client.is_public();
    let redemption = if stored.used {
        Redemption::Spent { family }
    } else if stays {
        let changes = vec![extend(Kind::REFRESH, &id), extend(Kind::GRANT, &family)];
        Redemption::Once { changes, family: Some(family) }
    } else {
        let used = Stored { used: true, ..stored.clone() };
        let mark =
            Change::Replace { kind: Kind::REFRESH, id, version: record.version, expires: ends, body: used.to_json() };
        Redemption::Once { changes: vec![mark, extend(Kind::GRANT, &family)], family: Some(family) }
    };
    Ok(Grant {
        key: stored.key()?,
        audience: same_audience(form, &stored.audience)?,
        subject: stored.subject,
        scope: granted,
        redemption,
        family: Some(record.family),
        refresh: refresh.filter(|_| !stays),
        login: stored.login.map(|login| Login { nonce: None, ..login }),
        not_after: None,
        issued_token_type: None,
    })
}
