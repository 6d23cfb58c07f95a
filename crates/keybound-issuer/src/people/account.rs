//! What somebody has to sign in with: their passkeys, and their accounts at other providers. Only whoever has just signed in comes
//! here, so that nobody leaves a key of theirs at a browser that was left alone.

use axum::response::Response;
use http::Method;
use http::request::Parts;
use keybound::time::UnixTime;

use super::cookies::Cookie;
use super::interaction::{Interaction, Wanted};
use super::passkeys::{self, Listed, Passkeys};
use super::providers::{self, Connections};
use super::session::{self, Present};
use super::{Connection, guard, view};
use crate::State;
use crate::audit::{Entry, Event};
use crate::authorization::{Unfit, see};
use crate::form::Form;
use crate::webauthn::ALGS;

/// How long whoever has signed in may change what they sign in with, in seconds.
const RECENT: u64 = 900;

/// Whether somebody has just signed in; who came from a provider that does not say when has not.
pub(super) fn is_recent(present: &Present, now: UnixTime) -> bool {
    present.is_within(RECENT, now)
}

/// The page, with what happened.
pub(super) fn address(state: &State, said: &str) -> String {
    [state.endpoints.account.as_str(), "?said=", said].concat()
}

/// What the page shows.
pub(super) struct Account<'a> {
    pub(super) said: Option<Told>,
    pub(super) passkeys: &'a [Listed],
    /// For making one.
    pub(super) new_passkey: Option<NewPasskey<'a>>,
    pub(super) providers: Vec<Connectable<'a>>,
    /// Whether something may be taken away without nothing being left.
    pub(super) has_spare: bool,
    /// Where the session is ended.
    pub(super) sign_out: &'a str,
}

/// What happened, in words.
#[derive(Clone, Copy)]
pub(super) struct Told {
    pub(super) is_bad: bool,
    pub(super) text: &'static str,
}

/// What a browser needs for making a passkey.
pub(super) struct NewPasskey<'a> {
    pub(super) challenge: String,
    pub(super) rp: &'a str,
    pub(super) script: &'a str,
    pub(super) handle: &'a str,
    pub(super) name: &'a str,
    pub(super) shown: &'a str,
    pub(super) algs: String,
    /// The names of those there are.
    pub(super) known: String,
    pub(super) label: String,
    pub(super) longest: usize,
}

/// A provider that an account may be connected with.
pub(super) struct Connectable<'a> {
    pub(super) name: &'a str,
    pub(super) shown: &'a str,
    pub(super) is_connected: bool,
}

/// Answers GET, and POST with a form of the page.
pub(crate) async fn visit(state: &State, parts: &Parts, form: &Form) -> Result<Response, Unfit> {
    let now = state.clock.now();
    let present = session::present(state, parts, now).await?.filter(|present| is_recent(present, now));
    let (Some(present), Some(browser)) = (present, Cookie::Browser.read(state, parts)) else {
        if !state.people.are_there(state, now).await? {
            return Err(keybound::refusal::Reason::LoginDenied.into());
        }
        return Interaction::new(Wanted::Account).begin(state, parts, now).await;
    };
    let token = guard::token(browser, &["account", &present.id]);
    if parts.method == Method::GET {
        return show(state, &present, browser, token, form.get("said").and_then(told), now).await;
    }
    guard::comes_from_here(state, parts)?;
    guard::check(form, &token)?;
    let subject = present.user.subject();
    let said = match form.get("step") {
        Some("connect") => {
            let Some(provider) = providers::find(state, form.get("provider").unwrap_or_default()) else {
                return Ok(see(address(state, "")));
            };
            match providers::connect(state, parts, provider, subject, now).await? {
                Ok(response) => return Ok(response),
                Err(trouble) => {
                    tracing::warn!(provider = &*provider.settings().name, why = %trouble, "nobody could be sent there");
                    providers::word_for(&trouble)
                }
            }
        }
        Some("add") => added(passkeys::add(state, &present, browser, form, now).await)?,
        Some("remove") if has_spare(state, &present, now).await? => {
            passkeys::remove(state, subject, form.get("credential").unwrap_or_default(), now).await?;
            "removed"
        }
        Some("disconnect") if has_spare(state, &present, now).await? => {
            if let Some(provider) = providers::find(state, form.get("provider").unwrap_or_default()) {
                providers::disconnect(state, subject, &provider.settings().issuer, now).await?;
            }
            "disconnected"
        }
        _ => "last",
    };
    if matches!(said, "added" | "removed" | "disconnected") {
        note(state, parts, subject, said, now).await?;
    }
    Ok(see(address(state, said)))
}

async fn note(state: &State, parts: &Parts, subject: &str, what: &str, now: UnixTime) -> Result<(), Unfit> {
    let peer = parts.extensions.get::<Connection>().map(Connection::peer);
    let mut entry = Entry::new(Event::UserChanged, now).at("account", peer).subject(subject);
    entry.reason = Some(what.into());
    crate::exchange::write_noted(state, Vec::new(), &entry, now).await?.ok();
    Ok(())
}

fn added(done: Result<(), passkeys::Unfit>) -> Result<&'static str, Unfit> {
    match done {
        Ok(()) => Ok("added"),
        Err(passkeys::Unfit::Failed(fault)) => Err(fault.into()),
        Err(passkeys::Unfit::Full) => Ok("full"),
        Err(unfit) => {
            tracing::info!(why = %unfit, "a new passkey was not taken");
            Ok("not-added")
        }
    }
}

/// The ways of a user to sign in, of which one has to stay.
async fn has_spare(state: &State, present: &Present, now: UnixTime) -> Result<bool, Unfit> {
    let subject = present.user.subject();
    let passkeys = passkeys::of_user(state, subject, now).await?;
    let (connections, _) = providers::connections(state, subject, now).await?;
    Ok(count(state, present, &passkeys, &connections) > 1)
}

/// Those that lead in here: not through a provider that is none any more, nor by a passkey where there are none.
fn count(state: &State, present: &Present, passkeys: &Passkeys, connections: &Connections) -> usize {
    let passkeys = state.relying_party.as_ref().map_or(0, |_| passkeys.listed.len());
    let is_there = |issuer: &str| state.providers.iter().any(|provider| *provider.settings().issuer == *issuer);
    let connections = connections.listed.iter().filter(|(issuer, _)| is_there(issuer)).count();
    usize::from(present.user.has_password()) + passkeys + connections
}

async fn show(
    state: &State,
    present: &Present,
    browser: &str,
    token: String,
    said: Option<Told>,
    now: UnixTime,
) -> Result<Response, Unfit> {
    let subject = present.user.subject();
    let passkeys = passkeys::of_user(state, subject, now).await?;
    let (connections, _) = providers::connections(state, subject, now).await?;
    let new_passkey = state.relying_party.as_ref().filter(|_| passkeys.listed.len() < passkeys::MOST);
    let new_passkey = new_passkey.map(|party| NewPasskey {
        challenge: passkeys::challenge_for(present, browser, &passkeys),
        rp: party.id(),
        script: state.endpoints.passkeys.as_str(),
        handle: &passkeys.handle,
        name: present.user.name(),
        shown: present.user.shown(),
        algs: ALGS.map(|(number, _)| number.to_string()).join(" "),
        known: passkeys.listed.iter().map(|listed| &*listed.credential).collect::<Vec<_>>().join(" "),
        label: passkeys::usual_label(passkeys.listed.len()),
        longest: passkeys::MAX_LABEL,
    });
    let providers = state.providers.iter().map(|provider| {
        let settings = provider.settings();
        let is_connected = connections.listed.iter().any(|(issuer, _)| *issuer == settings.issuer);
        Connectable { name: &settings.name, shown: &settings.shown, is_connected }
    });
    let account = Account {
        said,
        passkeys: &passkeys.listed,
        new_passkey,
        providers: providers.collect(),
        has_spare: count(state, present, &passkeys, &connections) > 1,
        sign_out: state.endpoints.end_session.as_str(),
    };
    let page = view::Page {
        host: view::host(state),
        token,
        action: state.endpoints.account.as_str().to_owned(),
        client: None,
    };
    Ok(view::account(page, &present.user, &account))
}

/// What an address says has happened: one of these, or nothing.
fn told(word: &str) -> Option<Told> {
    let (is_bad, text) = match word {
        "added" => (false, "The passkey is yours now."),
        "removed" => (false, "The passkey is removed. Remove it from your device, too."),
        "connected" => (false, "The account is connected."),
        "disconnected" => (false, "The account is not connected any more."),
        "last" => (true, "That is the only way left for you to sign in, so it stays."),
        "full" => (true, "You have as many passkeys as there may be. Remove one first."),
        "not-added" => (true, "The passkey could not be added. Try again."),
        "connected-already" => (true, "You have connected an account there already. Disconnect it first."),
        "connected-elsewhere" => (true, "That account is connected with another user here."),
        "silent" => (true, "It does not answer at the moment. Try again later."),
        "denied" => (true, "You did not sign in there, so nothing was connected."),
        "untrusted" => (true, "What came back from there cannot be trusted, so nothing was connected."),
        _ => return None,
    };
    Some(Told { is_bad, text })
}
