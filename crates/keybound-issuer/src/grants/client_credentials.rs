//! A client that acts for itself (RFC 6749 section 4.4). Nothing is kept of it.

use keybound::authorization_server::GrantBinding;
use keybound::refusal::Denial;

use super::{Grant, Redemption, audience, scope};
use crate::client::Client;
use crate::exchange::Exchange;
use crate::form::Form;

pub(super) fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    Ok(Grant {
        subject: client.id.clone(),
        scope: scope(form.get("scope"), client.scopes())?,
        audience: audience(form, &exchange.state.config)?,
        key: GrantBinding::Free,
        redemption: Redemption::Free,
        family: None,
        refresh: None,
        login: None,
        not_after: None,
        issued_token_type: None,
    })
}
