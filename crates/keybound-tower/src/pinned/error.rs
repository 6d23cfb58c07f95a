//! Why a store cannot be had, in words for whoever runs it.

use core::fmt;

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
