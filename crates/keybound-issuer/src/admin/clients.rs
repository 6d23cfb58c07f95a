//! Clients of the store. Metadata has the names of RFC 7591; `grant_types` must be said, and tokens are bound unless it is said
//! that they are not.

use serde_json::{Map, Value};

use super::{AdminError, Administration};
use crate::audit::{Entry, Event};
use crate::config::is_client_id;
use crate::grants::Head;
use crate::handle;
use crate::people::consent;
use crate::registered::{Registered, Secrets};
use crate::store::{Change, Kind, NEVER, parse, to_json};

/// Grants that are looked at at once.
const STEP: u32 = 500;

/// Grants that are revoked at once.
const GROUP: usize = 100;

/// A client as it is now.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Shown {
    /// Its metadata, with `client_id`, `client_id_issued_at` and `registered_by`: `administrator` or `itself`.
    pub client: Map<String, Value>,
    /// Its new secret, if it got one just now. Only its digest is kept.
    pub secret: Option<String>,
    /// Another one after each change.
    pub version: u64,
}

/// Some clients.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listed {
    /// As [`Shown::client`].
    pub clients: Vec<Map<String, Value>>,
    /// Where to go on; `None` if that is all.
    pub next: Option<Box<str>>,
}

impl Administration {
    /// Some clients, at most `limit`, behind the one of this name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn clients(&self, after: &str, limit: u32) -> Result<Listed, AdminError> {
        let found = self.store.list(Kind::CLIENT, after, limit, self.clock.now()).await?;
        let next = found.last().filter(|_| found.len() == limit as usize).map(|(id, _)| id.clone());
        let facts = |record| Ok(parse::<Registered>(record)?.facts());
        let clients = found.iter().map(|(_, record)| facts(record)).collect::<Result<_, AdminError>>()?;
        Ok(Listed { clients, next })
    }

    /// One client.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Failed`].
    pub async fn client(&self, id: &str) -> Result<Shown, AdminError> {
        let (registered, version) = self.registered(id).await?;
        Ok(Shown { client: registered.facts(), secret: None, version })
    }

    /// A new client, under this name or one made at random.
    ///
    /// # Errors
    ///
    /// [`AdminError::Taken`], [`AdminError::Configured`], [`AdminError::Unfit`], [`AdminError::Failed`].
    pub async fn add_client(&self, id: Option<&str>, metadata: &Map<String, Value>) -> Result<Shown, AdminError> {
        let id = match id {
            Some(id) if is_client_id(id) => id.to_owned(),
            Some(_) => {
                let words = "client_id is not printable ASCII, or has a space at one of its ends";
                return Err(AdminError::Unfit(words.into()));
            }
            None => handle::name()?,
        };
        let now = self.clock.now();
        self.is_free_of_clients(&id)?;
        if self.is_subject(&id, now).await? {
            return Err(AdminError::Taken(id.into()));
        }
        let (registered, secrets) = Registered::managed(&id, metadata, None, now)?;
        let insert = Change::Insert {
            kind: Kind::CLIENT,
            id: id.as_str().into(),
            family: "".into(),
            expires: NEVER,
            body: to_json(&registered),
        };
        let entry = self.entry(Event::ClientRegistered, now).client(&id);
        if !self.write(vec![insert], &entry, now).await? {
            return Err(AdminError::Taken(id.into()));
        }
        Ok(shown(&registered, secrets, 1))
    }

    /// Changes metadata: each member that is named is that from now on, and away if it is `null` (RFC 7396). Where `version` is given,
    /// the client must still be of that version.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Unfit`], [`AdminError::Changed`], [`AdminError::Failed`].
    pub async fn change_client(
        &self,
        id: &str,
        patch: &Map<String, Value>,
        version: Option<u64>,
    ) -> Result<Shown, AdminError> {
        let (before, found) = self.registered(id).await?;
        let mut metadata = before.metadata().clone();
        // It follows from the grants.
        metadata.remove("response_types");
        for (name, value) in patch {
            match value {
                Value::Null => metadata.remove(name),
                value => metadata.insert(name.clone(), value.clone()),
            };
        }
        let (after, secrets) = Registered::managed(id, &metadata, Some(&before), self.clock.now())?;
        self.replace(after, secrets, version.unwrap_or(found), Event::ClientChanged).await
    }

    /// Gives a client another secret; the old one is none from now on.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::NoSecret`], [`AdminError::Changed`], [`AdminError::Failed`].
    pub async fn new_client_secret(&self, id: &str) -> Result<Shown, AdminError> {
        let (before, version) = self.registered(id).await?;
        let (after, secrets) = before.with_new_secret()?.ok_or_else(|| AdminError::NoSecret(id.into()))?;
        self.replace(after, secrets, version, Event::ClientSecret).await
    }

    /// Deletes a client, and revokes all that users granted it; how many grants that were.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Failed`].
    pub async fn delete_client(&self, id: &str) -> Result<u64, AdminError> {
        self.registered(id).await?;
        let now = self.clock.now();
        let entry = self.entry(Event::ClientDeleted, now).client(id);
        let take = Change::Take { kind: Kind::CLIENT, id: id.into() };
        if !self.write(vec![take], &entry, now).await? {
            return Err(AdminError::Unknown(id.into()));
        }
        // From here on it gets nothing; what it has ends now.
        let mut revoked = 0;
        let mut after = Box::from("");
        loop {
            let found = self.store.list(Kind::GRANT, &after, STEP, now).await?;
            let Some((last, _)) = found.last() else { return Ok(revoked) };
            after = last.clone();
            let mut families = Vec::new();
            for (family, record) in found {
                let head: Head = parse(&record)?;
                if *head.client == *id {
                    // Another client of this name inherits nothing.
                    families.push((family, consent::forget(&head.subject, id)));
                }
            }
            for group in families.chunks(GROUP) {
                let entry = self.entry(Event::GrantRevoked, now).client(id);
                let (group, forgotten): (Vec<_>, Vec<_>) = group.iter().cloned().unzip();
                revoked += self.revoke(&group, forgotten, entry).await?;
            }
        }
    }

    /// Revokes these grants, and makes these changes with it.
    pub(super) async fn revoke(
        &self,
        families: &[Box<str>],
        besides: Vec<Change>,
        entry: Entry,
    ) -> Result<u64, AdminError> {
        if families.is_empty() {
            return Ok(0);
        }
        let count = u64::try_from(families.len()).unwrap_or(u64::MAX);
        let revoked = families.iter().map(|family| Change::DeleteFamily { family: family.clone() });
        let changes = revoked.chain(besides).collect();
        let entry = Entry { count: Some(count), ..entry };
        self.write(changes, &entry, self.clock.now()).await?;
        Ok(count)
    }

    /// No client of the configuration has this name.
    fn is_free_of_clients(&self, id: &str) -> Result<(), AdminError> {
        if self.clients.iter().any(|client| **client == *id) { Err(AdminError::Configured(id.into())) } else { Ok(()) }
    }

    async fn registered(&self, id: &str) -> Result<(Registered, u64), AdminError> {
        self.is_free_of_clients(id)?;
        let record = self.store.read(Kind::CLIENT, id, self.clock.now()).await?;
        let record = record.ok_or_else(|| AdminError::Unknown(id.into()))?;
        Ok((parse(&record)?, record.version))
    }

    async fn replace(
        &self,
        after: Registered,
        secrets: Secrets,
        version: u64,
        event: Event,
    ) -> Result<Shown, AdminError> {
        let id = after.client_id.clone();
        let now = self.clock.now();
        let entry = self.entry(event, now).client(&id);
        let body = to_json(&after);
        let replace = Change::Replace { kind: Kind::CLIENT, id, version, expires: NEVER, body };
        if !self.write(vec![replace], &entry, now).await? {
            return Err(AdminError::Changed);
        }
        Ok(shown(&after, secrets, version + 1))
    }
}

fn shown(registered: &Registered, secrets: Secrets, version: u64) -> Shown {
    Shown { client: registered.facts(), secret: secrets.secret, version }
}
