//! Who is signed in with a browser, and which users a browser has seen before.

use http::HeaderValue;
use http::request::Parts;
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::User;
use super::cookies::{Cookie, KNOWN};
use crate::State;
use crate::handle;
use crate::store::{Change, Kind, parse, to_json};
use crate::users;

/// What is kept of a session.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    subject: Box<str>,
    /// When the user has shown who they are; when the session began, if nobody knows.
    auth_time: u64,
    /// Whether nobody knows: another provider let them in, and did not say since when it knows them.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    is_undated: bool,
    /// Which password the user had, or none, however they signed in: with another one the session is over.
    #[serde(default)]
    password: Box<str>,
}

/// Somebody who is signed in with the browser that came.
#[derive(Clone, Debug)]
pub(super) struct Present {
    /// The digest of the cookie.
    pub(super) id: Box<str>,
    pub(super) user: users::User,
    /// When they have shown who they are, if that is known.
    pub(super) auth_time: Option<UnixTime>,
}

impl Present {
    /// Whether they have shown who they are within so many seconds.
    pub(super) fn is_within(&self, age: u64, now: UnixTime) -> bool {
        self.auth_time.is_some_and(|time| now.as_secs().saturating_sub(time.as_secs()) <= age)
    }

    /// For the tokens.
    pub(super) fn to_user(&self) -> User {
        User { subject: self.user.subject().into(), auth_time: self.auth_time, is_local: true }
    }
}

/// Who is signed in: a user who still is one.
pub(super) async fn present(state: &State, parts: &Parts, now: UnixTime) -> Result<Option<Present>, Fault> {
    let Some(secret) = Cookie::Session.read(state, parts) else { return Ok(None) };
    let id = handle::digest(secret);
    let Some(record) = state.store.read(Kind::SESSION, &id, now).await? else { return Ok(None) };
    let stored: Stored = parse(&record)?;
    let user = state.users.find_by_subject(&stored.subject, now).await?.filter(|user| !user.is_disabled());
    // Where it is changed while somebody signs in, or in the configuration, nobody has ended the session.
    let user = user.filter(|user| user.mark_of_password() == stored.password);
    let auth_time = (!stored.is_undated).then_some(UnixTime::from_secs(stored.auth_time));
    Ok(user.map(|user| Present { id, user, auth_time }))
}

/// A session that is about to be stored.
pub(super) struct Begun {
    /// The digest of its cookie.
    pub(super) id: Box<str>,
    pub(super) changes: Vec<Change>,
    pub(super) cookies: Vec<HeaderValue>,
}

/// A new session of this user, under a name that nobody knew before, in place of whatever the browser had; and the browser is
/// known from now on. `browser` is the secret of its cookie; the user has shown at `auth_time` who they are, if
/// that is known.
pub(super) fn begin(
    state: &State,
    parts: &Parts,
    browser: &str,
    user: &users::User,
    auth_time: Option<UnixTime>,
    now: UnixTime,
) -> Result<Begun, Fault> {
    let secret = handle::secret()?;
    let id = handle::digest(&secret);
    let mut changes: Vec<Change> = end(state, parts).into_iter().collect();
    let known = known(browser, user.subject());
    changes.push(Change::Insert {
        kind: Kind::SESSION,
        id: id.clone(),
        family: users::family_of_sessions(user.subject()),
        expires: now.plus(state.config.session_lifetime),
        body: to_json(&Stored {
            subject: user.subject().into(),
            auth_time: auth_time.unwrap_or(now).as_secs(),
            is_undated: auth_time.is_none(),
            password: user.mark_of_password(),
        }),
    });
    changes.push(Change::Delete { kind: Kind::BROWSER, id: known.clone() });
    changes.push(Change::Insert {
        kind: Kind::BROWSER,
        id: known,
        family: users::family(user.subject()),
        expires: now.plus(KNOWN),
        body: "{}".into(),
    });
    let cookies = vec![Cookie::Session.set(state, &secret), Cookie::Browser.set(state, browser)];
    Ok(Begun { id, changes, cookies })
}

/// What ends the session of this browser.
pub(super) fn end(state: &State, parts: &Parts) -> Option<Change> {
    let secret = Cookie::Session.read(state, parts)?;
    Some(Change::Delete { kind: Kind::SESSION, id: handle::digest(secret) })
}

/// Under which name it is stored that this user has signed in with this browser.
fn known(browser: &str, subject: &str) -> Box<str> {
    handle::digest(&[browser, " ", subject].concat())
}

/// Whether this user has signed in with this browser before; and what both are called together.
pub(super) async fn is_known(
    state: &State,
    browser: &str,
    subject: &str,
    now: UnixTime,
) -> Result<(bool, Box<str>), Fault> {
    let id = known(browser, subject);
    Ok((state.store.read(Kind::BROWSER, &id, now).await?.is_some(), id))
}
