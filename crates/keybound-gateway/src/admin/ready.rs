//! Whether the gateway can do its work, and what is missing if it cannot.

use http::StatusCode;
use keybound_tower::{KeySource, KeyState};
use serde_json::json;

use super::Shown;
use super::answer::{self, Answer};
use crate::engine::{Engine, Replays, Standing};
use crate::health;

/// What is missing, in words; empty if nothing is.
pub(super) fn missing(shown: &Shown) -> Vec<String> {
    let draining = shown.is_draining().then(|| "draining: this process is about to end".to_owned());
    let engine = shown.engine();
    let states = engine.server.key_states();
    let keys = states.iter().filter(|state| !state.usable).map(words);
    let broken = broken(engine.replays());
    draining.into_iter().chain(broken).chain(keys).chain(upstreams(&engine)).collect()
}

/// What does not work and does not keep the gateway from its work: upstreams that others stand in for, and routes without
/// one, as long as another route has one.
pub(super) fn degraded(shown: &Shown) -> Vec<String> {
    let engine = shown.engine();
    let upstreams = health::checked(&engine.upstreams);
    away(engine.replays()).into_iter().chain(upstreams.iter().filter_map(|address| address.trouble())).collect()
}

/// That the memory of used proofs keeps this process from its work, if it does.
pub(super) fn broken(replays: &Replays) -> Option<String> {
    let store = replays.standing().filter(|store| !store.is_there && only_here(store, replays))?;
    Some(format!("the replay store {} could not be written to", store.store))
}

/// What of the memory of used proofs and of the nonce ring in it does not work, beyond what is [`broken`].
pub(super) fn away(replays: &Replays) -> Vec<String> {
    let away = replays.standing().filter(|store| !store.is_there && !only_here(store, replays));
    let away = away.map(|Standing { store, .. }| format!("the replay store {store} is away"));
    away.into_iter().chain(replays.ring_trouble()).collect()
}

/// Whether this process can do nothing without its store, and others can. A restart mends one that it does not share. Of a shared
/// one every process is without it, and one that is taken away leaves none that is not.
fn only_here(store: &Standing, replays: &Replays) -> bool {
    !store.is_shared && replays.nonce_only().is_none()
}

/// The routes whose upstreams are looked after, if none has a healthy one. While one has, taking the gateway away would take
/// that one from its clients, and give the others nothing.
fn upstreams(engine: &Engine) -> Vec<String> {
    let routes = engine.config.routes.iter().zip(&engine.upstreams);
    let mut dead = Vec::new();
    for (route, addresses) in routes.filter(|(route, _)| route.health.is_some()) {
        let troubles: Vec<_> = addresses.iter().filter_map(|address| address.trouble()).collect();
        if troubles.len() < addresses.len() {
            return Vec::new();
        }
        dead.push(format!("a healthy upstream of {}: {}", route.path.as_str(), troubles.join(", ")));
    }
    dead
}

fn words(state: &KeyState) -> String {
    let issuer = &state.issuer;
    let what = match (state.source, state.age) {
        (KeySource::Introspection, _) => format!("{issuer} cannot be asked about its tokens"),
        (_, None) => format!("keys of {issuer} not fetched yet"),
        (_, Some(_)) => format!("keys of {issuer} too old"),
    };
    match &state.trouble {
        Some(trouble) => format!("{what}: {trouble}"),
        None => what,
    }
}

/// What is missing is for those who may see the rest too.
pub(super) fn answer(shown: &Shown, knows: bool) -> Answer {
    let missing = missing(shown);
    let status = if missing.is_empty() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let mut value = json!({ "ready": missing.is_empty() });
    if knows {
        value["missing"] = missing.into();
        value["degraded"] = degraded(shown).into();
    }
    answer::json(status, &value)
}
