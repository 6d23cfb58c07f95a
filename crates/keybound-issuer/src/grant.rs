//! What a client asks for and may have: grant type, scope, resource. Redeeming comes after.

use keybound::refusal::{Reason, Refusal};

use crate::client::{Client, GrantType};
use crate::config::{IssuerConfig, is_scope_token};
use crate::form::Form;

/// A grant that was looked at and allowed: what its token will say.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Whom the token speaks for.
    pub(crate) subject: Box<str>,
    /// The scopes with spaces between; empty for none.
    pub(crate) scope: String,
    /// The resource the token is for.
    pub(crate) audience: Box<str>,
}

impl Grant {
    /// Looks at the grant of an authenticated client.
    pub(crate) fn read(form: &Form, client: &Client, config: &IssuerConfig) -> Result<Self, Refusal> {
        let name = form
            .get("grant_type")
            .ok_or_else(|| Refusal::with_detail(Reason::RequestMalformed, "grant_type is missing"))?;
        let grant_type: GrantType = name.parse().map_err(|_| Reason::GrantUnsupported)?;
        if !client.grant_types.contains(&grant_type) {
            return Err(Reason::ClientForbidden.into());
        }
        match grant_type {
            GrantType::ClientCredentials => Ok(Self {
                subject: client.id.clone(),
                scope: scope(form.get("scope"), client)?,
                audience: audience(form, config)?,
            }),
        }
    }
}

/// What was asked for, in that order and once each; all that the client may have if it asked for nothing.
fn scope(asked: Option<&str>, client: &Client) -> Result<String, Refusal> {
    let mut granted: Vec<&str> = Vec::new();
    let scopes = match asked {
        Some(asked) => asked.split(' ').collect(),
        None => client.scopes().collect::<Vec<_>>(),
    };
    for scope in scopes {
        if !is_scope_token(scope) || !client.scopes().any(|allowed| allowed == scope) {
            return Err(Reason::ScopeInvalid.into());
        }
        // What was granted is among the client's scopes, so this is bounded by them and not by the request.
        if !granted.contains(&scope) {
            granted.push(scope);
        }
    }
    Ok(granted.join(" "))
}

/// The resource asked for, or the default one. One token is for one resource: two resources are two requests.
fn audience(form: &Form, config: &IssuerConfig) -> Result<Box<str>, Refusal> {
    let mut asked = form.all("resource");
    let known = match (asked.next(), asked.next()) {
        (None, _) => config.audience.first(),
        (Some(resource), None) => config.audience.iter().find(|known| ***known == *resource),
        (Some(_), Some(_)) => None,
    };
    known.cloned().ok_or_else(|| Reason::TargetInvalid.into())
}
