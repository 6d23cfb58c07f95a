//! The claims of the user (OpenID Connect Core section 5.3): a protected resource of this server, with the rules of every other
//! one (R-AS-30).

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use keybound::refusal::{Denial, Reason};
use keybound::request::{announces_form, form_holds_token};
use keybound::token::TokenPolicy;
use keybound_tower::answer::complete;
use keybound_tower::{FixedKeys, Judgement, Policy, ProofHandling, ResourceServer};
use serde_json::json;
use zeroize::Zeroizing;

use crate::State;
use crate::answer;
use crate::audit::Refused;
use crate::exchange::read_form;
use crate::grants::scopes;
use crate::replays::Shared;
use crate::tokens;

/// Decides about requests to this resource.
#[derive(Debug)]
pub(crate) struct Guard {
    server: ResourceServer<Shared>,
    policy: Policy,
}

impl Guard {
    pub(crate) fn new(
        issuer: &str,
        keys: FixedKeys,
        verifier: Arc<keybound::verify::Verifier>,
        origins: keybound::request::Origins,
        replays: Shared,
        clock: crate::Clock,
    ) -> Option<Self> {
        let server = ResourceServer::builder(verifier, origins, Arc::new(replays))
            .issuer(TokenPolicy::new(issuer, [issuer]), keys)
            .clock(Arc::new(clock))
            .build()
            .ok()?;
        // Tokens that are not bound are served as bearer tokens; those that are, never.
        Some(Self { server, policy: Policy::optional().scope(tokens::OPENID).ok()? })
    }
}

/// Answers GET and POST.
pub(crate) async fn show(state: &State, parts: Parts, body: Body) -> Response {
    let Guard { server, policy } = &state.userinfo;
    let origin = match state.origins.choose(&parts) {
        Ok(origin) => origin,
        Err(refusal) => return crate::exchange::refused_as_http(refusal),
    };
    let form = match announces_form(&parts.headers) {
        true => read_form(&parts, body).await,
        false => Ok(Zeroizing::default()),
    };
    let judgement = match form {
        Ok(form) if form_holds_token(&form) => Judgement::token_in_form(&parts.headers),
        Ok(_) => server.decide(&parts, origin, policy).await,
        Err(status) => return answer::malformed(status),
    };
    let said = match judgement.result() {
        Ok(access) => said(state, access.facts().claims()).await,
        Err(denial) => Err(denial.clone()),
    };
    let mut response = match &said {
        Ok(body) => answer::json(StatusCode::OK, body.clone()),
        Err(denial) => refused(state, denial, &judgement),
    };
    complete(response.headers_mut(), judgement.nonce(), ProofHandling::Consume);
    answer::never_stored(&mut response);
    response
}

async fn said(state: &State, claims: &serde_json::Map<String, serde_json::Value>) -> Result<String, Denial> {
    let jti = claims.get("jti").and_then(serde_json::Value::as_str).unwrap_or_default();
    if !tokens::is_alive(state, jti, state.clock.now()).await? {
        return Err(Reason::TokenInactive.into());
    }
    let text = |name: &str| claims.get(name).and_then(serde_json::Value::as_str).unwrap_or_default();
    let mut said = json!({ "sub": text("sub") });
    // OpenID Connect Core section 5.4.
    let has = |scope: &str| scopes(text("scope")).any(|one| one == scope);
    if (has("profile") || has("email"))
        && let Some(user) = state.users.find_by_subject(text("sub"), state.clock.now()).await?
    {
        if has("profile") {
            said["preferred_username"] = json!(user.name());
            if let Some(name) = user.full_name() {
                said["name"] = json!(name);
            }
        }
        if let Some(email) = user.email().filter(|_| has("email")) {
            said["email"] = json!(email);
        }
    }
    Ok(said.to_string())
}

fn refused(state: &State, denial: &Denial, judgement: &Judgement) -> Response {
    let Guard { server, policy } = &state.userinfo;
    let mut refused = Refused::because(denial.code());
    refused.entry.client = judgement.client_id().map(Box::from);
    let mut response: Response = server.answer(denial, judgement, policy).map(Into::into);
    response.extensions_mut().insert(refused);
    response
}
