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
use crate::authenticate::Authenticated;
use crate::exchange::{Exchange, read_form, write};
use crate::form::Form;
use crate::grants::{self, Grant, Redemption};
use crate::store::Change;
use crate::tokens::{self, RefreshToken};

/// Answers a POST.
pub(crate) async fn post(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_form(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange::begin(state, &parts.headers, &state.endpoints.token);
    match run(&mut exchange, &body).await {
        Ok(issued) => {
            tracing::info!(
                client_id = exchange.client_id(),
                jkt = exchange.jkt().map(tracing::field::display),
                token_type = issued.token_type,
                "issued"
            );
            exchange.granted(StatusCode::OK, issued.body)
        }
        Err(denial) => exchange.refused(&denial),
    }
}

/// The body of a successful answer.
struct Issued {
    body: String,
    token_type: &'static str,
}

async fn run(exchange: &mut Exchange<'_>, body: &[u8]) -> Result<Issued, Denial> {
    let proven = exchange.prove()?;
    let form = Form::parse(body)?;
    let authenticated = exchange.authenticate(&form).await?;
    let client = authenticated.client.clone();
    let grant = grants::look(exchange, &form, &client).await?;
    if exchange.state.config.fapi {
        GrantBinding::AnyKey.check(proven.as_ref())?;
    }
    client.binding().check(proven.as_ref())?;
    grant.key.check(proven.as_ref())?;
    let binding = exchange.record(proven).await?;
    let refresh = redeem(exchange, authenticated, &grant, binding.as_ref()).await?;
    let token_type = token_type(binding.as_ref());
    let body = tokens::answer(exchange, &client, &grant, binding.as_ref(), refresh)?;
    Ok(Issued { body, token_type })
}

/// In one atomic step: what was granted is used up, and what comes of it is there.
async fn redeem(
    exchange: &Exchange<'_>,
    authenticated: Authenticated,
    grant: &Grant,
    binding: Option<&TokenBinding>,
) -> Result<Option<String>, Denial> {
    let (mut changes, family) = match &grant.redemption {
        Redemption::Free => (Vec::new(), None),
        Redemption::Once { changes, family } => (changes.clone(), Some(family)),
        Redemption::Spent { family } => {
            // The assertion is used up as well, or the same request could be sent again.
            let _ = exchange.commit(authenticated, Vec::new()).await?;
            return revoke(exchange, family).await;
        }
        Redemption::NotYet { change, reason } => {
            // Whether or not it could be noted: another question came at the same moment.
            let _ = exchange.commit(authenticated, vec![change.clone()]).await?;
            return Err((*reason).into());
        }
    };
    let refresh = grant.refresh.as_ref().map(|plan| RefreshToken::new(plan, grant, binding)).transpose()?;
    changes.extend(refresh.as_ref().map(|refresh| refresh.change.clone()));
    match (exchange.commit(authenticated, changes).await?, family) {
        (Ok(()), _) => Ok(refresh.map(|refresh| refresh.token)),
        (Err(_), Some(family)) => revoke(exchange, family).await,
        (Err(_), None) => Err(Reason::GrantInvalid.into()),
    }
}

/// What was used is used again: somebody has it who should not, and nobody can tell who. All that came of it dies (R-AS-08,
/// R-AS-35).
async fn revoke<T>(exchange: &Exchange<'_>, family: &str) -> Result<T, Denial> {
    tracing::warn!(client_id = exchange.client_id(), "a grant was used twice; what came of it is revoked");
    let _ = write(exchange.state, vec![Change::DeleteFamily { family: family.into() }], exchange.now).await?;
    Err(Reason::GrantInvalid.into())
}
