//! A local user, as the store or the configuration has one.

use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::handle;
use crate::people::PasswordHash;

/// A local user, as it was read.
#[derive(Clone, Debug)]
pub struct User {
    /// The form of the name under which it is stored.
    pub(super) id: Box<str>,
    pub(super) stored: Stored,
    pub(super) is_configured: bool,
}

/// What is kept of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Stored {
    pub(super) name: Box<str>,
    pub(super) subject: Box<str>,
    pub(super) password_hash: Option<Box<str>>,
    pub(super) full_name: Option<Box<str>>,
    pub(super) email: Option<Box<str>>,
    pub(super) disabled: bool,
    pub(super) created: u64,
}

impl User {
    /// The name to sign in with, as it was given.
    pub fn name(&self) -> &str {
        &self.stored.name
    }

    /// The name in the one form that it is found by whatever the case of its letters: what [`Users::list`](super::Users::list) is ordered by.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// `sub` of their tokens: never another's, and never changed. Of a user of the configuration it is the name; of any other it
    /// is made at random.
    pub fn subject(&self) -> &str {
        &self.stored.subject
    }

    /// As people call them.
    pub fn full_name(&self) -> Option<&str> {
        self.stored.full_name.as_deref()
    }

    /// Where mail reaches them.
    pub fn email(&self) -> Option<&str> {
        self.stored.email.as_deref()
    }

    /// Whether there is a password to sign in with.
    pub const fn has_password(&self) -> bool {
        self.stored.password_hash.is_some()
    }

    /// Whether they may not sign in, and nothing is issued for them.
    pub const fn is_disabled(&self) -> bool {
        self.stored.disabled
    }

    /// Whether they stand in the configuration, so that nothing changes them here.
    pub const fn is_configured(&self) -> bool {
        self.is_configured
    }

    /// When they were created; the beginning of time for a user of the configuration.
    pub const fn created(&self) -> UnixTime {
        UnixTime::from_secs(self.stored.created)
    }

    /// What an administrator sees of them.
    pub fn facts(&self) -> Map<String, Value> {
        let facts = [
            ("name", json!(self.name())),
            ("subject", json!(self.subject())),
            ("full_name", json!(self.full_name())),
            ("email", json!(self.email())),
            ("has_password", json!(self.has_password())),
            ("disabled", json!(self.is_disabled())),
            ("created", json!(self.created().as_secs())),
            ("configured", json!(self.is_configured())),
        ];
        facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// What to call them on a page.
    pub(crate) fn shown(&self) -> &str {
        self.full_name().unwrap_or_else(|| self.name())
    }

    /// Which password it is, or that there is none: another one has another mark.
    pub(crate) fn mark_of_password(&self) -> Box<str> {
        handle::digest(self.stored.password_hash.as_deref().unwrap_or_default())
    }

    /// The hash, if it is one that this version makes sense of.
    pub(crate) fn password(&self) -> Option<PasswordHash> {
        self.stored.password_hash.as_deref().and_then(|hash| hash.parse().ok())
    }
}
