//! How it stands with the keys of an issuer: for readiness, metrics and people, never for a decision.

use core::time::Duration;

/// How it stands with the keys of one issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeyState {
    /// Whose keys.
    pub issuer: Box<str>,
    /// Where they come from.
    pub source: KeySource,
    /// Whether tokens of this issuer can be judged now.
    pub usable: bool,
    /// How old the newest keys are; `None` before the first fetch, and for keys that are not fetched.
    pub age: Option<Duration>,
    /// How many fetches, or questions to the issuer, have failed in a row.
    pub failures: u32,
    /// What the last fetch failed of, if it did.
    pub trouble: Option<Box<str>>,
}

/// Where keys come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeySource {
    /// Somebody gave them.
    Fixed,
    /// The issuer serves them.
    Discovered,
    /// There are none: the issuer is asked about each token. It counts as usable while it answers.
    Introspection,
}
