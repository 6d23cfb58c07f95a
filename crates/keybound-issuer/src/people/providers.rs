//! Signing in through another provider: the browser goes there, and comes back once. Whose account it is there is known by issuer
//! and `sub` together, and by nothing else that it says.

use axum::response::Response;
use http::request::Parts;
use keybound::refusal::{Fault, Reason};
use keybound::time::UnixTime;
use keybound::token::id_token::IdClaims;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::interaction::{Interaction, Leaving, Ongoing, Problem, Said, Wanted};
use super::pages::{Page, Way, again, noted, signed_in};
use super::session::Present;
use super::{account, view};
use crate::State;
use crate::authorization::{Unfit, see};
use crate::exchange::write;
use crate::form::Form;
use crate::handle;
use crate::store::{Change, Kind, NEVER, parse, to_json};
use crate::upstream::{Journey, Provider, Trouble};
use crate::users::{self, NewUser, User, UserError};

/// What is kept of an account at a provider.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Connected {
    subject: Box<str>,
}

/// What is kept of all of a user's.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(super) struct Connections {
    /// The issuer, and under which name the account is stored.
    pub(super) listed: Vec<(Box<str>, Box<str>)>,
}

/// Under which name an account there is stored.
fn name(issuer: &str, subject: &str) -> Box<str> {
    let mut digest = Sha256::new();
    for part in [issuer, subject] {
        digest.update((part.len() as u64).to_be_bytes());
        digest.update(part.as_bytes());
    }
    keybound::jws::encode_base64url(&digest.finalize()).into()
}

/// The provider of this name.
pub(super) fn find<'s>(state: &'s State, name: &str) -> Option<&'s Provider> {
    state.providers.iter().find(|provider| *provider.settings().name == *name)
}

/// Somebody wants to sign in through the provider that the form names.
pub(super) async fn leave(state: &State, mut page: Page<'_>, form: &Form) -> Result<Response, Unfit> {
    let Some(provider) = find(state, form.get("provider").unwrap_or_default()) else { return again(state, page).await };
    match depart(state, &mut page.ongoing, provider, None, page.now).await? {
        Ok(response) => Ok(response),
        Err(trouble) => say(state, page, provider, &trouble).await,
    }
}

/// Somebody wants to connect their account with one there; nothing is shown of what goes wrong but a word for the page.
pub(super) async fn connect(
    state: &State,
    parts: &Parts,
    provider: &Provider,
    subject: &str,
    now: UnixTime,
) -> Result<Result<Response, Trouble>, Unfit> {
    let (id, _) = Interaction::new(Wanted::Account).keep(state, parts, now).await?;
    let mut ongoing = Ongoing::of(state, parts, &id, now).await?;
    depart(state, &mut ongoing, provider, Some(subject), now).await
}

/// Sends the browser there, and remembers that it may come back.
async fn depart(
    state: &State,
    ongoing: &mut Ongoing<'_>,
    provider: &Provider,
    connects: Option<&str>,
    now: UnixTime,
) -> Result<Result<Response, Trouble>, Unfit> {
    // The first half says which interaction it is, the second that the browser was sent by us.
    let token = [&*ongoing.id, ".", &handle::secret()?].concat();
    let journey = Journey { browser: ongoing.browser, state: &token };
    let fresh = connects.is_none() && ongoing.interaction.wants_fresh();
    let location = match provider.begin(&journey, fresh, now).await {
        Ok(location) => location,
        Err(trouble) => return Ok(Err(trouble)),
    };
    ongoing.interaction.leaving = Some(Leaving {
        provider: provider.settings().name.clone(),
        state: handle::digest(&token),
        since: now.as_secs(),
        fresh,
        connects: connects.map(Box::from),
    });
    ongoing.interaction.said = None;
    if write(state, vec![ongoing.kept()], now).await?.is_err() {
        return Err(Reason::LoginOver.into());
    }
    Ok(Ok(view::leave(&provider.settings().shown, &location)))
}

/// Answers a browser that comes back from a provider.
pub(crate) async fn come_back(state: &State, parts: &Parts, form: &Form) -> Result<Response, Unfit> {
    let now = state.clock.now();
    let name = parts.uri.path().rsplit('/').next().unwrap_or_default();
    let provider = find(state, name).ok_or(Reason::LoginOver)?;
    let token = form.raw("state").ok_or(Reason::LoginOver)?;
    let (id, _) = token.split_once('.').ok_or(Reason::LoginOver)?;
    let mut ongoing = Ongoing::of(state, parts, id, now).await?;
    // The state is of this browser, this provider and this journey, and good once, whatever else came with it.
    let leaving = ongoing.interaction.leaving.take().ok_or(Reason::LoginOver)?;
    if *leaving.provider != *name || leaving.state != handle::digest(token) {
        return Err(Reason::LoginOver.into());
    }
    if write(state, vec![ongoing.kept()], now).await?.is_err() {
        return Err(Reason::LoginOver.into());
    }
    let ongoing = Ongoing::of(state, parts, id, now).await?;
    let page = Page::of(state, parts, ongoing, now).await?;
    let journey = Journey { browser: page.ongoing.browser, state: token };
    let since = leaving.fresh.then_some(UnixTime::from_secs(leaving.since));
    let found = provider.finish(&journey, form, since, now).await;
    match (found, leaving.connects) {
        (Ok(claims), None) => enter(state, parts, page, provider, &claims).await,
        (Ok(claims), Some(subject)) => connected(state, page, provider, &claims, &subject).await,
        (Err(trouble), None) => say(state, page, provider, &trouble).await,
        (Err(trouble), Some(_)) => {
            tracing::warn!(provider = name, why = %trouble, "an account could not be connected");
            Ok(see(account::address(state, word(problem(&trouble)))))
        }
    }
}

/// Whoever it is there signs in here, if they are somebody here.
async fn enter(
    state: &State,
    parts: &Parts,
    page: Page<'_>,
    provider: &Provider,
    claims: &IdClaims,
) -> Result<Response, Unfit> {
    match user_of(state, provider, claims, page.now).await? {
        Some(user) => {
            let way = Way { changes: Vec::new(), auth_time: claims.auth_time() };
            signed_in(state, parts, page, &user, way).await
        }
        None => show(state, page, provider, Problem::Unconnected).await,
    }
}

/// The user of an account there, new perhaps; one who is disabled is nobody.
async fn user_of(state: &State, provider: &Provider, claims: &IdClaims, now: UnixTime) -> Result<Option<User>, Fault> {
    let settings = provider.settings();
    let id = name(&settings.issuer, claims.subject());
    for _ in 0..2 {
        if let Some(record) = state.store.read(Kind::CONNECTED, &id, now).await? {
            let stored: Connected = parse(&record)?;
            let user = state.users.find_by_subject(&stored.subject, now).await?;
            return Ok(user.filter(|user| !user.is_disabled()));
        }
        if !settings.creates_users {
            return Ok(None);
        }
        match create(state, provider, claims, &id, now).await {
            Ok(user) => return Ok(Some(user)),
            // Another of their browsers was first.
            Err(UserError::Taken) => {}
            Err(UserError::Failed(fault)) => return Err(fault),
            Err(_) => return Ok(None),
        }
    }
    Ok(None)
}

/// A user under a name that nobody chose: what a provider says somebody is called is no claim to a name here.
async fn create(
    state: &State,
    provider: &Provider,
    claims: &IdClaims,
    id: &str,
    now: UnixTime,
) -> Result<User, UserError> {
    let settings = provider.settings();
    let random: String = handle::name()?.to_lowercase().chars().filter(char::is_ascii_alphanumeric).take(10).collect();
    let mut new = NewUser::new([&*settings.name, "-", &random].concat());
    let fits = |text: &&str| users::is_text(text);
    if let Some(name) = claims.text("name").filter(fits) {
        new = new.full_name(name);
    }
    if let Some(email) = claims.text("email").filter(|_| claims.is_true("email_verified")).filter(fits) {
        new = new.email(email);
    }
    let issuer = &settings.issuer;
    let user = state.users.create_with(new, now, |subject| insertions(id, issuer, subject)).await?;
    tracing::info!(provider = &*settings.name, subject = user.subject(), "a user of another provider is one here");
    Ok(user)
}

/// The records of a first account.
fn insertions(id: &str, issuer: &str, subject: &str) -> Vec<Change> {
    let listed = Connections { listed: vec![(issuer.into(), id.into())] };
    let insert = |kind, id: &str, body| Change::Insert {
        kind,
        id: id.into(),
        family: users::family(subject),
        expires: NEVER,
        body,
    };
    vec![
        insert(Kind::CONNECTED, id, to_json(&Connected { subject: subject.into() })),
        insert(Kind::CONNECTIONS, subject, to_json(&listed)),
    ]
}

/// The accounts that a user has elsewhere, and the version of the list; without, there is none yet.
pub(super) async fn connections(
    state: &State,
    subject: &str,
    now: UnixTime,
) -> Result<(Connections, Option<u64>), Fault> {
    match state.store.read(Kind::CONNECTIONS, subject, now).await? {
        Some(record) => Ok((parse(&record)?, Some(record.version))),
        None => Ok((Connections::default(), None)),
    }
}

/// Whoever it is there is from now on this user here, who is still signed in.
async fn connected(
    state: &State,
    page: Page<'_>,
    provider: &Provider,
    claims: &IdClaims,
    subject: &str,
) -> Result<Response, Unfit> {
    let now = page.now;
    let is_present = |present: &Present| present.user.subject() == subject && account::is_recent(present, now);
    if !page.present.as_ref().is_some_and(is_present) {
        return Err(Reason::LoginOver.into());
    }
    let issuer = &provider.settings().issuer;
    let id = name(issuer, claims.subject());
    let (mut connections, version) = connections(state, subject, now).await?;
    let mut changes = vec![page.ongoing.taken()];
    if connections.listed.iter().any(|(known, _)| known == issuer) {
        // One account of each provider: the one before goes first.
        return Ok(see(account::address(state, "connected-already")));
    }
    match version {
        None => changes.extend(insertions(&id, issuer, subject)),
        Some(version) => {
            connections.listed.push((issuer.clone(), id.clone()));
            changes.push(replaced(&connections, subject, version));
            changes.extend(insertions(&id, issuer, subject).into_iter().take(1));
        }
    }
    let word = match write(state, changes, now).await? {
        Ok(()) => "connected",
        Err(_) => "connected-elsewhere",
    };
    Ok(see(account::address(state, word)))
}

fn replaced(connections: &Connections, subject: &str, version: u64) -> Change {
    let body = to_json(connections);
    Change::Replace { kind: Kind::CONNECTIONS, id: subject.into(), version, expires: NEVER, body }
}

/// Nobody from there is this user any more.
pub(super) async fn disconnect(state: &State, subject: &str, issuer: &str, now: UnixTime) -> Result<(), Fault> {
    let (mut connections, Some(version)) = connections(state, subject, now).await? else { return Ok(()) };
    let gone: Vec<_> = connections.listed.extract_if(.., |(known, _)| **known == *issuer).collect();
    let deleted = gone.into_iter().map(|(_, id)| Change::Delete { kind: Kind::CONNECTED, id });
    let changes = core::iter::once(replaced(&connections, subject, version)).chain(deleted).collect();
    // Of two pages at once the second finds the list changed, and shows it.
    let _ = write(state, changes, now).await?;
    Ok(())
}

/// What people are told. What was found stands in the log.
const fn problem(trouble: &Trouble) -> Problem {
    match trouble {
        Trouble::Fetch(_) | Trouble::Resting | Trouble::Signing => Problem::Silent,
        Trouble::Denied | Trouble::Refused => Problem::Denied,
        Trouble::Old => Problem::Old,
        Trouble::Undated => Problem::Undated,
        _ => Problem::Untrusted,
    }
}

/// The same in an address.
const fn word(problem: Problem) -> &'static str {
    match problem {
        Problem::Silent => "silent",
        Problem::Denied => "denied",
        _ => "untrusted",
    }
}

/// What the account page says when the browser could not be sent on.
pub(super) fn word_for(trouble: &Trouble) -> &'static str {
    word(problem(trouble))
}

async fn say(state: &State, page: Page<'_>, provider: &Provider, trouble: &Trouble) -> Result<Response, Unfit> {
    tracing::warn!(provider = &*provider.settings().name, why = %trouble, "nobody signed in through it");
    show(state, page, provider, problem(trouble)).await
}

/// The page again, with this problem and all other ways.
async fn show(state: &State, mut page: Page<'_>, provider: &Provider, what: Problem) -> Result<Response, Unfit> {
    let provider = provider.settings().shown.clone();
    page.ongoing.interaction.said = Some(Said { what, name: Box::default(), provider });
    Ok(noted(again(state, page).await?, "provider", ""))
}
