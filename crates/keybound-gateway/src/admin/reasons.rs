//! The table of reasons, for the console.

use serde_json::{Value, json};

use crate::reasons::Row;

/// Every reason.
pub(super) fn table() -> Value {
    json!({ "reasons": Row::all().map(|row| row.json()).collect::<Vec<_>>() })
}
