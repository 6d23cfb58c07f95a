//! An authorization code (RFC 6749 section 4.1.3) with PKCE (RFC 7636), bound to a key where the request named one (RFC 9449
//! section 10). It is redeemed once; a second try with all that it needs revokes what the first one got.

use core::str::FromStr as _;

use keybound::authorization_server::GrantBinding;
use keybound::jwk::Thumbprint;
use keybound::jws::encode_base64url;
use keybound::refusal::{Denial, Fault, Reason};
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use super::{Grant, Head, Login, Redemption, begin, refresh_plan, same_audience};
use crate::State;
use crate::client::Client;
use crate::exchange::{Exchange, malformed};
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, Record, parse, to_json};

/// What is kept of a code.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Stored {
    pub(crate) client: Box<str>,
    pub(crate) redirect_uri: Box<str>,
    pub(crate) challenge: Box<str>,
    pub(crate) jkt: Option<Box<str>>,
    pub(crate) subject: Box<str>,
    pub(crate) scope: String,
    pub(crate) audience: Box<str>,
    pub(crate) login: Login,
    pub(crate) used: bool,
}

pub(super) async fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    let code = form.get("code").ok_or_else(|| malformed("code is missing"))?;
    let id = handle::digest(code);
    let record = exchange.state.store.read(Kind::CODE, &id, exchange.now).await?.ok_or(Reason::GrantInvalid)?;
    let stored: Stored = parse(&record)?;
    if *stored.client != *client.id() || form.get("redirect_uri") != Some(&*stored.redirect_uri) {
        return Err(Reason::GrantInvalid.into());
    }
    if !verifies(&stored.challenge, form.get("code_verifier").unwrap_or_default()) {
        return Err(Reason::PkceMismatch.into());
    }
    let refresh = refresh_plan(exchange, client, &stored.scope);
    let ends = refresh.as_ref().map_or_else(|| exchange.access_ends(), |plan| plan.expires);
    let redemption = if stored.used {
        Redemption::Spent { family: record.family.clone() }
    } else {
        let changes = redeemed(&id, &record, &stored, exchange.now, ends);
        Redemption::Once { changes, family: Some(record.family.clone()) }
    };
    Ok(Grant {
        key: match &stored.jkt {
            Some(jkt) => GrantBinding::Key(Thumbprint::from_str(jkt).map_err(|_| Fault::StoreUnavailable)?),
            None => GrantBinding::Free,
        },
        audience: same_audience(form, &stored.audience)?,
        subject: stored.subject,
        scope: stored.scope,
        redemption,
        family: Some(record.family),
        refresh,
        login: Some(stored.login),
        not_after: None,
        issued_token_type: None,
    })
}

/// Whether this code is there, and was not redeemed.
pub(crate) async fn is_waiting(state: &State, code: &str, now: UnixTime) -> Result<bool, Fault> {
    let record = state.store.read(Kind::CODE, &handle::digest(code), now).await?;
    Ok(record.map(|record| parse::<Stored>(&record)).transpose()?.is_some_and(|stored| !stored.used))
}

/// The code is marked, for as long as what comes of it lives, and the grant is there.
fn redeemed(id: &str, record: &Record, stored: &Stored, now: UnixTime, ends: UnixTime) -> Vec<Change> {
    let mark = Change::Replace {
        kind: Kind::CODE,
        id: id.into(),
        version: record.version,
        expires: ends,
        body: to_json(&Stored { used: true, ..stored.clone() }),
    };
    let head = Head::new(&stored.client, &stored.subject, &stored.scope, &stored.login, now);
    vec![mark, begin(&record.family, &head, ends)]
}

/// RFC 7636 section 4.6, in constant time.
fn verifies(challenge: &str, verifier: &str) -> bool {
    let fits = (43..=128).contains(&verifier.len());
    let made = encode_base64url(&Sha256::digest(verifier.as_bytes()));
    fits && bool::from(made.as_bytes().ct_eq(challenge.as_bytes()))
}
