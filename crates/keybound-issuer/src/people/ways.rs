//! The ways to sign in that a page offers: those by which somebody could.

use keybound::refusal::Fault;
use keybound::time::UnixTime;

use super::interaction::{Ongoing, Problem};
use super::passkeys;
use crate::State;

/// What the page offers.
pub(super) struct Ways<'w> {
    /// Name and password.
    pub(super) is_password: bool,
    pub(super) passkey: Option<PasskeyWay<'w>>,
    pub(super) providers: Vec<ProviderWay<'w>>,
}

impl Ways<'_> {
    pub(super) fn number(&self) -> usize {
        usize::from(self.is_password) + usize::from(self.passkey.is_some()) + self.providers.len()
    }
}

/// What a browser needs for finding a passkey.
pub(super) struct PasskeyWay<'w> {
    pub(super) challenge: String,
    pub(super) rp: &'w str,
    /// The address of the script.
    pub(super) script: &'w str,
    /// Whether the browser offers passkeys by itself; after one that was not taken it waits for the button.
    pub(super) is_offered: bool,
}

/// Another provider.
pub(super) struct ProviderWay<'w> {
    pub(super) name: &'w str,
    pub(super) shown: &'w str,
}

/// On the page of this interaction. Where no other provider is, somebody is asked for a password who will have none.
pub(super) async fn of<'w>(state: &'w State, ongoing: &Ongoing<'_>, now: UnixTime) -> Result<Ways<'w>, Fault> {
    let is_password = state.providers.is_empty() || state.people.have_passwords(state, now).await?;
    let has_passkeys = state.relying_party.is_some() && state.people.have_passkeys(state, now).await?;
    let ways = all(state, ongoing);
    Ok(Ways { is_password, passkey: ways.passkey.filter(|_| has_passkeys), ..ways })
}

/// Without a look at the store.
pub(super) fn all<'w>(state: &'w State, ongoing: &Ongoing<'_>) -> Ways<'w> {
    let passkey = state.relying_party.as_ref().map(|party| PasskeyWay {
        challenge: passkeys::challenge_of(ongoing),
        rp: party.id(),
        script: state.endpoints.passkeys.as_str(),
        is_offered: !ongoing.interaction.said.as_ref().is_some_and(|said| matches!(said.what, Problem::Passkey)),
    });
    let providers = state.providers.iter().map(|provider| {
        let settings = provider.settings();
        ProviderWay { name: &settings.name, shown: &settings.shown }
    });
    Ways { is_password: true, passkey, providers: providers.collect() }
}
