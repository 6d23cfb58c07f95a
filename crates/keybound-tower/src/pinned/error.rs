//! Why a store cannot be had, in words for whoever runs it.

use core::fmt;

use super::APART;

/// Why there is no store behind these settings.
///
/// The message names the server and what to do. It holds no password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectError {
    is_configuration: bool,
    message: String,
}

impl ConnectError {
    /// Something that only another setting mends, here or at the server.
    pub fn setting(message: impl Into<String>) -> Self {
        Self { is_configuration: true, message: message.into() }
    }

    /// Something that may pass.
    pub fn passing(message: impl Into<String>) -> Self {
        Self { is_configuration: false, message: message.into() }
    }

    /// The clock of a server is so many milliseconds ahead of ours.
    pub fn apart(ahead: i64) -> Self {
        let (by, how) = (ahead.unsigned_abs() / 1000, if ahead > 0 { "ahead of" } else { "behind" });
        let most = APART.as_secs();
        Self::passing(format!("its clock is {by} s {how} ours, and {most} s are the most; see to the clocks of both"))
    }

    /// What a server answers cannot be read.
    pub fn nonsense() -> Self {
        Self::passing("answers nonsense")
    }

    /// Whether it stays until somebody changes a setting.
    pub const fn is_configuration(&self) -> bool {
        self.is_configuration
    }

    /// The same about this server.
    #[must_use]
    pub fn at(self, server: impl fmt::Display) -> Self {
        Self { message: format!("{server}: {}", self.message), ..self }
    }
}

impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl core::error::Error for ConnectError {}

/// Why settings are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsError(String);

impl SettingsError {
    /// What is wrong with them, without what is secret.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SettingsError {}
