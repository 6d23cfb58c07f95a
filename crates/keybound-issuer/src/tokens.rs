//! What a grant is turned into: access tokens (RFC 9068), refresh tokens, ID tokens. The only place where tokens are made.

use keybound::authorization_server::{TokenBinding, token_type};
use keybound::refusal::{Denial, Fault};
use keybound::request::AccessToken;
use keybound::time::UnixTime;
use keybound::token::jwt::SignedJwt;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::State;
use crate::audit::digest_prefix;
use crate::client::Client;
use crate::exchange::Exchange;
use crate::grants::{Grant, RefreshPlan, refresh_token};
use crate::handle;
use crate::store::{Change, Kind, to_json};

/// The scope that asks for an ID token and the claims of the user.
pub(crate) const OPENID: &str = "openid";

/// A token response that has not left.
pub(crate) struct Made {
    pub(crate) body: String,
    /// The name of its access token.
    pub(crate) jti: Box<str>,
    /// What that token is told by in logs.
    pub(crate) token_sha256: Box<str>,
}

/// RFC 6749 section 5.1, RFC 8693 section 2.2.1, OpenID Connect Core section 3.1.3.3.
#[derive(Serialize)]
struct Body<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    issued_token_type: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    id_token: Option<String>,
}

/// The body of the token response.
pub(crate) async fn answer(
    exchange: &Exchange<'_>,
    client: &Client,
    grant: &Grant,
    binding: Option<&TokenBinding>,
    refresh: Option<String>,
) -> Result<Made, Denial> {
    let config = &exchange.state.config;
    let now = exchange.now;
    let until = grant.not_after.map_or(now.plus(config.token_lifetime), |end| end.min(now.plus(config.token_lifetime)));
    let jti = jti(grant.family.as_deref())?;
    let token = access_token(exchange, client, grant, binding, &jti, until).await?;
    let token_sha256 = digest_prefix(&token);
    let has_id_token = is_openid(&grant.scope) && grant.login.is_some();
    let body = Body {
        access_token: &token,
        token_type: token_type(binding),
        expires_in: until.since(now).as_secs(),
        scope: &grant.scope,
        refresh_token: refresh.as_deref(),
        issued_token_type: grant.issued_token_type,
        id_token: if has_id_token { Some(id_token(exchange, client, grant).await?) } else { None },
    };
    Ok(Made { body: to_json(&body).into_string(), jti: jti.into(), token_sha256 })
}

/// Whether an ID token was asked for.
pub(crate) fn is_openid(scope: &str) -> bool {
    scope.split(' ').any(|scope| scope == OPENID)
}

/// RFC 9068 section 2.2.
#[derive(Serialize)]
struct AccessClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: Aud<'a>,
    client_id: &'a str,
    iat: u64,
    exp: u64,
    jti: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    scope: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cnf: Option<Value>,
}

/// RFC 7519 section 4.1.3.
#[derive(Serialize)]
#[serde(untagged)]
enum Aud<'a> {
    One(&'a str),
    Two([&'a str; 2]),
}

/// A JWT access token (RFC 9068 section 2.2); its `cnf` and `token_type` are one decision (R-AS-03, R-AS-04, R-AS-29).
async fn access_token(
    exchange: &Exchange<'_>,
    client: &Client,
    grant: &Grant,
    binding: Option<&TokenBinding>,
    jti: &str,
    until: UnixTime,
) -> Result<String, Denial> {
    let config = &exchange.state.config;
    // The claims of the user are a resource of this server.
    let and_this_server = is_openid(&grant.scope).then_some(&*config.issuer);
    let claims = AccessClaims {
        iss: &config.issuer,
        sub: &grant.subject,
        aud: and_this_server.map_or(Aud::One(&grant.audience), |issuer| Aud::Two([&grant.audience, issuer])),
        client_id: &client.id,
        iat: exchange.now.as_secs(),
        exp: until.as_secs(),
        jti,
        scope: &grant.scope,
        auth_time: grant.login.as_ref().and_then(|login| login.auth_time),
        cnf: binding.map(TokenBinding::cnf),
    };
    Ok(exchange.state.keys.sign("at+jwt", &claims, exchange.now).await?)
}

/// The name of a token. Where it came of a grant that can be revoked, that grant's name is its first half.
fn jti(family: Option<&str>) -> Result<String, Fault> {
    let own = handle::name()?;
    Ok(family.map_or(own.clone(), |family| [family, ".", &own].concat()))
}

/// The grant that a token of this name came of.
pub(crate) fn family_of(jti: &str) -> Option<&str> {
    jti.split_once('.').map(|(family, _)| family)
}

/// An access token of this server that is alive.
#[derive(Debug, Deserialize)]
pub(crate) struct Live {
    pub(crate) iss: Box<str>,
    pub(crate) sub: Box<str>,
    pub(crate) client_id: Box<str>,
    pub(crate) jti: Box<str>,
    pub(crate) exp: u64,
    #[serde(default)]
    pub(crate) scope: Box<str>,
    pub(crate) cnf: Option<Confirmation>,
    pub(crate) auth_time: Option<u64>,
    aud: Value,
    /// All of them, as they were signed.
    #[serde(skip)]
    pub(crate) claims: serde_json::Map<String, Value>,
}

/// What it is bound to.
#[derive(Debug, Deserialize)]
pub(crate) struct Confirmation {
    pub(crate) jkt: Box<str>,
}

impl Live {
    /// The resource it is for.
    pub(crate) fn resource(&self) -> Option<&str> {
        self.aud.as_str().or_else(|| self.aud.get(0).and_then(Value::as_str))
    }
}

/// Reads an access token: ours, signed by us, not expired, not revoked. Nothing for any other text.
pub(crate) async fn read(state: &State, text: &str, now: UnixTime) -> Result<Option<Live>, Fault> {
    let facts = || {
        let jwt = SignedJwt::parse(AccessToken::parse(text)?).ok()?;
        let (facts, _) = jwt.verify(&state.key_set.current()).ok()?;
        let claims = facts.claims().clone();
        let live: Live = serde_json::from_value(claims.clone().into()).ok()?;
        Some(Live { claims, ..live })
    };
    let Some(live) = facts() else { return Ok(None) };
    let fits = *live.iss == *state.config.issuer && now.as_secs() < live.exp;
    Ok(if fits && is_alive(state, &live.jti, now).await? { Some(live) } else { None })
}

/// Whether a token of this name was not revoked, nor what it came of.
pub(crate) async fn is_alive(state: &State, jti: &str, now: UnixTime) -> Result<bool, Fault> {
    let has_grant = match family_of(jti) {
        Some(family) => state.store.read(Kind::GRANT, family, now).await?.is_some(),
        None => true,
    };
    Ok(has_grant && state.store.read(Kind::REVOKED, jti, now).await?.is_none())
}

/// OpenID Connect Core section 2.
#[derive(Serialize)]
struct IdClaims<'a> {
    iss: &'a str,
    sub: &'a str,
    aud: &'a str,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_time: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nonce: Option<&'a str>,
}

async fn id_token(exchange: &Exchange<'_>, client: &Client, grant: &Grant) -> Result<String, Fault> {
    let config = &exchange.state.config;
    let login = grant.login.as_ref();
    let claims = IdClaims {
        iss: &config.issuer,
        sub: &grant.subject,
        aud: &client.id,
        iat: exchange.now.as_secs(),
        exp: exchange.now.plus(config.token_lifetime).as_secs(),
        auth_time: login.and_then(|login| login.auth_time),
        nonce: login.and_then(|login| login.nonce.as_deref()),
    };
    exchange.state.keys.sign("JWT", &claims, exchange.now).await
}

/// A refresh token that is about to be stored.
pub(crate) struct RefreshToken {
    pub(crate) token: String,
    pub(crate) change: Change,
}

impl RefreshToken {
    /// A new one of this grant. That of a public client is bound to the key that was proven (R-AS-05); that of another
    /// client is not, for it authenticates (R-AS-07).
    pub(crate) fn new(plan: &RefreshPlan, grant: &Grant, binding: Option<&TokenBinding>) -> Result<Self, Denial> {
        let token = handle::secret()?;
        let family = grant.family.clone().unwrap_or_default();
        let body = refresh_token::Stored {
            jkt: binding.filter(|_| plan.is_public).map(|binding| binding.jkt().to_string().into()),
            bound: binding.is_some(),
            used: false,
            client: plan.client.clone(),
            subject: grant.subject.clone(),
            scope: plan.scope.clone(),
            audience: grant.audience.clone(),
            login: grant.login.clone(),
        };
        let change = Change::Insert {
            kind: Kind::REFRESH,
            id: handle::digest(&token),
            family,
            expires: plan.expires,
            body: body.to_json(),
        };
        Ok(Self { token, change })
    }
}
