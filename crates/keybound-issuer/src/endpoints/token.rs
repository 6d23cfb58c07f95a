//! The token endpoint: verify the proof, authenticate the client, look at the grant, record the proof, redeem, issue. What is
//! refused on the way has consumed nothing (R-AS-22, R-AS-23).

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use keybound::authorization_server::{GrantBinding, TokenBinding, token_type};
use keybound::refusal::{Denial, Reason};

use crate::State;
use crate::answer;
use crate::audit::{Entry, Event};
use crate::authenticate::Authenticated;
use crate::client::Client;
use crate::exchange::{Exchange, Use, read_form, write_noted};
use crate::form::Form;
use crate::grants::{self, Grant, Redemption};
use crate::proof_endpoint::ProofEndpoint;
use crate::store::Change;
use crate::tokens::{self, RefreshToken};

/// Answers a POST.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts, &state.endpoints.token);
    match run(&mut exchange, &body).await {
        Ok(body) => exchange.granted(StatusCode::OK, body),
        Err(denial) => exchange.refused(&denial),
    }
}

/// What the audit log calls this endpoint.
const NAME: &str = "token";

/// The body of a successful answer.
async fn run(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<String, Denial> {
    let proven = exchange.prove(ProofEndpoint::Token)?;
    let form = Form::parse(body)?;
    if let Some(Ok(grant_type)) = form.get("grant_type").map(str::parse) {
        exchange.asks_for(grant_type);
    }
    let authenticated = exchange.authenticate(&form).await?;
    let client = authenticated.client.clone();
    let grant = grants::look(exchange, &form, &client).await?;
    if exchange.state.config.fapi {
        GrantBinding::AnyKey.check(proven.as_ref())?;
    }
    client.binding().check(proven.as_ref())?;
    grant.key.check(proven.as_ref())?;
    let is_granted = !matches!(grant.redemption, Redemption::NotYet { .. });
    let binding = exchange.record(proven, if is_granted { Use::Granted } else { Use::Asking }).await?;
    redeem(exchange, authenticated, &client, &grant, binding.as_ref()).await
}

/// In one atomic step: what was granted is used up, and what comes of it is there, with its entry in the audit log. The tokens are
/// made before and leave after.
async fn redeem(
    exchange: &mut Exchange<'_>,
    authenticated: Authenticated,
    client: &Client,
    grant: &Grant,
    binding: Option<&TokenBinding>,
) -> Result<String, Denial> {
    let (mut changes, family) = match &grant.redemption {
        Redemption::Free => (Vec::new(), None),
        Redemption::Once { changes, family } => (changes.clone(), family.as_deref()),
        Redemption::Spent { family } => {
            // The assertion is used up as well, or the same request could be sent again.
            let _ = exchange.commit(authenticated, Vec::new()).await?;
            return revoke(exchange, grant, family).await;
        }
        Redemption::NotYet { change, reason } => {
            // Whether or not it could be noted: another question came at the same moment.
            let _ = exchange.commit(authenticated, vec![change.clone()]).await?;
            return Err((*reason).into());
        }
    };
    let refresh = grant.refresh.as_ref().map(|plan| RefreshToken::new(plan, grant, binding)).transpose()?;
    let (refresh, stored) = refresh.map(|refresh| (refresh.token, refresh.change)).unzip();
    changes.extend(stored);
    let made = tokens::answer(exchange, client, grant, binding, refresh).await?;
    let entry = Entry {
        token_type: Some(token_type(binding).into()),
        jti: Some(made.jti),
        token_sha256: Some(made.token_sha256),
        ..of(exchange, Event::TokenIssued, grant).scope(&grant.scope)
    };
    match (exchange.commit_noted(authenticated, changes, &entry).await?, family) {
        (Ok(()), _) => Ok(made.body),
        (Err(_), Some(family)) => revoke(exchange, grant, family).await,
        (Err(_), None) => Err(Reason::GrantInvalid.into()),
    }
}

fn of(exchange: &Exchange<'_>, event: Event, grant: &Grant) -> Entry {
    exchange.entry(event, NAME).subject(&grant.subject).grant(grant.family.as_deref())
}

/// What was used is used again: somebody has it who should not, and nobody can tell who. All that came of it dies (R-AS-08,
/// R-AS-35).
async fn revoke<T>(exchange: &Exchange<'_>, grant: &Grant, family: &str) -> Result<T, Denial> {
    tracing::warn!(client_id = exchange.client_id(), "a grant was used twice; what came of it is revoked");
    let changes = vec![Change::DeleteFamily { family: family.into() }];
    let entry = of(exchange, Event::GrantReused, grant);
    let _ = write_noted(exchange.state, changes, &entry, exchange.now).await?;
    Err(Reason::GrantInvalid.into())
}
