//! Why a store cannot be had, in words for whoever runs it.

use keybound::refusal::Fault;
use keybound_tower::pinned::ConnectError;
use sqlx::Error;

/// What a server's answer means.
pub(crate) fn answered(error: &Error) -> ConnectError {
    match error {
        Error::Database(error) => by_code(&error.code().unwrap_or_default(), error.message()),
        // What was said in a handshake comes as an error of the connection.
        Error::Io(error) if error.get_ref().is_some_and(|inner| inner.is::<rustls::Error>()) => tls(error),
        Error::Io(error) => ConnectError::passing(format!("cannot be reached: {error}")),
        Error::Tls(error) => tls(error),
        Error::Configuration(error) => ConnectError::setting(error.to_string()),
        error => ConnectError::passing(format!("does not answer as PostgreSQL does: {error}")),
    }
}

fn tls(error: &dyn core::fmt::Display) -> ConnectError {
    ConnectError::setting(format!("TLS fails: {error}; see sslmode and sslrootcert in the URL"))
}

fn by_code(code: &str, words: &str) -> ConnectError {
    match code {
        "28P01" | "28000" => ConnectError::setting(format!("user name or password is wrong ({words})")),
        "3D000" => ConnectError::setting(words),
        "42501" => ConnectError::setting(format!("its user may not do this: {words}")),
        "KB001" => ConnectError::setting("its transactions are not READ COMMITTED, whatever we ask for"),
        "57P03" => ConnectError::passing(format!("is not ready: {words}")),
        "57014" => ConnectError::passing("does not answer in time"),
        _ => ConnectError::passing(format!("answers {code} {words}")),
    }
}

/// What it means to records that the server has undone them, if that is all it means.
pub(crate) fn undone(error: &Error) -> Option<Fault> {
    let code = error.as_database_error()?.code()?;
    match &*code {
        // No room on the disk, no memory, a limit of the server's own.
        "53100" | "53200" | "53400" => Some(Fault::ReplayFull),
        // Others were in the way.
        "40001" | "40P01" | "55P03" => Some(Fault::ReplayUnreachable),
        _ => None,
    }
}
