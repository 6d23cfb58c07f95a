//! What a person is about to decide: kept from the moment a browser comes with it until the decision, and bound to that browser.

use core::time::Duration;

use axum::response::Response;
use http::Method;
use http::header::SET_COOKIE;
use http::request::Parts;
use keybound::jws::encode_base64url;
use keybound::refusal::{Fault, Reason};
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::Connection;
use super::cookies::Cookie;
use super::session::Present;
use crate::State;
use crate::authorization::{Asked, Unfit, see};
use crate::endpoints::device::Found;
use crate::exchange::write;
use crate::handle;
use crate::room::network;
use crate::store::{Change, Kind, parse, to_json};

/// How long a person may take. A pushed request waits with them.
pub(crate) const LIFETIME: Duration = Duration::from_secs(900);

/// What is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Interaction {
    /// The digest of the browser's cookie; empty until one has come that brings its cookies.
    browser: Box<str>,
    pub(super) wanted: Wanted,
    /// A session that began before this does not count.
    pub(super) fresh: bool,
    /// The session that began here.
    pub(super) signed_in: Option<Box<str>>,
    /// What the next page says first.
    pub(super) said: Option<Said>,
    /// The browser is with another provider, and may come back once.
    #[serde(default)]
    pub(super) leaving: Option<Leaving>,
    /// It is decided. The same button pressed again has the same answer, and nothing else has any.
    #[serde(default)]
    pub(super) decided: Option<Decided>,
}

/// What the person said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Decided {
    Allowed,
    Denied,
}

/// A browser that was sent to another provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Leaving {
    /// The name of the provider.
    pub(super) provider: Box<str>,
    /// The digest of the state.
    pub(super) state: Box<str>,
    pub(super) since: u64,
    /// Whether its person has to show anew who they are.
    pub(super) fresh: bool,
    /// Whose account the one there is to be connected with; otherwise somebody signs in.
    pub(super) connects: Option<Box<str>>,
}

/// What it is about.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) enum Wanted {
    /// A client wants a code.
    Code {
        asked: Box<Asked>,
        /// The name of the pushed request it came as.
        pushed: Option<Box<str>>,
    },
    /// A device wants tokens.
    Device {
        /// As it was typed, or stood in the address.
        typed: Box<str>,
        /// Which device has this code; known once the person is.
        found: Option<Found>,
    },
    /// Somebody looks after their account.
    Account,
}

/// What went wrong with the form before.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Said {
    pub(super) what: Problem,
    /// The name that was typed.
    pub(super) name: Box<str>,
    /// The provider that it went wrong with, as people know it.
    #[serde(default)]
    pub(super) provider: Box<str>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(super) enum Problem {
    /// Name or password; nobody is told which.
    Password,
    /// Too many tries: so many seconds to wait.
    Wait(u64),
    /// More people sign in at this moment than can be looked at.
    Busy,
    /// No device has this code.
    Code,
    /// A passkey that is not good here.
    Passkey,
    /// A provider did not answer.
    Silent,
    /// A provider, or the person there, said no.
    Denied,
    /// What came from a provider is not to be believed.
    Untrusted,
    /// The account there is connected with none here.
    Unconnected,
    /// Nobody was asked anew there.
    Old,
    /// It does not say when somebody was asked there.
    Undated,
}

impl Interaction {
    /// Whether it is for this user, or for anybody.
    pub(super) fn is_for(&self, present: &Present) -> bool {
        !matches!(&self.wanted, Wanted::Code { asked, .. } if !asked.is_for(present.user.subject()))
    }

    /// Who counts as signed in for this: a session of whom the client means that is recent enough for it, or one that began here.
    pub(super) fn admits(&self, present: &Present, now: UnixTime) -> bool {
        let is_recent = match &self.wanted {
            Wanted::Code { asked, .. } => asked.max_age.is_none_or(|age| present.is_within(age, now)),
            Wanted::Device { .. } => true,
            Wanted::Account => super::account::is_recent(present, now),
        };
        self.signed_in.as_deref() == Some(&present.id) || !self.fresh && is_recent && self.is_for(present)
    }

    pub(super) fn new(wanted: Wanted) -> Self {
        let fresh = match &wanted {
            Wanted::Code { asked, .. } => asked.prompts("login") || asked.prompts("select_account"),
            Wanted::Device { .. } => false,
            // Whoever comes here is not, or not any more, signed in well enough.
            Wanted::Account => true,
        };
        Self { browser: Box::default(), wanted, fresh, signed_in: None, said: None, leaving: None, decided: None }
    }

    /// Whether only somebody who has just shown who they are will do.
    pub(super) fn wants_fresh(&self) -> bool {
        self.fresh || matches!(&self.wanted, Wanted::Code { asked, .. } if asked.max_age.is_some())
    }

    /// Keeps it, and sends the browser to its page.
    pub(super) async fn begin(self, state: &State, parts: &Parts, now: UnixTime) -> Result<Response, Unfit> {
        // With a form of another site a browser sends no cookies: one from here would take the place of what it has, and everything
        // that is open in it, or known of it, would be lost. Who follows to the page gets it.
        if parts.method == Method::POST && Cookie::Browser.read(state, parts).is_none() {
            let id = self.insert(state, parts, now).await?;
            return Ok(see(address(state, &id)));
        }
        let (id, secret) = self.keep(state, parts, now).await?;
        Ok(with_browser(see(address(state, &id)), state, &secret))
    }

    /// Keeps it; its name, and the secret of the browser's cookie.
    pub(super) async fn keep(mut self, state: &State, parts: &Parts, now: UnixTime) -> Result<(String, String), Unfit> {
        let secret = secret_of_browser(state, parts)?;
        self.browser = handle::digest(&secret);
        Ok((self.insert(state, parts, now).await?, secret))
    }

    async fn insert(self, state: &State, parts: &Parts, now: UnixTime) -> Result<String, Unfit> {
        let id = handle::name()?;
        let expires = now.plus(LIFETIME);
        let body = to_json(&self);
        let peer = parts.extensions.get::<Connection>().map(Connection::peer);
        state.interactions.take(body.len(), peer.and_then(|peer| network(peer.ip())), now)?;
        let insert =
            Change::Insert { kind: Kind::INTERACTION, id: id.as_str().into(), family: "".into(), expires, body };
        let mut changes = vec![insert];
        if let Wanted::Code { pushed: Some(pushed), .. } = &self.wanted {
            changes.push(Change::Extend { kind: Kind::PUSHED, id: pushed.clone(), expires });
        }
        if write(state, changes, now).await?.is_err() {
            return Err(Reason::RequestUri.into());
        }
        Ok(id)
    }
}

/// Gives the page to the browser that opens it, if it is nobody's yet.
pub(super) async fn claim(state: &State, parts: &Parts, now: UnixTime) -> Result<Option<Response>, Unfit> {
    let id = name_in(parts);
    let Some(record) = state.store.read(Kind::INTERACTION, id, now).await? else { return Ok(None) };
    let mut interaction: Interaction = parse(&record)?;
    if !interaction.browser.is_empty() {
        return Ok(None);
    }
    let secret = secret_of_browser(state, parts)?;
    interaction.browser = handle::digest(&secret);
    let claimed = Change::Replace {
        kind: Kind::INTERACTION,
        id: id.into(),
        version: record.version,
        expires: record.expires,
        body: to_json(&interaction),
    };
    // Of two at once the second finds that it is the first one's.
    let claimed = write(state, vec![claimed], now).await?.is_ok();
    Ok(claimed.then(|| with_browser(see(address(state, id)), state, &secret)))
}

fn secret_of_browser(state: &State, parts: &Parts) -> Result<String, Fault> {
    Cookie::Browser.read(state, parts).map_or_else(handle::secret, |secret| Ok(secret.to_owned()))
}

fn with_browser(mut response: Response, state: &State, secret: &str) -> Response {
    response.headers_mut().append(SET_COOKIE, Cookie::Browser.set(state, secret));
    response
}

/// Which interaction it is whose page is asked for.
fn name_in(parts: &Parts) -> &str {
    parts.uri.path().rsplit('/').next().unwrap_or_default()
}

/// Where its page is.
pub(super) fn address(state: &State, id: &str) -> String {
    [state.endpoints.sign_in.as_str(), "/", id].concat()
}

/// An interaction of the browser that came.
pub(super) struct Ongoing<'p> {
    pub(super) id: Box<str>,
    pub(super) interaction: Interaction,
    /// The secret of the browser.
    pub(super) browser: &'p str,
    version: u64,
    expires: UnixTime,
}

impl<'p> Ongoing<'p> {
    /// The one whose page this is, decided perhaps.
    pub(super) async fn find(state: &State, parts: &'p Parts, now: UnixTime) -> Result<Self, Unfit> {
        Self::read(state, parts, name_in(parts), now).await
    }

    /// The one of this name, which nobody has decided.
    pub(super) async fn of(state: &State, parts: &'p Parts, id: &str, now: UnixTime) -> Result<Self, Unfit> {
        let ongoing = Self::read(state, parts, id, now).await?;
        if ongoing.interaction.decided.is_some() { Err(Reason::LoginOver.into()) } else { Ok(ongoing) }
    }

    async fn read(state: &State, parts: &'p Parts, id: &str, now: UnixTime) -> Result<Self, Unfit> {
        let browser = Cookie::Browser.read(state, parts).ok_or(Reason::LoginOver)?;
        let record = state.store.read(Kind::INTERACTION, id, now).await?.ok_or(Reason::LoginOver)?;
        let interaction: Interaction = parse(&record)?;
        if interaction.browser != handle::digest(browser) {
            return Err(Reason::LoginOver.into());
        }
        Ok(Self { id: id.into(), interaction, browser, version: record.version, expires: record.expires })
    }

    /// Another one after each change.
    pub(super) const fn version(&self) -> u64 {
        self.version
    }

    /// What keeps it as it is now, if nobody else has changed it.
    pub(super) fn kept(&self) -> Change {
        Change::Replace {
            kind: Kind::INTERACTION,
            id: self.id.clone(),
            version: self.version,
            expires: self.expires,
            body: to_json(&self.interaction),
        }
    }

    /// What decides it: once. It stays for whoever presses the button twice.
    pub(super) fn decided(&self, decided: Decided) -> Change {
        let interaction = Interaction { decided: Some(decided), said: None, leaving: None, ..self.interaction.clone() };
        Change::Replace {
            kind: Kind::INTERACTION,
            id: self.id.clone(),
            version: self.version,
            expires: self.expires,
            body: to_json(&interaction),
        }
    }

    /// The code that comes of it: of what the browser alone has, so that the second press of a button has it as well and nothing of
    /// it is stored. The secret of the session is in it: that of the browser may be known to whoever had it before.
    pub(super) fn code(&self, session: &str) -> String {
        let mut digest = Sha256::new();
        for part in ["authorization code", self.browser, session, &self.id] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part.as_bytes());
        }
        encode_base64url(&digest.finalize())
    }

    /// What ends it: once.
    pub(super) fn taken(&self) -> Change {
        Change::Take { kind: Kind::INTERACTION, id: self.id.clone() }
    }

    /// Makes these changes, and shows the page again: what it says then is what is so then, whoever was first.
    pub(super) async fn again(&self, state: &State, changes: Vec<Change>, now: UnixTime) -> Result<Response, Fault> {
        let _ = write(state, changes, now).await?;
        Ok(see(address(state, &self.id)))
    }
}
