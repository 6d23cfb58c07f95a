//! What the endpoints that clients call have in common: a body, a proof, a client, a nonce in the answer. The order of an
//! endpoint is the order in which it calls these.

use core::time::Duration;
use std::sync::Arc;

use axum::body::{Body, HttpBody as _};
use axum::response::Response;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use http_body_util::BodyExt as _;
use keybound::authorization_server::{ProvenKey, TokenBinding};
use keybound::challenge::{DPOP_NONCE, TokenErrorAnswer};
use keybound::jwk::Thumbprint;
use keybound::refusal::{Denial, Fault, Reason, Refusal};
use keybound::replay::{Epoch, ReplayStore as _, Seen};
use keybound::request::TargetUri;
use keybound::time::UnixTime;
use zeroize::Zeroizing;

use crate::State;
use crate::answer;
use crate::authenticate::{Authenticated, Credentials, tried_basic};
use crate::client::Client;
use crate::form::Form;
use crate::store::{Change, Written};

/// The longest body that is read; a token request with an assertion and a long scope is about 10 KiB.
const MAX_BODY: usize = 64 * 1024;

/// How long a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(10);

/// The body of a form of sensible size.
pub(crate) async fn read_form(parts: &Parts, body: Body) -> Result<Zeroizing<Vec<u8>>, StatusCode> {
    read_body(parts, body, "application/x-www-form-urlencoded").await
}

/// A body of this type and of sensible size.
pub(crate) async fn read_body(parts: &Parts, mut body: Body, kind: &str) -> Result<Zeroizing<Vec<u8>>, StatusCode> {
    if !is_of_type(&parts.headers, kind) {
        return Err(StatusCode::BAD_REQUEST);
    }
    let announced = body.size_hint().upper().map_or(MAX_BODY, |upper| usize::try_from(upper).unwrap_or(usize::MAX));
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
    tokio::time::timeout(BODY_TIME, reading).await.unwrap_or(Err(StatusCode::REQUEST_TIMEOUT))
}

/// The parameters a browser brings: in the query of a GET, or in the form of a POST. The inner error is told on a page.
pub(crate) async fn read_visit(parts: &Parts, body: Body) -> Result<Result<Form, Refusal>, StatusCode> {
    if parts.method == Method::POST {
        return read_form(parts, body).await.map(|form| Form::parse(&form));
    }
    Ok(Form::parse(parts.uri.query().unwrap_or_default().as_bytes()))
}

/// Whether the one `Content-Type` is this, whatever its parameters (RFC 6749 section 3.2).
fn is_of_type(headers: &HeaderMap, kind: &str) -> bool {
    let mut fields = headers.get_all(CONTENT_TYPE).iter();
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return false;
    };
    let essence = field.as_bytes().split(|octet| *octet == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(kind.as_bytes())
}

/// One request of a client on its way.
pub(crate) struct Exchange<'r> {
    pub(crate) state: &'r State,
    pub(crate) now: UnixTime,
    headers: &'r HeaderMap,
    endpoint: &'r TargetUri,
    epoch: Epoch,
    learnt: Learnt,
}

/// What the answer and the log need, however far the request came.
#[derive(Default)]
struct Learnt {
    jkt: Option<Thumbprint>,
    client: Option<Arc<Client>>,
    nonce_due: bool,
    retry_after: Option<u32>,
}

impl<'r> Exchange<'r> {
    pub(crate) fn begin(state: &'r State, headers: &'r HeaderMap, endpoint: &'r TargetUri) -> Self {
        let epoch = state.replays.epoch();
        Self { state, now: state.clock.now(), headers, endpoint, epoch, learnt: Learnt::default() }
    }

    /// The key the client proved to hold, if it sent a proof (R-AS-01, R-AS-17).
    pub(crate) fn prove(&mut self) -> Result<Option<ProvenKey<'r>>, Denial> {
        self.one_authorization()?;
        let proven = self.state.server.verify(self.headers, self.endpoint, self.epoch, self.now)?;
        if let Some(proven) = &proven {
            self.learnt.jkt = Some(*proven.jkt());
            self.learnt.nonce_due = proven.proof().nonce_due();
        }
        Ok(proven)
    }

    /// Which client this is (R-AS-27).
    pub(crate) async fn authenticate(&mut self, form: &Form) -> Result<Authenticated, Denial> {
        self.one_authorization()?;
        let credentials = Credentials::read(self.headers, form)?;
        let authenticated = self.state.clients.authenticate(self.state, &credentials, self.now).await?;
        self.learnt.client = Some(Arc::clone(&authenticated.client));
        Ok(authenticated)
    }

    fn one_authorization(&self) -> Result<(), Refusal> {
        match self.headers.get_all(AUTHORIZATION).iter().nth(1) {
            Some(_) => Err(Reason::CredentialsRepeated.into()),
            None => Ok(()),
        }
    }

    /// Records the proof: from here on it is used.
    pub(crate) async fn record(&mut self, proven: Option<ProvenKey<'_>>) -> Result<Option<TokenBinding>, Denial> {
        let Some(proven) = proven else { return Ok(None) };
        let seen = self.state.replays.record(&proven.replay_entry(), self.now).await?;
        match seen {
            Seen::Never => self.state.server.remember(&proven),
            Seen::OverQuota { retry_after } => self.learnt.retry_after = Some(retry_after),
            _ => {}
        }
        Ok(Some(proven.bind(seen)?))
    }

    /// Uses up the client's assertion, if it authenticated by one, and makes these changes, in one atomic step. Whether they
    /// found what they need.
    pub(crate) async fn commit(
        &self,
        authenticated: Authenticated,
        mut changes: Vec<Change>,
    ) -> Result<Result<(), Lost>, Denial> {
        let Some(assertion) = authenticated.assertion else {
            return write(self.state, changes, self.now).await.map_err(Denial::from);
        };
        changes.insert(0, assertion.change());
        match self.state.store.write(changes, self.now).await? {
            Written::Done => Ok(Ok(())),
            Written::Conflict(0) => Err(assertion.refuse().into()),
            Written::Conflict(_) => Ok(Err(Lost)),
        }
    }

    /// The answer to a request that is granted.
    pub(crate) fn granted(&self, status: StatusCode, body: String) -> Response {
        self.complete(answer::json(status, body))
    }

    /// With the fields that every answer to a granted request has.
    pub(crate) fn complete(&self, mut response: Response) -> Response {
        answer::never_stored(&mut response);
        if let Some(nonce) = self.nonce(self.learnt.nonce_due) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        response
    }

    /// The last second of an access token that is made now.
    pub(crate) fn access_ends(&self) -> UnixTime {
        self.now.plus(self.state.config.token_lifetime)
    }

    pub(crate) fn client_id(&self) -> Option<&str> {
        self.learnt.client.as_ref().map(|client| client.id())
    }

    pub(crate) const fn jkt(&self) -> Option<Thumbprint> {
        self.learnt.jkt
    }

    /// The answer to a request that is refused.
    pub(crate) fn refused(&self, denial: &Denial) -> Response {
        let (detail, demanded) = match denial {
            Denial::Refused(refusal) => (refusal.detail(), refusal.demands_nonce()),
            _ => (None, false),
        };
        tracing::info!(
            reason = denial.code(),
            detail,
            client_id = self.client_id(),
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
        let server = &self.state.server;
        let nonce = due.then(|| server.issue_nonce(self.endpoint, self.state.replays.epoch(), self.now))?;
        HeaderValue::from_str(nonce.as_str()).ok()
    }
}

/// Somebody else was first: nothing was changed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lost;

/// Makes these changes, or none.
pub(crate) async fn write(state: &State, changes: Vec<Change>, now: UnixTime) -> Result<Result<(), Lost>, Fault> {
    if changes.is_empty() {
        return Ok(Ok(()));
    }
    Ok(match state.store.write(changes, now).await? {
        Written::Done => Ok(()),
        Written::Conflict(_) => Err(Lost),
    })
}

/// The request as a whole is not one this server answers: `Host` is missing, doubled or malformed (R-URI-10).
pub(crate) fn refused_as_http(refusal: Refusal) -> Response {
    answer::error(&TokenErrorAnswer::new(&refusal.into(), None))
}

/// A parameter is not as it must be; `why` is for the log.
pub(crate) fn malformed(why: &str) -> Refusal {
    Refusal::with_detail(Reason::RequestMalformed, why)
}
