//! The store of the system, by the library that has one interface to all of them.

use std::sync::Arc;

use keyring_core::{CredentialStore, Entry, Error, Result};

use super::{Keeper, Unkept};

pub(super) fn put(keeper: Keeper, id: &str, secret: &[u8]) -> std::result::Result<(), Unkept> {
    entry(id).and_then(|entry| entry.set_secret(secret)).map_err(|why| unkept(keeper, &why))
}

pub(super) fn take(keeper: Keeper, id: &str) -> std::result::Result<Vec<u8>, Unkept> {
    entry(id).and_then(|entry| entry.get_secret()).map_err(|why| unkept(keeper, &why))
}

pub(super) fn forget(keeper: Keeper, id: &str) -> std::result::Result<(), Unkept> {
    match entry(id).and_then(|entry| entry.delete_credential()) {
        Err(Error::NoEntry) => Ok(()),
        done => done.map_err(|why| unkept(keeper, &why)),
    }
}

fn entry(id: &str) -> Result<Entry> {
    #[cfg(target_os = "linux")]
    let store: Arc<CredentialStore> = zbus_secret_service_keyring_store::Store::new()?;
    #[cfg(target_os = "macos")]
    let store: Arc<CredentialStore> = apple_native_keyring_store::keychain::Store::new()?;
    #[cfg(windows)]
    let store: Arc<CredentialStore> = windows_native_keyring_store::Store::new()?;
    Entry::new_in_store(&store, "keybound", id)
}

/// The words of the library, which hold no secret unless they hold the octets that were found.
fn unkept(keeper: Keeper, why: &Error) -> Unkept {
    let name = keeper.name();
    let text = match why {
        Error::NoEntry => format!("{name} does not have the key any more"),
        Error::PlatformFailure(why) | Error::NoStorageAccess(why) => format!("{name} cannot be used: {why}"),
        Error::TooLong(..) => format!("{name} does not take a key of this length"),
        Error::Ambiguous(_) => format!("{name} has several keys of that name"),
        _ => format!("{name} failed"),
    };
    Unkept(text.into())
}
