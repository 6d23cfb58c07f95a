//! The keys that the issuer signs with.

use super::{AdminError, Administration};
use crate::keys::{Keys, KeysError, KeysFault, StoredKey};

impl Administration {
    /// With the keys that the issuer signs with; without, there are none to look after.
    pub fn with_keys(self, keys: Keys) -> Self {
        Self { keys: Some(keys), ..self }
    }

    /// The keys, in the order in which they sign.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotHere`] if there are none to look after here.
    pub fn keys(&self) -> Result<Vec<StoredKey>, AdminError> {
        Ok(self.own_keys()?.list(self.clock.now()))
    }

    /// Has the next key sign, as [`Keys::rotate`] does; the keys then.
    ///
    /// # Errors
    ///
    /// [`AdminError::NotHere`], [`AdminError::Failed`], [`AdminError::Keys`].
    pub async fn rotate_keys(&self) -> Result<Vec<StoredKey>, AdminError> {
        self.own_keys()?.rotate_by(Some(self.by)).await.map_err(|error| of_keys("", error))?;
        self.keys()
    }

    /// Takes this key out at once, as [`Keys::revoke`] does; the keys then.
    ///
    /// # Errors
    ///
    /// [`AdminError::Unknown`], and as [`Administration::rotate_keys`].
    pub async fn revoke_key(&self, kid: &str) -> Result<Vec<StoredKey>, AdminError> {
        self.own_keys()?.revoke_by(kid, Some(self.by)).await.map_err(|error| of_keys(kid, error))?;
        self.keys()
    }

    fn own_keys(&self) -> Result<&Keys, AdminError> {
        self.keys.as_ref().ok_or_else(|| AdminError::NotHere("there are no keys to look after here".into()))
    }
}

fn of_keys(kid: &str, error: KeysError) -> AdminError {
    match error.why() {
        KeysFault::Unknown => AdminError::Unknown(kid.into()),
        KeysFault::Refused => AdminError::NotHere(error.to_string().into()),
        KeysFault::Store(fault) => AdminError::Failed(fault),
        KeysFault::Other => AdminError::Keys(error),
    }
}
