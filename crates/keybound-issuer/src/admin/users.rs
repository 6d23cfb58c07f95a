//! Users of the store. Whoever is disabled, gets another password or is deleted is signed out.

use keybound::refusal::Fault;
use keybound::time::UnixTime;

use super::{AdminError, Administration};
use crate::people::PasswordHash;
use crate::users::{NewUser, User};

/// What is known of a user besides the name.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Description {
    /// As people call them.
    pub full_name: Option<Box<str>>,
    /// Where mail reaches them.
    pub email: Option<Box<str>>,
}

impl Administration {
    /// Some users of the store, at most `limit`, behind the one whose [`User::id`] this is.
    ///
    /// # Errors
    ///
    /// [`AdminError::Failed`].
    pub async fn users(&self, after: &str, limit: u32) -> Result<Vec<User>, AdminError> {
        Ok(self.users.list(after, limit, self.clock.now()).await?)
    }

    /// One user, of the store or of the configuration.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Failed`].
    pub async fn user(&self, name: &str) -> Result<User, AdminError> {
        let found = self.users.find(name, self.clock.now()).await?;
        found.ok_or_else(|| AdminError::Unknown(name.into()))
    }

    /// A new user, with this password or none.
    ///
    /// # Errors
    ///
    /// [`AdminError::Taken`], [`AdminError::Unfit`], [`AdminError::Failed`].
    pub async fn add_user(&self, name: &str, known: Description, password: Option<&str>) -> Result<User, AdminError> {
        let mut new = NewUser::new(name);
        if let Some(full_name) = known.full_name {
            new = new.full_name(full_name);
        }
        if let Some(email) = known.email {
            new = new.email(email);
        }
        if let Some(password) = password {
            new = new.password(hash(password).await?);
        }
        let added = self.users.create(new, self.clock.now()).await;
        added.map_err(|error| AdminError::of_user(name, error))
    }

    /// Says who a user is; what is `None` is not known any more.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Configured`], [`AdminError::Unfit`], [`AdminError::Failed`].
    pub async fn describe_user(&self, name: &str, known: &Description) -> Result<User, AdminError> {
        let Description { full_name, email } = known;
        let now = self.clock.now();
        let described = self.users.describe(name, full_name.as_deref(), email.as_deref(), now).await;
        described.map_err(|error| AdminError::of_user(name, error))
    }

    /// Gives a user another password, or none. Who is signed in as this user is not any more.
    ///
    /// # Errors
    ///
    /// As [`Administration::describe_user`].
    pub async fn set_password(&self, name: &str, password: Option<&str>) -> Result<User, AdminError> {
        // Hashing costs: not for nobody.
        self.user(name).await?;
        let hash = match password {
            Some(password) => Some(hash(password).await?),
            None => None,
        };
        let set = self.users.set_password(name, hash, self.clock.now()).await;
        set.map_err(|error| AdminError::of_user(name, error))
    }

    /// Lets nobody sign in as this user, and ends what is signed in.
    ///
    /// # Errors
    ///
    /// As [`Administration::describe_user`].
    pub async fn disable_user(&self, name: &str) -> Result<User, AdminError> {
        let disabled = self.users.disable(name, self.clock.now()).await;
        disabled.map_err(|error| AdminError::of_user(name, error))
    }

    /// Takes [`Administration::disable_user`] back.
    ///
    /// # Errors
    ///
    /// As [`Administration::describe_user`].
    pub async fn enable_user(&self, name: &str) -> Result<User, AdminError> {
        let enabled = self.users.enable(name, self.clock.now()).await;
        enabled.map_err(|error| AdminError::of_user(name, error))
    }

    /// Deletes a user, and revokes everything that was granted; how many grants that were.
    ///
    /// # Errors
    ///
    /// As [`Administration::describe_user`].
    pub async fn delete_user(&self, name: &str) -> Result<u64, AdminError> {
        let user = self.user(name).await?;
        let deleted = self.users.delete(name, self.clock.now()).await;
        deleted.map_err(|error| AdminError::of_user(name, error))?;
        self.revoke_grants(user.subject()).await
    }

    /// `sub` of the user of this name.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], [`AdminError::Failed`].
    pub async fn subject(&self, name: &str) -> Result<Box<str>, AdminError> {
        match self.user(name).await {
            Ok(user) => Ok(user.subject().into()),
            Err(AdminError::Unknown(_)) if self.subjects.iter().any(|subject| **subject == *name) => Ok(name.into()),
            Err(error) => Err(error),
        }
    }

    /// Whether tokens of users have this `sub`: a client of that name would be taken for one (RFC 9068 section 5).
    pub(super) async fn is_subject(&self, name: &str, now: UnixTime) -> Result<bool, Fault> {
        let is_configured = self.subjects.iter().any(|subject| **subject == *name);
        Ok(is_configured || self.users.find_by_subject(name, now).await?.is_some())
    }
}

async fn hash(password: &str) -> Result<PasswordHash, AdminError> {
    PasswordHash::off_thread(password)
        .await
        .map_err(|_| AdminError::Unfit("a password has between 1 and 1024 octets".into()))
}
