//! What a client asks for and may have. Each grant has a file; looking at one changes nothing, redeeming comes after.
//!
//! Every way a token leaves this server:
//!
//! | grant | file | who | the key of its token |
//! |---|---|---|---|
//! | `client_credentials` | `client_credentials.rs` | a client that authenticates | of the proof, if there is one |
//! | `authorization_code` | `authorization_code.rs` | any client | of `dpop_jkt` or the pushed proof, else of the proof |
//! | `refresh_token` | `refresh_token.rs` | any client | public: the one it began with; others: of the proof |
//! | device code | `device_code.rs` | any client | the one the device began with, else of the proof |
//! | token exchange | `token_exchange.rs` | a client that authenticates | of the proof, which must be there |
//!
//! All of them leave through `endpoints/token.rs`, where a client with `dpop_bound_access_tokens` is refused without a proof,
//! whichever grant it brings: once that has been looked at, and before anything is used up. The authorization endpoint issues codes
//! and no tokens.

use data_encoding::HEXLOWER;
use keybound::authorization_server::GrantBinding;
use keybound::refusal::{Denial, Fault, Reason, Refusal};
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::client::{Client, GrantType};
use crate::config::{IssuerConfig, is_scope_token};
use crate::exchange::{Exchange, malformed};
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, to_json};

pub(crate) mod authorization_code;
mod client_credentials;
pub(crate) mod device_code;
pub(crate) mod refresh_token;
mod token_exchange;

/// A grant that was looked at and allowed: what its token will say, and what its redemption changes.
#[derive(Debug)]
pub(crate) struct Grant {
    /// Whom the token speaks for.
    pub(crate) subject: Box<str>,
    /// The scopes with spaces between; empty for none.
    pub(crate) scope: String,
    /// The resource the token is for.
    pub(crate) audience: Box<str>,
    /// What the key of the request must be, whatever the client.
    pub(crate) key: GrantBinding,
    pub(crate) redemption: Redemption,
    /// What the tokens die with, if they can be revoked together.
    pub(crate) family: Option<Box<str>>,
    /// Whether a refresh token comes along.
    pub(crate) refresh: Option<RefreshPlan>,
    /// When the user signed in, if one did.
    pub(crate) login: Option<Login>,
    /// The token ends with what it was made of.
    pub(crate) not_after: Option<UnixTime>,
    /// RFC 8693 section 2.2.1.
    pub(crate) issued_token_type: Option<&'static str>,
}

/// What redeeming changes.
#[derive(Debug)]
pub(crate) enum Redemption {
    /// Nothing: it may be asked for again and again.
    Free,
    /// It is used up.
    Once {
        /// All of these, or none.
        changes: Vec<Change>,
        /// What dies if somebody was first.
        family: Option<Box<str>>,
    },
    /// It was used up before: the family dies, once the proof is known to be fresh.
    Spent { family: Box<str> },
    /// Nobody has decided yet; that it was asked for is noted.
    NotYet { change: Change, reason: Reason },
}

/// What the next refresh token is to be.
#[derive(Debug)]
pub(crate) struct RefreshPlan {
    pub(crate) client: Box<str>,
    pub(crate) is_public: bool,
    /// All that was granted, even where this token has less.
    pub(crate) scope: String,
    pub(crate) expires: UnixTime,
}

/// How a user signed in.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Login {
    /// When, if that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) auth_time: Option<u64>,
    /// Of the OpenID request, not of a proof (R-NONCE-21).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) nonce: Option<Box<str>>,
    /// By a local user, who may be disabled or deleted since.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) is_local: bool,
}

impl Login {
    /// Whether the user is still one for whom something is issued.
    pub(crate) async fn holds(&self, exchange: &Exchange<'_>, subject: &str) -> Result<(), Denial> {
        if !self.is_local {
            return Ok(());
        }
        let user = exchange.state.users.find_by_subject(subject, exchange.now).await?;
        match user.filter(|user| !user.is_disabled()) {
            Some(_) => Ok(()),
            None => Err(Reason::GrantInvalid.into()),
        }
    }
}

/// What is kept of a grant, for those who look after it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Head {
    pub(crate) client: Box<str>,
    pub(crate) subject: Box<str>,
    #[serde(default)]
    pub(crate) scope: Box<str>,
    /// When the user signed in for it; if nobody knows, when it began.
    #[serde(default)]
    pub(crate) since: u64,
    /// By a local user, who may be disabled or deleted since.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub(crate) is_local: bool,
}

impl Head {
    fn new(client: &str, subject: &str, scope: &str, login: &Login, now: UnixTime) -> Self {
        let since = login.auth_time.unwrap_or(now.as_secs());
        Self { client: client.into(), subject: subject.into(), scope: scope.into(), since, is_local: login.is_local }
    }
}

/// What a family of tokens hangs on.
fn begin(family: &str, head: &Head, ends: UnixTime) -> Change {
    Change::Insert { kind: Kind::GRANT, id: family.into(), family: family.into(), expires: ends, body: to_json(head) }
}

/// Clients that may refresh get a token for that.
fn refresh_plan(exchange: &Exchange<'_>, client: &Client, scope: &str) -> Option<RefreshPlan> {
    client.grant_types.contains(&GrantType::RefreshToken).then(|| RefreshPlan {
        client: client.id.clone(),
        is_public: client.is_public(),
        scope: scope.to_owned(),
        expires: exchange.now.plus(exchange.state.config.refresh_lifetime),
    })
}

/// Looks at the grant of an authenticated client.
pub(crate) async fn look(exchange: &Exchange<'_>, form: &Form, client: &Client) -> Result<Grant, Denial> {
    let name = form.get("grant_type").ok_or_else(|| malformed("grant_type is missing"))?;
    let grant_type: GrantType = name.parse().map_err(|_| Reason::GrantUnsupported)?;
    if !client.grant_types.contains(&grant_type) {
        return Err(Reason::ClientForbidden.into());
    }
    let grant = match grant_type {
        GrantType::ClientCredentials => client_credentials::look(exchange, form, client),
        GrantType::AuthorizationCode => authorization_code::look(exchange, form, client).await,
        GrantType::RefreshToken => refresh_token::look(exchange, form, client).await,
        GrantType::DeviceCode => device_code::look(exchange, form, client).await,
        GrantType::TokenExchange => token_exchange::look(exchange, form, client).await,
    }?;
    // What was used before ends its family, whoever the user is by now.
    if let (Some(login), false) = (&grant.login, matches!(grant.redemption, Redemption::Spent { .. })) {
        login.holds(exchange, &grant.subject).await?;
    }
    Ok(grant)
}

/// What was asked for, in that order and once each; all that may be had if nothing was asked for.
pub(crate) fn scope<'s>(
    asked: Option<&str>,
    allowed: impl Iterator<Item = &'s str> + Clone,
) -> Result<String, Refusal> {
    let mut granted: Vec<&str> = Vec::new();
    let scopes = match asked {
        Some(asked) => asked.split(' ').collect(),
        None => allowed.clone().collect::<Vec<_>>(),
    };
    for scope in scopes {
        if !is_scope_token(scope) || !allowed.clone().any(|allowed| allowed == scope) {
            return Err(Reason::ScopeInvalid.into());
        }
        // What was granted is among the client's scopes, so this is bounded by them and not by the request.
        if !granted.contains(&scope) {
            granted.push(scope);
        }
    }
    Ok(granted.join(" "))
}

/// A new name of a grant for this subject; those of one subject stand together in the store.
pub(crate) fn family(subject: &str) -> Result<Box<str>, Fault> {
    Ok(family_named(subject, &handle::name()?))
}

/// The name of a grant for this subject that something else has named.
pub(crate) fn family_named(subject: &str, name: &str) -> Box<str> {
    [&*families_of(subject), name].concat().into()
}

/// What the names of all grants for this subject begin with: of its digest, in digits and letters that every database puts in the
/// same order.
pub(crate) fn families_of(subject: &str) -> Box<str> {
    HEXLOWER.encode(&Sha256::digest(subject.as_bytes())[..8]).into()
}

/// The scopes in a text of them.
pub(crate) fn scopes(text: &str) -> impl Iterator<Item = &str> + Clone {
    text.split(' ').filter(|scope| !scope.is_empty())
}

/// The resource asked for, or the default one. One token is for one resource: two resources are two requests.
pub(crate) fn audience(form: &Form, config: &IssuerConfig) -> Result<Box<str>, Refusal> {
    let mut asked = form.all("resource");
    let known = match (asked.next(), asked.next()) {
        (None, _) => config.audience.first(),
        (Some(resource), None) => config.audience.iter().find(|known| ***known == *resource),
        (Some(_), Some(_)) => None,
    };
    known.cloned().ok_or_else(|| Reason::TargetInvalid.into())
}

/// The resource that was granted, which may be named again and not changed.
pub(crate) fn same_audience(form: &Form, granted: &str) -> Result<Box<str>, Refusal> {
    if form.all("resource").all(|resource| resource == granted) {
        Ok(granted.into())
    } else {
        Err(Reason::TargetInvalid.into())
    }
}
