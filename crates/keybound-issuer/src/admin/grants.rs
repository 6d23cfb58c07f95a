//! What users granted clients: the tokens that hang on a grant die with it.

use super::{AdminError, Administration};
use crate::audit::Event;
use crate::grants::Head;
use crate::grants::families_of;
use crate::people::consent;
use crate::store::{Change, Kind, parse};
use crate::users::family_of_consents;

/// Grants that are looked at, and revoked, at once.
const STEP: u32 = 100;

/// What a user granted a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Grant {
    /// Its name: the first half of the `jti` of its access tokens.
    pub id: Box<str>,
    /// The client.
    pub client: Box<str>,
    /// `sub`.
    pub subject: Box<str>,
    /// What was granted.
    pub scope: Box<str>,
    /// When the user signed in for it, in seconds since 1970.
    pub since: u64,
    /// The last second in which it is there, unless it is used.
    pub expires: u64,
}

impl Administration {
    /// Some grants of this subject, at most `limit`, behind the one of this name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn grants(&self, subject: &str, after: &str, limit: u32) -> Result<Vec<Grant>, AdminError> {
        let prefix = families_of(subject);
        let after = if after.starts_with(&*prefix) { after } else { &prefix };
        let found = self.store.list(Kind::GRANT, after, limit, self.clock.now()).await?;
        let mut grants = Vec::new();
        for (id, record) in found.into_iter().take_while(|(id, _)| id.starts_with(&*prefix)) {
            let Head { client, subject: owner, scope, since, .. } = parse(&record)?;
            if *owner == *subject {
                grants.push(Grant { id, client, subject: owner, scope, since, expires: record.expires.as_secs() });
            }
        }
        Ok(grants)
    }

    /// Revokes one grant of this subject, and forgets what they allowed its client: it has to ask again.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Failed`].
    pub async fn revoke_grant(&self, subject: &str, id: &str) -> Result<(), AdminError> {
        let now = self.clock.now();
        let record = self.store.read(Kind::GRANT, id, now).await?.ok_or_else(|| AdminError::Unknown(id.into()))?;
        let head: Head = parse(&record)?;
        if *head.subject != *subject {
            return Err(AdminError::Unknown(id.into()));
        }
        let entry = self.entry(Event::GrantRevoked, now).client(&head.client).subject(subject).grant(Some(id));
        // Otherwise the client has another one as soon as the browser passes by.
        self.revoke(&[id.into()], vec![consent::forget(subject, &head.client)], entry).await?;
        Ok(())
    }

    /// Revokes every grant of this subject, and forgets what they allowed anybody; how many grants.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn revoke_grants(&self, subject: &str) -> Result<u64, AdminError> {
        let now = self.clock.now();
        let forgotten = vec![Change::DeleteFamily { family: family_of_consents(subject) }];
        // There may be something to forget, though every grant is over.
        let _done = self.store.write(forgotten, now).await?;
        let mut revoked = 0;
        loop {
            let grants = self.grants(subject, "", STEP).await?;
            let families: Vec<_> = grants.into_iter().map(|grant| grant.id).collect();
            if families.is_empty() {
                return Ok(revoked);
            }
            let entry = self.entry(Event::GrantRevoked, now).subject(subject);
            revoked += self.revoke(&families, Vec::new(), entry).await?;
        }
    }
}
