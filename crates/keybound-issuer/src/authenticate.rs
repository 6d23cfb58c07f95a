//! Client authentication (RFC 6749 section 2.3, RFC 7523): what came, and whether it is the client's. A proof is no
//! authentication and plays no part here (R-AS-27).

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use data_encoding::BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use keybound::authorization_server::{ALLOWANCE, ASSERTION_TYPE, ClientAssertion, MAX_LIFETIME, VerifiedAssertion};
use keybound::refusal::{Denial, Fault, Reason, Refusal};
use keybound::replay::{Epoch, Seen};
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use zeroize::Zeroizing;

use crate::State;
use crate::client::{Authentication, Client, Secret};
use crate::form::{self, Form};
use crate::handle;
use crate::registered::Registered;
use crate::store::{Change, Kind, parse};

/// No assertion is remembered for longer.
pub(crate) const ASSERTIONS_KEPT: Duration = Duration::from_secs(MAX_LIFETIME.as_secs() + 2 * ALLOWANCE.as_secs());

/// The clients: those of the configuration at hand, those that registered themselves in the store.
#[derive(Debug)]
pub(crate) struct Clients {
    configured: HashMap<Box<str>, Arc<Client>>,
    /// Keys no assertion is signed with, tried where there is no such client.
    nobodys: KeySet,
}

/// The client is who it says. What it signed may have been used before: that is seen last of all.
pub(crate) struct Authenticated {
    pub(crate) client: Arc<Client>,
    pub(crate) assertion: Option<Assertion>,
}

/// A client assertion that is good if it was never used.
pub(crate) struct Assertion(VerifiedAssertion);

impl Assertion {
    /// Uses it up: the store refuses a second one.
    pub(crate) fn change(&self) -> Change {
        let entry = self.0.replay_entry();
        let id = handle::digest_of_entry(&entry);
        Change::Insert { kind: Kind::ASSERTION, id, family: "".into(), expires: entry.expires(), body: "{}".into() }
    }

    /// It was used before, or there are too many of its client.
    pub(crate) fn refuse(self, seen: Seen) -> Refusal {
        self.0.authenticate(seen).err().unwrap_or_else(|| Reason::ClientAuthentication.into())
    }
}

impl Clients {
    pub(crate) fn new(clients: &[Client], nobodys: KeySet) -> Self {
        let configured = clients.iter().map(|client| (client.id.clone(), Arc::new(client.clone()))).collect();
        Self { configured, nobodys }
    }

    /// The client of this name. One of the configuration comes before one of the store.
    pub(crate) async fn find(&self, state: &State, id: &str, now: UnixTime) -> Result<Option<Arc<Client>>, Fault> {
        if let Some(client) = self.configured.get(id) {
            return Ok(Some(Arc::clone(client)));
        }
        let Some(record) = state.store.read(Kind::CLIENT, id, now).await? else { return Ok(None) };
        let registered: Registered = parse(&record)?;
        Ok(registered.client().map(Arc::new))
    }

    /// Whether the client stands in the configuration.
    pub(crate) fn is_configured(&self, id: &str) -> bool {
        self.configured.contains_key(id)
    }

    /// Whether these credentials are the client's, which is the one that they name, if there is such a client. An unknown client is
    /// refused after the same work as a wrong secret.
    pub(crate) fn authenticate(
        &self,
        state: &State,
        credentials: &Credentials<'_>,
        client: Option<Arc<Client>>,
        now: UnixTime,
    ) -> Result<Authenticated, Denial> {
        // Assertions are remembered in the store: what it cannot know of is refused.
        let epoch = Epoch::new(0, state.store.opened());
        let registered = client.as_ref().map(|client| &client.authentication);
        let assertion = match (&credentials.method, registered) {
            (Method::None, Some(Authentication::None)) => None,
            (Method::Basic(secret), Some(Authentication::SecretBasic(expected))) if expected.is(secret) => None,
            (Method::Post(secret), Some(Authentication::SecretPost(expected))) if expected.is(secret) => None,
            (Method::Assertion(assertion), Some(Authentication::PrivateKeyJwt(keys))) => {
                Some(Assertion(assertion.verify(keys, &state.audience(), epoch, now)?))
            }
            (Method::Assertion(assertion), _) => {
                let _ = assertion.verify(&self.nobodys, &state.audience(), epoch, now);
                return Err(refused("the client is unknown or registered with another method").into());
            }
            (Method::Basic(_), Some(Authentication::SecretBasic(_)))
            | (Method::Post(_), Some(Authentication::SecretPost(_))) => {
                return Err(refused("the secret is wrong").into());
            }
            (Method::Basic(secret) | Method::Post(secret), _) => {
                Secret::NOBODYS.is(secret);
                return Err(refused("the client is unknown or registered with another method").into());
            }
            (Method::None, _) => return Err(refused("the client did not authenticate").into()),
        };
        let client = client.ok_or_else(|| refused("the client is unknown"))?;
        Ok(Authenticated { client, assertion })
    }
}

/// What a request brought to authenticate with: one method.
pub(crate) struct Credentials<'r> {
    id: Zeroizing<String>,
    method: Method<'r>,
}

enum Method<'r> {
    None,
    Basic(Zeroizing<String>),
    Post(Zeroizing<String>),
    Assertion(ClientAssertion<'r>),
}

impl<'r> Credentials<'r> {
    /// Reads `Authorization` and the form.
    ///
    /// [`Reason::RequestMalformed`] for two methods or two clients at once, [`Reason::ClientAuthentication`] for none.
    pub(crate) fn read(headers: &HeaderMap, form: &'r Form) -> Result<Self, Refusal> {
        let (secret, assertion) = (form.get("client_secret"), form.get("client_assertion"));
        let authorization = headers.get(AUTHORIZATION);
        let methods = [authorization.is_some(), secret.is_some(), assertion.is_some()];
        if methods.iter().filter(|present| **present).count() > 1 {
            return Err(malformed("more than one method of client authentication"));
        }
        if form.get("client_assertion_type") != assertion.map(|_| ASSERTION_TYPE) {
            return Err(malformed("client_assertion and its type do not belong together"));
        }
        let id = form.get("client_id");
        let credentials = if let Some(field) = authorization {
            let (id, secret) = basic(field.as_bytes()).ok_or_else(|| refused("Authorization is not Basic"))?;
            Self { id, method: Method::Basic(secret) }
        } else if let Some(assertion) = assertion {
            let assertion = ClientAssertion::parse(assertion)?;
            Self { id: Zeroizing::new(assertion.client_id().to_owned()), method: Method::Assertion(assertion) }
        } else {
            let id = id.ok_or_else(|| refused("no client is named"))?;
            Self {
                id: Zeroizing::new(id.to_owned()),
                method: secret.map_or(Method::None, |secret| Method::Post(Zeroizing::new(secret.to_owned()))),
            }
        };
        if id.is_some_and(|id| *id != **credentials.id) {
            return Err(malformed("client_id is another client than the one that authenticates"));
        }
        Ok(credentials)
    }

    pub(crate) fn client_id(&self) -> &str {
        &self.id
    }
}

/// Identifier and secret, each form-encoded before they were joined (RFC 6749 section 2.3.1, RFC 7617 section 2).
fn basic(field: &[u8]) -> Option<(Zeroizing<String>, Zeroizing<String>)> {
    let payload = basic_payload(field)?;
    let mut octets = Zeroizing::new(vec![0; BASE64.decode_len(payload.len()).ok()?]);
    let length = BASE64.decode_mut(payload, &mut octets).ok()?;
    let octets = octets.get(..length)?;
    let colon = octets.iter().position(|octet| *octet == b':')?;
    let (id, secret) = octets.split_at(colon);
    Some((form::decode(id)?, form::decode(secret.get(1..)?)?))
}

/// What follows the scheme `Basic`, in any letter case, and its spaces.
fn basic_payload(field: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = field.split_at_checked(5)?;
    let payload = rest.trim_ascii_start();
    (scheme.eq_ignore_ascii_case(b"basic") && payload.len() < rest.len()).then_some(payload.trim_ascii_end())
}

fn refused(why: &str) -> Refusal {
    Refusal::with_detail(Reason::ClientAuthentication, why)
}

fn malformed(why: &str) -> Refusal {
    Refusal::with_detail(Reason::RequestMalformed, why)
}
