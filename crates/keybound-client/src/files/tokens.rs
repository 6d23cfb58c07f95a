//! Tokens between runs, one file for each [`TokenId`].

use std::ffi::OsString;
use std::fs::TryLockError;
use std::io;
use std::path::PathBuf;

use keybound::client::Secret;
use keybound::jws::json::{Number, Object, Value};
use keybound::time::UnixTime;
use serde_json::json;
use zeroize::Zeroizing;

use super::{Present, home, open_lock, read_private, write_private};
use crate::token::{Token, TokenId, TokenStore};

/// Keeps tokens in files of this user. A file that cannot be read, or that others may read, is passed over and replaced.
#[derive(Clone, Debug)]
pub struct TokenFiles {
    directory: PathBuf,
}

impl TokenFiles {
    /// In `tokens` under keybound's [`home`].
    pub fn of_user() -> Option<Self> {
        home().map(|home| Self::new(home.join("tokens")))
    }

    /// In this directory, which is made when the first token is kept.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        let directory = directory.into();
        Self { directory }
    }

    /// The same, with the name of where it happened.
    fn about(&self, why: &io::Error) -> io::Error {
        io::Error::new(why.kind(), format!("{}: {why}", self.directory.display()))
    }
}

fn file_name(id: &TokenId) -> OsString {
    format!("{}.json", id.digest()).into()
}

impl TokenStore for TokenFiles {
    fn load(&self, id: &TokenId) -> Option<Token> {
        let octets = read_private(&self.directory.join(file_name(id))).ok()?;
        let object = Object::parse(&octets).ok()?;
        let text = |name| object.get(name).and_then(Value::as_str);
        let time = |name| match object.get(name) {
            Some(Value::Number(Number::Whole(seconds))) => Some(UnixTime::from_secs(*seconds)),
            _ => None,
        };
        let token = Token::new(text("access_token")?).ok()?;
        let mut token = token.lives(time("obtained")?, time("expires"));
        if let Some(scope) = text("scope") {
            token = token.with_scope(scope);
        }
        if let Some(refresh) = text("refresh_token") {
            token = token.with_refresh(Secret::new(refresh));
        }
        match text("token_type") {
            Some("DPoP") => Some(token),
            Some("Bearer") => Some(token.danger_unbound()),
            _ => None,
        }
    }

    /// By a lock on a file beside it, which the system takes back when a program ends.
    fn claim(&self, id: &TokenId) -> io::Result<Option<Box<dyn Send + Sync>>> {
        let file = open_lock(&self.directory, &format!("{}.lock", id.digest())).map_err(|why| self.about(&why))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(file))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(why)) => Err(self.about(&why)),
        }
    }

    /// A token whose end is unknown is not kept without one to refresh it: nobody could tell when to throw it away.
    fn save(&self, id: &TokenId, token: &Token) -> io::Result<()> {
        if token.expires().is_none() && token.refresh().is_none() {
            return Ok(());
        }
        let object = json!({
            "access_token": token.secret(),
            "token_type": if token.is_bound() { "DPoP" } else { "Bearer" },
            "obtained": token.obtained().as_secs(),
            "expires": token.expires().map(|expires| expires.as_secs()),
            "scope": token.scope(),
            "refresh_token": token.refresh().map(|refresh| refresh.expose()),
        });
        let text = Zeroizing::new(object.to_string());
        write_private(&self.directory, &file_name(id), text.as_bytes(), Present::Replace)
            .map_err(|why| self.about(&why))
    }
}
