//! Who is signed in: a session for each browser.

use serde::Deserialize;

use super::{AdminError, Administration};
use crate::audit::Event;
use crate::store::{Change, Kind, parse};
use crate::users::family_of_sessions;

/// Sessions that are read at once.
const STEP: u32 = 500;

/// So many steps a page: where few sessions are of this user, it ends early, and says where to go on.
const STEPS: usize = 20;

/// A browser in which a user is signed in.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Session {
    /// Its name: the digest of its cookie.
    pub id: Box<str>,
    /// When the user signed in, in seconds since 1970.
    pub since: u64,
    /// The last second in which it is there.
    pub expires: u64,
}

/// Some sessions.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Sessions {
    /// They.
    pub sessions: Vec<Session>,
    /// Where to go on; `None` if that is all.
    pub next: Option<Box<str>>,
}

/// What there is to read of one.
#[derive(Deserialize)]
struct Stored {
    subject: Box<str>,
    auth_time: u64,
}

impl Administration {
    /// Some sessions of this subject, at most `limit`, behind the one of this name. There may be none on a page that is not the last.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn sessions(&self, subject: &str, after: &str, limit: u32) -> Result<Sessions, AdminError> {
        let mut sessions = Vec::new();
        let mut after = Box::from(after);
        for _ in 0..STEPS {
            let found = self.store.list(Kind::SESSION, &after, STEP, self.clock.now()).await?;
            let is_last = found.len() < STEP as usize;
            for (id, record) in found {
                let Stored { subject: owner, auth_time } = parse(&record)?;
                after = id.clone();
                if *owner == *subject {
                    sessions.push(Session { id, since: auth_time, expires: record.expires.as_secs() });
                }
                if sessions.len() == limit as usize {
                    return Ok(Sessions { sessions, next: Some(after) });
                }
            }
            if is_last {
                return Ok(Sessions { sessions, next: None });
            }
        }
        Ok(Sessions { sessions, next: Some(after) })
    }

    /// Ends every session of this subject.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn end_sessions(&self, subject: &str) -> Result<(), AdminError> {
        let now = self.clock.now();
        let entry = self.entry(Event::UserSignedOut, now).subject(subject);
        let end = Change::DeleteFamily { family: family_of_sessions(subject) };
        self.write(vec![end], &entry, now).await?;
        Ok(())
    }
}
