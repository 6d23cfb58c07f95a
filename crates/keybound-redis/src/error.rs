//! Why a store cannot be had, in words for whoever runs it.

use core::fmt;

use redis::{ErrorKind, RedisError, ServerErrorKind};

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
    pub(crate) fn setting(message: impl Into<String>) -> Self {
        Self { is_configuration: true, message: message.into() }
    }

    /// Something that may pass.
    pub(crate) fn passing(message: impl Into<String>) -> Self {
        Self { is_configuration: false, message: message.into() }
    }

    /// Whether it stays until somebody changes a setting.
    pub const fn is_configuration(&self) -> bool {
        self.is_configuration
    }

    /// The same about the server at this address.
    pub(crate) fn at(self, address: impl fmt::Display) -> Self {
        Self { message: format!("Redis at {address}: {}", self.message), ..self }
    }

    /// What a server's answer means.
    pub(crate) fn answered(error: &RedisError) -> Self {
        let code = error.code().unwrap_or_default();
        let words = error.detail().unwrap_or_default();
        match error.kind() {
            ErrorKind::AuthenticationFailed => {
                Self::setting(format!("user name or password is wrong ({code} {words})"))
            }
            ErrorKind::Server(ServerErrorKind::NoPerm) => Self::setting(format!("its user may not do this: {words}")),
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Self::passing("is still loading its data"),
            ErrorKind::Server(_) | ErrorKind::Extension => match code {
                "NOAUTH" => Self::setting("asks for a password"),
                "WRONGPASS" => Self::setting("user name or password is wrong"),
                _ if words.contains("run this command") => Self::setting(format!("its user may not do this: {words}")),
                _ => Self::passing(format!("answers {code} {words}").trim_end().to_owned()),
            },
            ErrorKind::Io if error.is_timeout() => Self::passing("does not answer in time"),
            ErrorKind::Io => Self::passing(format!("the connection broke: {error}")),
            _ => Self::passing(format!("does not answer as Redis does: {error}")),
        }
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
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for SettingsError {}
