//! What goes wrong with keys, and whose it is.

use core::fmt;

use keybound::crypto::aws_lc::KeyError;
use keybound::refusal::Fault;

use super::seal::SealingKeyError;

/// Keys cannot be had or changed, in words for whoever runs the issuer. No key is in them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeysError {
    words: Box<str>,
    why: KeysFault,
}

/// Whose it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeysFault {
    /// There is no such key.
    Unknown,
    /// It cannot be done as things are.
    Refused,
    /// The store failed.
    Store(Fault),
    /// Anything else.
    Other,
}

impl KeysError {
    pub(super) fn new(words: &dyn fmt::Display) -> Self {
        Self { words: words.to_string().into(), why: KeysFault::Other }
    }

    pub(super) fn unknown() -> Self {
        Self { why: KeysFault::Unknown, ..Self::new(&"there is no key of this name") }
    }

    pub(super) fn refused(words: &str) -> Self {
        Self { why: KeysFault::Refused, ..Self::new(&words) }
    }

    pub(super) fn of_store(fault: Fault) -> Self {
        Self { why: KeysFault::Store(fault), ..Self::new(&format_args!("the store: {}", fault.meaning())) }
    }

    pub(super) fn damaged(what: &str) -> Self {
        let words =
            "is damaged, or is not where it was: it does not open. Nothing was changed: restore it from a backup";
        Self::new(&format_args!("{what} {words}"))
    }

    pub(crate) const fn why(&self) -> KeysFault {
        self.why
    }
}

impl From<KeyError> for KeysError {
    fn from(error: KeyError) -> Self {
        Self::new(&error)
    }
}

impl From<SealingKeyError> for KeysError {
    fn from(error: SealingKeyError) -> Self {
        Self::new(&error)
    }
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl core::error::Error for KeysError {}
