//! One entry of the audit log, in words.

use keybound::time::UnixTime;
use keybound_issuer::audit::{Entry, Noted};
use serde_json::Value;

/// An object on a line.
pub(super) fn as_json(noted: &Noted) -> String {
    let mut value = serde_json::to_value(&noted.entry).unwrap_or_default();
    value["id"] = Value::from(&*noted.id);
    value.to_string()
}

/// Time and event, and what else is known, by name.
pub(super) fn as_text(entry: &Entry) -> String {
    let mut text = format!("{}  {:17}", moment(UnixTime::from_secs(entry.time)), entry.event);
    if let Ok(Value::Object(members)) = serde_json::to_value(entry) {
        for (name, value) in members.iter().filter(|(name, _)| !matches!(name.as_str(), "time" | "event")) {
            // Names are of clients, and could hold what moves a cursor.
            let value = value.as_str().map_or_else(|| value.to_string(), |text| text.escape_debug().to_string());
            text.push_str(&format!("  {name}={value}"));
        }
    }
    text
}

/// A moment, as people write it.
pub(super) fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let moment = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| time.as_secs().to_string(), |moment| moment.to_string())
}
