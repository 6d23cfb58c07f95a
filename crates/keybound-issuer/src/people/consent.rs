//! What a user has allowed a client before, so that nobody is asked the same thing every day.

use core::time::Duration;

use keybound::refusal::Fault;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};

use crate::State;
use crate::authorization::Asked;
use crate::client::Client;
use crate::grants::scopes;
use crate::handle;
use crate::store::{Change, Kind, parse, to_json};
use crate::users;

/// How long it is remembered.
const REMEMBERED: Duration = Duration::from_secs(90 * 86_400);

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Stored {
    /// By resource.
    allowed: Vec<(Box<str>, String)>,
}

impl Stored {
    fn covers(&self, asked: &Asked) -> bool {
        let allowed = self.allowed.iter().find(|(resource, _)| *resource == asked.audience);
        allowed.is_some_and(|(_, allowed)| scopes(&asked.scope).all(|scope| scopes(allowed).any(|one| one == scope)))
    }

    fn add(&mut self, asked: &Asked) {
        match self.allowed.iter_mut().find(|(resource, _)| *resource == asked.audience) {
            Some((_, allowed)) => {
                let new: Vec<&str> =
                    scopes(&asked.scope).filter(|scope| !scopes(allowed).any(|one| one == *scope)).collect();
                let all: Vec<&str> = scopes(allowed).chain(new).collect();
                *allowed = all.join(" ");
            }
            None => self.allowed.push((asked.audience.clone(), asked.scope.clone())),
        }
    }
}

/// Whether the next one who comes with this request is surely the same client: it authenticates, or its codes go where nobody
/// else receives them. Any program may take a scheme or a port of loopback (RFC 8252 section 8.6).
fn is_recognized(client: &Client, asked: &Asked) -> bool {
    !client.is_public() || asked.redirect_uri.starts_with("https://")
}

fn name(subject: &str, client: &str) -> Box<str> {
    handle::digest(&[subject, " ", client].concat())
}

async fn stored(state: &State, subject: &str, client: &Client, now: UnixTime) -> Result<Stored, Fault> {
    let record = state.store.read(Kind::CONSENT, &name(subject, client.id()), now).await?;
    record.map_or_else(|| Ok(Stored::default()), |record| parse(&record))
}

/// Whether this user need not be asked.
pub(super) async fn is_given(
    state: &State,
    subject: &str,
    client: &Client,
    asked: &Asked,
    now: UnixTime,
) -> Result<bool, Fault> {
    if !is_recognized(client, asked) || asked.prompts("consent") {
        return Ok(false);
    }
    Ok(stored(state, subject, client, now).await?.covers(asked))
}

/// What forgets it, so that the user is asked again.
pub(crate) fn forget(subject: &str, client: &str) -> Change {
    Change::Delete { kind: Kind::CONSENT, id: name(subject, client) }
}

/// What remembers it, where it may be remembered.
pub(super) async fn remember(
    state: &State,
    subject: &str,
    client: &Client,
    asked: &Asked,
    now: UnixTime,
) -> Result<Vec<Change>, Fault> {
    if !is_recognized(client, asked) {
        return Ok(Vec::new());
    }
    let mut stored = stored(state, subject, client, now).await?;
    stored.add(asked);
    let id = name(subject, client.id());
    let forget = forget(subject, client.id());
    let insert = Change::Insert {
        kind: Kind::CONSENT,
        id,
        family: users::family_of_consents(subject),
        expires: now.plus(REMEMBERED),
        body: to_json(&stored),
    };
    Ok(vec![forget, insert])
}
