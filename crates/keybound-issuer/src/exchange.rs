//! What the endpoints that clients call have in common: a body, a proof, a client, a nonce in the answer. The order of an
//! endpoint is the order in which it calls these.

use core::net::{IpAddr, SocketAddr};
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
use crate::audit::{Entry, Event, Refused};
use crate::authenticate::{Authenticated, Credentials};
use crate::client::{Client, GrantType};
use crate::form::Form;
use crate::people::Connection;
use crate::proof_endpoint::ProofEndpoint;
use crate::room::network;
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
    peer: Option<SocketAddr>,
    endpoint: &'r TargetUri,
    epoch: Epoch,
    learnt: Learnt,
}

/// What a proof is used for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Use {
    /// For something that nobody has agreed to: anybody can have it who says the name of a public client.
    Asking,
    /// For what was granted: each time somebody had to agree, or a token was used up.
    Granted,
}

/// What the answer and the log need, however far the request came.
#[derive(Default)]
struct Learnt {
    jkt: Option<Thumbprint>,
    client: Option<Arc<Client>>,
    /// The client it says it is, if there is one.
    named: Option<Box<str>>,
    grant_type: Option<GrantType>,
    nonce_due: bool,
    retry_after: Option<u32>,
}

impl<'r> Exchange<'r> {
    pub(crate) fn begin(state: &'r State, parts: &'r Parts, endpoint: &'r TargetUri) -> Self {
        let epoch = state.replays.epoch();
        let peer = parts.extensions.get::<Connection>().map(Connection::peer);
        Self {
            state,
            now: state.clock.now(),
            headers: &parts.headers,
            peer,
            endpoint,
            epoch,
            learnt: Learnt::default(),
        }
    }

    /// The key the client proved to hold, if it sent a proof (R-AS-01, R-AS-17), by the nonce policy of this endpoint.
    pub(crate) fn prove(&mut self, at: ProofEndpoint) -> Result<Option<ProvenKey<'r>>, Denial> {
        self.one_authorization()?;
        let server = self.state.proof_servers.at(at);
        let proven = server.verify(self.headers, self.endpoint, self.epoch, self.now)?;
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
        let client = self.state.clients.find(self.state, credentials.client_id(), self.now).await?;
        self.learnt.named = client.as_ref().map(|client| client.id.clone());
        let authenticated = self.state.clients.authenticate(self.state, &credentials, client, self.now)?;
        self.learnt.client = Some(Arc::clone(&authenticated.client));
        Ok(authenticated)
    }

    fn one_authorization(&self) -> Result<(), Refusal> {
        match self.headers.get_all(AUTHORIZATION).iter().nth(1) {
            Some(_) => Err(Reason::CredentialsRepeated.into()),
            None => Ok(()),
        }
    }

    /// Records the proof: from here on it is used. `why` is what it is used for.
    pub(crate) async fn record(
        &mut self,
        proven: Option<ProvenKey<'_>>,
        why: Use,
    ) -> Result<Option<TokenBinding>, Denial> {
        let Some(proven) = proven else { return Ok(None) };
        let entry = proven.replay_entry();
        // By the clock and not as of the beginning: a record may have come and gone while this request was held up.
        let now = self.state.clock.now();
        let seen = match self.room_for(entry.expires(), why, now) {
            Ok(()) => self.state.replays.record(&entry, now).await?,
            Err(retry_after) => Seen::OverQuota { retry_after },
        };
        match seen {
            Seen::Never => self.state.server.remember(&proven),
            Seen::OverQuota { retry_after } => self.learnt.retry_after = Some(retry_after),
            _ => {}
        }
        Ok(Some(proven.bind(seen)?))
    }

    /// A place for a proof that is kept until then. Who is known has one as long as there is one.
    fn room_for(&self, expires: UnixTime, why: Use, now: UnixTime) -> Result<(), u32> {
        let is_strange = self.learnt.client.as_ref().is_some_and(|client| match why {
            Use::Asking => self.state.is_anybodys(client),
            Use::Granted => self.state.came_unasked(client),
        });
        if !is_strange {
            return Ok(());
        }
        self.state.proofs.take(expires, self.network(), now)
    }

    fn network(&self) -> Option<IpAddr> {
        self.peer.and_then(|peer| network(peer.ip()))
    }

    /// Uses up the client's assertion, if it authenticated by one, and makes these changes, in one atomic step. Whether they
    /// found what they need. What was not kept does not count for the quota of the client: whoever sends an assertion of it once
    /// more does it no harm.
    pub(crate) async fn commit(
        &mut self,
        authenticated: Authenticated,
        mut changes: Vec<Change>,
    ) -> Result<Result<(), Lost>, Denial> {
        let Some(assertion) = authenticated.assertion else {
            return write(self.state, changes, self.now).await.map_err(Denial::from);
        };
        let place = match self.state.assertions.take(authenticated.client.id(), self.now) {
            Ok(place) => place,
            Err(retry_after) => {
                self.learnt.retry_after = Some(retry_after);
                return Err(assertion.refuse(Seen::OverQuota { retry_after }).into());
            }
        };
        if self.state.came_unasked(&authenticated.client) {
            self.state.strangers_assertions.take(0, self.network(), self.now)?;
        }
        changes.insert(0, assertion.change());
        let (store, now) = (Arc::clone(&self.state.store), self.now);
        match place.write(async move { store.write(changes, now).await }).await? {
            Written::Done => Ok(Ok(())),
            Written::Conflict(0) => Err(assertion.refuse(Seen::Before).into()),
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

    /// Notes what is asked for.
    pub(crate) fn asks_for(&mut self, grant_type: GrantType) {
        self.learnt.grant_type = Some(grant_type);
    }

    /// An entry for the audit log, with what is known so far.
    pub(crate) fn entry(&self, event: Event, endpoint: &str) -> Entry {
        let jkt = self.learnt.jkt.map(|jkt| jkt.to_string());
        let mut entry = Entry::new(event, self.now).at(endpoint, self.peer).jkt(jkt.as_deref());
        entry.client = self.client_id().map(Box::from).or_else(|| self.learnt.named.clone());
        entry.grant_type = self.learnt.grant_type.map(|grant| grant.as_str().into());
        entry
    }

    /// The same as [`Exchange::commit`], with the entry of what is done. It is told once it is done.
    pub(crate) async fn commit_noted(
        &mut self,
        authenticated: Authenticated,
        mut changes: Vec<Change>,
        entry: &Entry,
    ) -> Result<Result<(), Lost>, Denial> {
        changes.extend(self.state.audit.change(entry));
        let committed = self.commit(authenticated, changes).await?;
        if committed.is_ok() {
            self.state.audit.tell(entry).await;
        }
        Ok(committed)
    }

    /// The answer to a request that is refused.
    pub(crate) fn refused(&self, denial: &Denial) -> Response {
        let (detail, demanded) = match denial {
            Denial::Refused(refusal) => (refusal.detail(), refusal.demands_nonce()),
            _ => (None, false),
        };
        let mut answer = TokenErrorAnswer::new(denial, None).takes_basic(&self.state.realm);
        if self.learnt.grant_type == Some(GrantType::TokenExchange) {
            answer = answer.for_token_exchange();
        }
        if let Some(seconds) = self.learnt.retry_after {
            answer = answer.retry_after(seconds);
        }
        let mut response = answer::error(&answer);
        if let Some(nonce) = self.nonce(demanded || self.learnt.nonce_due) {
            response.headers_mut().insert(&DPOP_NONCE, nonce);
        }
        let mut entry = self.entry(Event::RequestRefused, "");
        entry.reason = Some(denial.code().into());
        let is_known = self.learnt.client.as_ref().is_some_and(|client| !self.state.is_anybodys(client));
        response.extensions_mut().insert(Refused { entry, detail: detail.map(Box::from), is_known });
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

/// The same as [`write`], with the entry of what is done. It is told once it is done.
pub(crate) async fn write_noted(
    state: &State,
    mut changes: Vec<Change>,
    entry: &Entry,
    now: UnixTime,
) -> Result<Result<(), Lost>, Fault> {
    changes.extend(state.audit.change(entry));
    let written = write(state, changes, now).await?;
    if written.is_ok() {
        state.audit.tell(entry).await;
    }
    Ok(written)
}

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
