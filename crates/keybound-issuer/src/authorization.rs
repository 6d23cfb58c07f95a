//! The authorization request (RFC 6749 section 4.1.1): read once, whichever way it came, and what comes of it.

use core::net::SocketAddr;
use core::time::Duration;

use axum::body::Body;
use axum::response::Response;
use http::header::LOCATION;
use http::{HeaderValue, StatusCode};
use keybound::authorization_server::{RequestObject, dpop_jkt};
use keybound::jwk::Thumbprint;
use keybound::jws::decode_base64url;
use keybound::refusal::{Denial, Fault, Outcome, Reason, Refusal};
use keybound::time::UnixTime;
use keybound::token::jwt::subject_of_id_token;
use serde::{Deserialize, Serialize};

use crate::State;
use crate::answer;
use crate::audit::{Entry, Event, Refused};
use crate::client::{Client, GrantType};
use crate::exchange::{Lost, malformed, write_noted};
use crate::form::Form;
use crate::grants::authorization_code;
use crate::grants::{audience, family, scope, scopes};
use crate::handle;
use crate::people::{User, view};
use crate::store::{Change, Kind, to_json};

/// How long a code is good for (R-AS-32 wants at most 60 s of everybody who follows FAPI).
const CODE_LIFETIME: Duration = Duration::from_secs(60);

/// What is kept of one request at most; `state` and `nonce` are some dozen octets.
const MAX_ASKED: usize = 8 * 1024;

/// An authorization request of a registered client, good in every way: what is left is for a person to decide.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Asked {
    pub(crate) client: Box<str>,
    pub(crate) redirect_uri: Box<str>,
    pub(crate) state: Option<Box<str>>,
    pub(crate) scope: String,
    pub(crate) audience: Box<str>,
    pub(crate) challenge: Box<str>,
    /// The key the code is bound to: of `dpop_jkt`, of the proof of a pushed request, or of both.
    pub(crate) jkt: Option<Box<str>>,
    /// Of OpenID Connect, for the ID token.
    pub(crate) nonce: Option<Box<str>>,
    pub(crate) prompt: Option<Box<str>>,
    pub(crate) max_age: Option<u64>,
    pub(crate) login_hint: Option<Box<str>>,
    /// `sub` of the user whom `id_token_hint` means: nothing is issued for another one. Empty for nobody who could be recognized.
    #[serde(default)]
    pub(crate) hint: Option<Box<str>>,
}

/// How a user agreed.
pub(crate) struct Approval<'a> {
    /// The name of the pushed request, which is used up.
    pub(crate) pushed: Option<&'a str>,
    pub(crate) peer: Option<SocketAddr>,
    pub(crate) code: String,
    /// What changes with it, or there is no code.
    pub(crate) besides: Vec<Change>,
}

/// What is wrong with an authorization request, and whom it may be told.
#[derive(Debug)]
pub(crate) struct Unfit {
    pub(crate) denial: Denial,
    /// The client's registered address and its `state`; without, only a page can say it.
    back: Option<Back>,
    /// For the audit log.
    client: Option<Box<str>>,
}

/// Where the user goes back to.
#[derive(Clone, Debug)]
struct Back {
    redirect_uri: Box<str>,
    state: Option<Box<str>>,
}

impl From<Denial> for Unfit {
    fn from(denial: Denial) -> Self {
        Self { denial, back: None, client: None }
    }
}

impl From<Fault> for Unfit {
    fn from(fault: Fault) -> Self {
        Denial::from(fault).into()
    }
}

impl From<Refusal> for Unfit {
    fn from(refusal: Refusal) -> Self {
        Denial::from(refusal).into()
    }
}

impl From<Reason> for Unfit {
    fn from(reason: Reason) -> Self {
        Denial::from(reason).into()
    }
}

impl Asked {
    /// Reads the parameters of this client. First the address that everything else is told to, then everything else.
    pub(crate) fn read(state: &State, form: &Form, client: &Client) -> Result<Self, Unfit> {
        let uri = form.get("redirect_uri").filter(|uri| client.redirects_to(uri)).ok_or(Reason::RedirectInvalid)?;
        let back = Back { redirect_uri: uri.into(), state: form.get("state").map(Box::from) };
        Self::rest(state, form, client, &back)
            .map_err(|refusal| Unfit { back: Some(back), ..Denial::from(refusal).into() })
    }

    fn rest(state: &State, form: &Form, client: &Client, back: &Back) -> Result<Self, Refusal> {
        response_type(form, client)?;
        if !client.grant_types.contains(&GrantType::AuthorizationCode) {
            return Err(Reason::ClientForbidden.into());
        }
        let challenge = form.get("code_challenge").filter(|_| form.get("code_challenge_method") == Some("S256"));
        let is_digest = |text: &&str| decode_base64url(text).is_ok_and(|octets| octets.len() == 32);
        let jkt = dpop_jkt(form.raw("dpop_jkt"))?;
        let max_age = form.get("max_age").map(|text| text.parse().map_err(|_| Reason::RequestMalformed)).transpose()?;
        let text = |name| form.get(name).map(Box::from);
        if let Some(prompt) = form.get("prompt").filter(|prompt| prompt.split(' ').any(|word| word == "none"))
            && prompt != "none"
        {
            return Err(malformed("prompt has none and something else"));
        }
        let asked = Self {
            client: client.id.clone(),
            redirect_uri: back.redirect_uri.clone(),
            state: back.state.clone(),
            scope: scope(form.get("scope"), client.scopes())?,
            audience: audience(form, &state.config)?,
            challenge: challenge.filter(is_digest).ok_or(Reason::PkceMissing)?.into(),
            jkt: jkt.map(|jkt| jkt.to_string().into()),
            nonce: text("nonce"),
            prompt: text("prompt"),
            max_age,
            login_hint: text("login_hint"),
            hint: form.get("id_token_hint").map(|token| hinted(state, token)),
        };
        // It may be kept for whoever pushed it, and its state and nonce come back.
        if to_json(&asked).len() > MAX_ASKED {
            return Err(malformed("the authorization request is too long"));
        }
        Ok(asked)
    }

    /// The parameters of a signed request object (RFC 9101), if there is one: then nothing outside counts. `form` otherwise.
    pub(crate) fn parameters(state: &State, form: Form, client: &Client, now: UnixTime) -> Result<Form, Refusal> {
        let Some(text) = form.get("request") else { return Ok(form) };
        if form.get("request_uri").is_some() {
            return Err(malformed("a request object and a reference to one"));
        }
        let keys = client.request_keys().ok_or(Reason::RequestObject)?;
        let object = RequestObject::parse(text)?;
        let parameters = Form::of(object.verify(keys, client.id(), &state.config.issuer, now)?);
        // What is outside does not count (RFC 9101 section 6.3); but who sends a key there takes the code for bound.
        if form.raw("dpop_jkt").is_some() && parameters.raw("dpop_jkt").is_none() {
            return Err(malformed("dpop_jkt beside a request object that has none"));
        }
        Ok(parameters)
    }

    /// The key of `dpop_jkt`.
    pub(crate) fn jkt(&self) -> Option<Thumbprint> {
        self.jkt.as_deref().and_then(|jkt| jkt.parse().ok())
    }

    pub(crate) fn prompts(&self, what: &str) -> bool {
        self.prompt.as_deref().is_some_and(|prompt| prompt.split(' ').any(|word| word == what))
    }

    /// Whether the client, which may have changed since, may still ask for this.
    pub(crate) fn fits(&self, client: &Client) -> bool {
        let has = |scope: &str| client.scopes().any(|known| known == scope);
        client.redirects_to(&self.redirect_uri)
            && client.grant_types.contains(&GrantType::AuthorizationCode)
            && scopes(&self.scope).all(has)
    }

    /// Whether a code may be issued for this user. A hint that means nobody is one for whoever can be asked.
    pub(crate) fn is_for(&self, subject: &str) -> bool {
        match self.hint.as_deref() {
            None => true,
            Some("") => !self.prompts("none"),
            Some(hint) => hint == subject,
        }
    }

    fn back(&self) -> Back {
        Back { redirect_uri: self.redirect_uri.clone(), state: self.state.clone() }
    }

    /// The user agreed: a code, which is stored before it leaves. `Lost` if something else has happened in between.
    pub(crate) async fn approve(
        &self,
        state: &State,
        user: &User,
        approval: Approval<'_>,
        now: UnixTime,
    ) -> Result<Result<Response, Lost>, Unfit> {
        let Approval { pushed, peer, code, besides } = approval;
        let family = family(&user.subject)?;
        let stored = authorization_code::Stored {
            client: self.client.clone(),
            redirect_uri: self.redirect_uri.clone(),
            challenge: self.challenge.clone(),
            jkt: self.jkt.clone(),
            subject: user.subject.clone(),
            scope: self.scope.clone(),
            audience: self.audience.clone(),
            login: user.login(self.nonce.clone()),
            used: false,
        };
        let insert = Change::Insert {
            kind: Kind::CODE,
            id: handle::digest(&code),
            family: family.clone(),
            expires: now.plus(CODE_LIFETIME),
            body: to_json(&stored),
        };
        let used = pushed.map(|id| Change::Take { kind: Kind::PUSHED, id: id.into() });
        let entry =
            Entry::new(Event::CodeIssued, now).at("authorize", peer).client(&self.client).subject(&user.subject);
        let entry = entry.scope(&self.scope).jkt(self.jkt.as_deref()).grant(Some(&family));
        let changes = besides.into_iter().chain(used).chain([insert]);
        let written = write_noted(state, changes.collect(), &entry, now).await?;
        Ok(written.map(|()| self.sends_back(state, &code)))
    }

    /// The browser goes back to its client with this code.
    pub(crate) fn sends_back(&self, state: &State, code: &str) -> Response {
        redirect(state, &self.back(), &[("code", code)])
    }

    /// The user, or the server, said no.
    pub(crate) fn refuse(&self, reason: Reason) -> Unfit {
        Unfit { back: Some(self.back()), ..Unfit::from(reason) }
    }
}

/// Whom this ID token was issued for, be it over (OpenID Connect Core section 3.1.2.1); nobody, if it is none of ours.
fn hinted(state: &State, token: &str) -> Box<str> {
    subject_of_id_token(token, &state.key_set.current(), &state.config.issuer).unwrap_or_default()
}

/// `code`, and nothing that brings tokens by way of the browser (R-AS-36).
fn response_type(form: &Form, client: &Client) -> Result<(), Refusal> {
    match form.get("response_type") {
        None => return Err(Reason::RequestMalformed.into()),
        Some("code") => {}
        Some(_) if client.is_bound() => return Err(Reason::ClientForbidden.into()),
        Some(_) => return Err(Reason::ResponseUnsupported.into()),
    }
    match form.get("response_mode") {
        None | Some("query") => Ok(()),
        Some(_) => Err(Reason::ResponseUnsupported.into()),
    }
}

impl Unfit {
    /// Said on a page whoever is at fault: nobody is sent on, unasked, to an address that a stranger registered (RFC 9700 section
    /// 4.11.2).
    pub(crate) fn on_a_page(self) -> Self {
        Self { back: None, ..self }
    }

    /// Of this client.
    pub(crate) fn of(mut self, client: &str) -> Self {
        self.client = Some(client.into());
        self
    }

    /// The answer to a browser: back to the client where that is safe, else a page in plain words.
    pub(crate) fn answer(&self, state: &State) -> Response {
        let mut response = self.said(state);
        let mut refused = Refused::because(self.denial.code());
        refused.entry.client.clone_from(&self.client);
        if let Denial::Refused(refusal) = &self.denial {
            refused.detail = refusal.detail().map(Box::from);
        }
        response.extensions_mut().insert(refused);
        response
    }

    fn said(&self, state: &State) -> Response {
        let Some(back) = &self.back else { return view::refused(&self.denial) };
        let error = match &self.denial {
            Denial::Refused(refusal) => match refusal.outcome() {
                Outcome::Error(error) => error.as_str(),
                _ => "invalid_request",
            },
            _ => "temporarily_unavailable",
        };
        redirect(state, back, &[("error", error), ("error_description", self.denial.code())])
    }
}

/// Sends the browser back, with `state` as it came and the issuer's name (RFC 9207).
fn redirect(state: &State, back: &Back, parameters: &[(&str, &str)]) -> Response {
    let mut location = back.redirect_uri.to_string();
    let own = [("state", back.state.as_deref()), ("iss", Some(&*state.config.issuer))];
    let own = own.into_iter().filter_map(|(name, value)| Some((name, value?)));
    for (name, value) in parameters.iter().copied().chain(own) {
        add(&mut location, name, value);
    }
    see(location)
}

pub(crate) fn add(location: &mut String, name: &str, value: &str) {
    location.push(if location.contains('?') { '&' } else { '?' });
    location.push_str(name);
    location.push('=');
    percent_encode(value, location);
}

/// Sends the browser to an address, by GET.
pub(crate) fn see(location: String) -> Response {
    let mut response = Response::new(Body::empty());
    // 303, so that no form is posted on to the client (RFC 9700 section 4.12).
    *response.status_mut() = StatusCode::SEE_OTHER;
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
    answer::never_stored(&mut response);
    response
}

/// Sends the browser to an address of a client, with one parameter perhaps.
pub(crate) fn send_back(uri: &str, parameter: Option<(&str, &str)>) -> Response {
    let mut location = uri.to_owned();
    if let Some((name, value)) = parameter {
        add(&mut location, name, value);
    }
    see(location)
}

/// For a place in a URI.
pub(crate) fn encoded(text: &str) -> String {
    let mut encoded = String::new();
    percent_encode(text, &mut encoded);
    encoded
}

/// RFC 3986 section 2.3: what is unreserved stays.
fn percent_encode(text: &str, into: &mut String) {
    for octet in text.bytes() {
        match octet {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => into.push(char::from(octet)),
            _ => into.push_str(&format!("%{octet:02X}")),
        }
    }
}
