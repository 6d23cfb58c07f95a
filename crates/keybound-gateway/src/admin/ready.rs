//! Whether the gateway can do its work, and what is missing if it cannot.

use http::StatusCode;
use keybound_tower::KeyState;
use serde_json::json;

use super::Shown;
use super::answer::{self, Answer};

/// What is missing, in words; empty if nothing is.
pub(super) fn missing(shown: &Shown) -> Vec<String> {
    let draining = shown.is_draining().then(|| "draining: no new connections are taken".to_owned());
    let states = shown.engine().server.key_states();
    draining.into_iter().chain(states.iter().filter(|state| !state.usable).map(words)).collect()
}

fn words(state: &KeyState) -> String {
    let issuer = &state.issuer;
    let what = match state.age {
        None => format!("keys of {issuer} not fetched yet"),
        Some(_) => format!("keys of {issuer} too old"),
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
    }
    answer::json(status, &value)
}
