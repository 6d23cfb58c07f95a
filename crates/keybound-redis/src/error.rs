//! Why a store cannot be had, in words for whoever runs it.

use keybound_tower::pinned::ConnectError;
use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::settings::Address;

/// What a server's answer means.
pub(crate) fn answered(error: &RedisError) -> ConnectError {
    let code = error.code().unwrap_or_default();
    let words = error.detail().unwrap_or_default();
    match error.kind() {
        ErrorKind::AuthenticationFailed => {
            ConnectError::setting(format!("user name or password is wrong ({code} {words})"))
        }
        ErrorKind::Server(ServerErrorKind::NoPerm) => {
            ConnectError::setting(format!("its user may not do this: {words}"))
        }
        ErrorKind::Server(ServerErrorKind::BusyLoading) => ConnectError::passing("is still loading its data"),
        ErrorKind::Server(_) | ErrorKind::Extension => match code {
            "NOAUTH" => ConnectError::setting("asks for a password"),
            "WRONGPASS" => ConnectError::setting("user name or password is wrong"),
            _ if words.contains("run this command") => {
                ConnectError::setting(format!("its user may not do this: {words}"))
            }
            _ => ConnectError::passing(format!("answers {code} {words}").trim_end().to_owned()),
        },
        ErrorKind::Io if error.is_timeout() => ConnectError::passing("does not answer in time"),
        ErrorKind::Io => ConnectError::passing(format!("the connection broke: {error}")),
        _ => ConnectError::passing(format!("does not answer as Redis does: {error}")),
    }
}

/// Which server it is.
pub(crate) fn on(address: &Address) -> String {
    format!("Redis at {address}")
}
