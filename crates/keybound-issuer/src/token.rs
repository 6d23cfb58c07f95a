//! The token endpoint: verify the proof, authenticate the client, look at the grant, record the proof, redeem, issue. What is
//! refused on the way has consumed nothing (R-AS-22, R-AS-23).

use core::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body_util::BodyExt as _;
use keybound::authorization_server::{ProvenKey, TokenBinding, VerifiedAssertion, token_type};
use keybound::challenge::{DPOP_NONCE, TokenErrorAnswer};
use keybound::crypto::aws_lc::random_array;
use keybound::jwk::Thumbprint;
use keybound::jws::encode_base64url;
use keybound::refusal::{Denial, Reason, Refusal};
use keybound::replay::{Epoch, ReplayEntry, Seen};
use keybound::time::UnixTime;
use serde_json::json;
use zeroize::Zeroizing;

use crate::State;
use crate::answer;
use crate::authenticate::{Authenticated, Credentials, tried_basic};
use crate::client::Client;
use crate::form::Form;
use crate::grant::Grant;

/// The longest body that is read; a token request with an assertion and a long scope is about 10 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// Answers a POST to the token endpoint.
pub(crate) async fn endpoint(state: &State, parts: Parts, body: Body) -> Response {
    let body = match read_body(&parts, body).await {
        Ok(body) => body,
        Err(status) => return answer::malformed(status),
    };
    let mut exchange = Exchange {
        state,
        headers: &parts.headers,
        epoch: state.replays.epoch(),
        now: state.clock.now(),
        learnt: Learnt::default(),
    };
    match exchange.run(&body).await {
        Ok(issued) => exchange.issued(&issued),
        Err(denial) => exchange.refused(&denial),
    }
}

/// The body of a form of sensible size.
async fn read_body(parts: &Parts, mut body: Body) -> Result<Zeroizing<Vec<u8>>, StatusCode> {
    if !is_form(&parts.headers) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let announced = body
        .size_hint()
        .upper()
        .map_or(MAX_BODY, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
    if announced > MAX_BODY {
        return Err(StatusCode::PAYLOAD_TOO_LARGE);
    }
    let reading = async {
        // Never grown, so that no copy of a secret stays behind.
        let mut octets = Zeroizing::new(Vec::with_capacity(announced));
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| StatusCode::BAD_REQUEST)?;
            let data = frame.into_data().unwrap_or_default();
            if octets.len() + data.len() > announced {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            octets.extend_from_slice(&data);
        }
        Ok(octets)
    };
    tokio::time::timeout(BODY_TIME, reading)
        .await
        .unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// Whether the one `Content-Type` is that of a form, whatever its parameters (RFC 6749 section 3.2).
fn is_form(headers: &HeaderMap) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return false;
    };
    let essence = field
        .as_bytes()
        .split(|octet| *octet == b';')
        .next()
        .unwrap_or_default();
    essence
        .trim_ascii()
        .eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}

/// One token request on its way.
struct Exchange<'r> {
    state: &'r State,
    headers: &'r HeaderMap,
    epoch: Epoch,
    now: UnixTime,
    learnt: Learnt,
}

/// What the answer and the log need, however far the request came.
#[derive(Default)]
struct Learnt {
    jkt: Option<Thumbprint>,
    client_id: Option<Box<str>>,
    nonce_due: bool,
    retry_after: Option<u32>,
}

/// The body of a successful answer.
struct Issued {
    body: String,
    token_type: &'static str,
}

impl Exchange<'_> {
    async fn run(&mut self, body: &[u8]) -> Result<Issued, Denial> {
        if self.headers.get_all(AUTHORIZATION).iter().nth(1).is_some() {
            return Err(Reason::CredentialsRepeated.into());
        }
        let state = self.state;
        let proven = state
            .server
            .verify(self.headers, &state.endpoints.token, self.epoch, self.now)?;
        if let Some(proven) = &proven {
            self.learnt.jkt = Some(*proven.jkt());
            self.learnt.nonce_due = proven.proof().nonce_due();
        }
        let form = Form::parse(body)?;
        let credentials = Credentials::read(self.headers, &form)?;
        let Authenticated { client, assertion } =
            state
                .clients
                .authenticate(&credentials, &state.audience(), self.epoch, self.now)?;
        self.learnt.client_id = Some(client.id.clone());
        let grant = Grant::read(&form, client, &state.config)?;
        client.binding().check(proven.as_ref())?;
        let binding = self.redeem(proven, assertion).await?;
        self.issue(client, &grant, binding.as_ref())
    }

    /// Records the proof, then the assertion: a proof that was used before does not use up an assertion.
    async fn redeem(
        &mut self,
        proven: Option<ProvenKey<'_>>,
        assertion: Option<VerifiedAssertion>,
    ) -> Result<Option<TokenBinding>, Denial> {
        let binding = match proven {
            None => None,
            Some(proven) => {
                let seen = self.record(&proven.replay_entry()).await?;
                if seen == Seen::Never {
                    self.state.server.remember(&proven);
                }
                Some(proven.bind(seen)?)
            }
        };
        if let Some(assertion) = assertion {
            let seen = self.record(&assertion.replay_entry()).await?;
            assertion.authenticate(seen)?;
        }
        Ok(binding)
    }

    async fn record(&mut self, entry: &ReplayEntry<'_>) -> Result<Seen, Denial> {
        let seen = self.state.replays.record(entry, self.now).await?;
        if let Seen::OverQuota { retry_after } = seen {
            self.learnt.retry_after = Some(retry_after);
        }
        Ok(seen)
    }

    /// A JWT access token (RFC 9068 section 2.2); its `cnf` and `token_type` are one decision (R-AS-03, R-AS-04, R-AS-29).
    fn issue(&self, client: &Client, grant: &Grant, binding: Option<&TokenBinding>) -> Result<Issued, Denial> {
        let lifetime = self.state.config.token_lifetime;
        let mut claims = json!({
            "iss": self.state.config.issuer,
            "sub": grant.subject,
            "aud": grant.audience,
            "client_id": client.id,
            "iat": self.now.as_secs(),
            "exp": self.now.plus(lifetime).as_secs(),
            "jti": encode_base64url(&random_array::<16>()?),
        });
        if !grant.scope.is_empty() {
            claims["scope"] = json!(grant.scope);
        }
        if let Some(binding) = binding {
            claims["cnf"] = binding.cnf();
        }
        let token_type = token_type(binding);
        let mut body = json!({
            "access_token": self.state.keys.sign(&claims)?,
            "token_type": token_type,
            "expires_in": lifetime.as_secs(),
        });
        if !grant.scope.is_empty() {
            body["scope"] = json!(grant.scope);
        }
        Ok(Issued {
            body: body.to_string(),
            token_type,
        })
    }

    fn issued(&self, issued: &Issued) -> Response {
        tracing::info!(
            client_id = self.learnt.client_id.as_deref(),
            jkt = self.learnt.jkt.map(tracing::field::display),
            token_type = issued.token_type,
            "issued"
        );
        let mut response = answer::json(StatusCode::OK, issued.body.clone());
        answer::never_stored(&mut response);
        if let Some(nonce) = self.nonce(self.learnt.nonce_due) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        response
    }

    fn refused(&self, denial: &Denial) -> Response {
        let (detail, demanded) = match denial {
            Denial::Refused(refusal) => (refusal.detail(), refusal.demands_nonce()),
            _ => (None, false),
        };
        tracing::info!(
            reason = denial.code(),
            detail,
            client_id = self.learnt.client_id.as_deref(),
            jkt = self.learnt.jkt.map(tracing::field::display),
            "refused"
        );
        let mut answer = TokenErrorAnswer::new(denial, None);
        if tried_basic(self.headers) {
            answer = answer.tried_basic(&self.state.realm);
        }
        if let Some(seconds) = self.learnt.retry_after {
            answer = answer.retry_after(seconds);
        }
        let mut response = answer::error(&answer);
        if let Some(nonce) = self.nonce(demanded || self.learnt.nonce_due) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        response
    }

    /// A new nonce under the epoch in force now, which may not be the one the proof was judged under.
    fn nonce(&self, due: bool) -> Option<HeaderValue> {
        let (server, endpoint) = (&self.state.server, &self.state.endpoints.token);
        let nonce = due.then(|| server.issue_nonce(endpoint, self.state.replays.epoch(), self.now))?;
        HeaderValue::from_str(nonce.as_str()).ok()
    }
}

/// The request as a whole is not one this server answers: `Host` is missing, doubled or malformed (R-URI-10).
pub(crate) fn refused_as_http(refusal: Refusal) -> Response {
    answer::error(&TokenErrorAnswer::new(&refusal.into(), None))
}
