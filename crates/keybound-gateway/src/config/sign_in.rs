//! `[[authorization_server.sign_in]]`: another OpenID provider through which users sign in.

use std::path::Path;

use keybound_issuer::{SignInAuthentication, SignInError, SignInProvider};
use keybound_tower::introspection::AskAs;

use super::introspection::ask_as;
use super::read::not_empty;
use super::section::{Read, Section};

/// `None` if anything is wrong; then there is a mistake that says what.
pub(super) fn sign_in(section: Section<'_>, base: &Path) -> Option<Read<SignInProvider>> {
    let provider = provider(&section, base);
    section.finish();
    provider
}

fn provider(section: &Section<'_>, base: &Path) -> Option<Read<SignInProvider>> {
    let name = section.text("name", not_empty);
    let issuer = section.text("issuer", not_empty);
    let client_id = section.text("client_id", not_empty);
    let authentication = ask_as(section, base);
    let shown = section.text("shown", not_empty);
    let scope = section.texts("scope", not_empty);
    let creates = section.choice("users", "a way to know users", |text| match text {
        "create" => Some(true),
        "connected" => Some(false),
        _ => None,
    });
    let (name, issuer, client_id, scope) = (name?, issuer?, client_id?, scope?);
    let authentication = match authentication? {
        AskAs::SecretBasic(secret) => SignInAuthentication::SecretBasic(secret),
        AskAs::SecretPost(secret) => SignInAuthentication::SecretPost(secret),
        AskAs::PrivateKeyJwt { key, kid } => SignInAuthentication::PrivateKeyJwt { key, kid },
        _ => return None,
    };
    let place = name.place.clone();
    let mut provider = SignInProvider::new(name.value, &*issuer.value, &*client_id.value, authentication);
    if let Some(shown) = shown.as_ref() {
        provider = provider.shown(&*shown.value);
    }
    for scope in &scope.value {
        provider = provider.scope(&*scope.value);
    }
    if creates?.value {
        provider = provider.creates_users();
    }
    let Some(mistake) = provider.mistake() else { return Some(Read { value: provider, place, written: true }) };
    let (key, place) = match mistake {
        SignInError::Issuer => ("issuer", &issuer.place),
        SignInError::ClientId => ("client_id", &client_id.place),
        SignInError::Scope => ("scope", &scope.place),
        SignInError::Shown => ("shown", shown.as_ref().map_or(&place, |shown| &shown.place)),
        _ => ("name", &place),
    };
    section.mistake(key, place, format!("cannot be: {mistake}"));
    None
}
