//! Client authentication (RFC 6749 section 2.3, RFC 7523): what came, and whether it is the client's. A proof is no
//! authentication and plays no part here (R-AS-27).

use std::collections::HashMap;

use data_encoding::BASE64;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use keybound::authorization_server::{ASSERTION_TYPE, ClientAssertion, VerifiedAssertion};
use keybound::refusal::{Reason, Refusal};
use keybound::replay::Epoch;
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use zeroize::Zeroizing;

use crate::client::{Authentication, Client, Secret};
use crate::form::{self, Form};

/// The registered clients by `client_id`.
#[derive(Debug)]
pub(crate) struct Clients {
    by_id: HashMap<Box<str>, Client>,
    /// Keys no assertion is signed with, tried where there is no such client.
    nobodys: KeySet,
}

/// The client is who it says. What it signed may have been used before: that is seen last of all.
pub(crate) struct Authenticated<'c> {
    pub(crate) client: &'c Client,
    pub(crate) assertion: Option<VerifiedAssertion>,
}

impl Clients {
    pub(crate) fn new(clients: &[Client], nobodys: KeySet) -> Self {
        let by_id = clients
            .iter()
            .map(|client| (client.id.clone(), client.clone()))
            .collect();
        Self { by_id, nobodys }
    }

    /// Whose credentials these are. An unknown client is refused after the same work as a wrong secret.
    pub(crate) fn authenticate(
        &self,
        credentials: &Credentials<'_>,
        audience: &[&str],
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<Authenticated<'_>, Refusal> {
        let client = self.by_id.get(credentials.client_id());
        let registered = client.map(|client| &client.authentication);
        let assertion = match (&credentials.method, registered) {
            (Method::None, Some(Authentication::None)) => None,
            (Method::Basic(secret), Some(Authentication::SecretBasic(expected))) if expected.is(secret) => None,
            (Method::Post(secret), Some(Authentication::SecretPost(expected))) if expected.is(secret) => None,
            (Method::Assertion(assertion), Some(Authentication::PrivateKeyJwt(keys))) => {
                Some(assertion.verify(keys, audience, epoch, now)?)
            }
            (Method::Assertion(assertion), _) => {
                let _ = assertion.verify(&self.nobodys, audience, epoch, now);
                return Err(refused("the client is unknown or registered with another method"));
            }
            (Method::Basic(_), Some(Authentication::SecretBasic(_)))
            | (Method::Post(_), Some(Authentication::SecretPost(_))) => return Err(refused("the secret is wrong")),
            (Method::Basic(secret) | Method::Post(secret), _) => {
                Secret::NOBODYS.is(secret);
                return Err(refused("the client is unknown or registered with another method"));
            }
            (Method::None, _) => return Err(refused("the client did not authenticate")),
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
            Self {
                id,
                method: Method::Basic(secret),
            }
        } else if let Some(assertion) = assertion {
            let assertion = ClientAssertion::parse(assertion)?;
            Self {
                id: Zeroizing::new(assertion.client_id().to_owned()),
                method: Method::Assertion(assertion),
            }
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

    fn client_id(&self) -> &str {
        &self.id
    }
}

/// Whether the client tried HTTP Basic, so that the refusal has a challenge of that scheme.
pub(crate) fn tried_basic(headers: &HeaderMap) -> bool {
    headers
        .get(AUTHORIZATION)
        .is_some_and(|field| basic_payload(field.as_bytes()).is_some())
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
