//! The ways to sign in that a page offers beside name and password.

use super::interaction::{Ongoing, Problem};
use super::passkeys;
use crate::State;

/// What the page offers.
pub(super) struct Ways<'w> {
    pub(super) passkey: Option<PasskeyWay<'w>>,
    pub(super) providers: Vec<ProviderWay<'w>>,
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

/// On the page of this interaction.
pub(super) fn of<'w>(state: &'w State, ongoing: &Ongoing<'_>) -> Ways<'w> {
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
    Ways { passkey, providers: providers.collect() }
}
