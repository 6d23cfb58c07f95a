//! Keys that the operating system keeps. The file of such a key says where it is and which one it is; the key is not in it.

use std::fmt;

use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::jws::json::{Object, Value};
use serde_json::json;
use zeroize::Zeroizing;

/// Where keys are kept that are added to a [`KeyStore`](super::KeyStore).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keeper {
    /// In its file, which only its owner can read.
    #[default]
    File,
    /// In the store of the system that is unlocked when its user logs in, with the feature `os-key-store`: on Linux the Secret
    /// Service (GNOME Keyring, KWallet). On macOS it is the keychain, on Windows the credential manager, which takes no RSA keys of
    /// more than 2048 bits; the tests of this project run neither.
    Os,
}

impl Keeper {
    const fn name(self) -> &'static str {
        match self {
            Self::File => "file",
            Self::Os if cfg!(target_os = "macos") => "keychain",
            Self::Os if cfg!(windows) => "credential-manager",
            Self::Os => "secret-service",
        }
    }
}

/// Why the operating system does not keep a key, or not give it back.
#[derive(Debug)]
pub(super) struct Unkept(Box<str>);

impl fmt::Display for Unkept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What the file says of a key that is elsewhere.
#[derive(Debug)]
pub(super) struct Pointer {
    keeper: Keeper,
    id: String,
    /// Which key it is, so that none is taken for it.
    pub(super) jkt: String,
}

impl Pointer {
    /// Reads a file; `None` if the key is in it.
    pub(super) fn read(text: &[u8]) -> Option<Result<Self, Unkept>> {
        let object = Object::parse(text.trim_ascii()).ok()?;
        let kept_by = object.get("kept_by")?;
        let keeper = Some(Keeper::Os).filter(|keeper| kept_by.as_str() == Some(keeper.name()));
        let member = |name| object.get(name).and_then(Value::as_str).map(str::to_owned);
        let pointer = keeper.and_then(|keeper| Some(Self { keeper, id: member("id")?, jkt: member("jkt")? }));
        Some(pointer.ok_or_else(|| Unkept("it does not say clearly who keeps the key".into())))
    }

    /// Gives a key to `keeper`.
    pub(super) fn put(keeper: Keeper, jkt: String, key: &str) -> Result<Self, Unkept> {
        let id = encode_base64url(&random_array::<16>().map_err(|why| Unkept(why.to_string().into()))?);
        store::put(keeper, &id, key.as_bytes())?;
        Ok(Self { keeper, id, jkt })
    }

    /// The text of the file.
    pub(super) fn text(&self) -> String {
        json!({"kept_by": self.keeper.name(), "id": self.id, "jkt": self.jkt}).to_string()
    }

    pub(super) const fn keeper(&self) -> Keeper {
        self.keeper
    }

    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.keeper, &self.id) == (other.keeper, &other.id)
    }

    /// The key as JWK.
    pub(super) fn take(&self) -> Result<Zeroizing<Vec<u8>>, Unkept> {
        store::take(self.keeper, &self.id).map(Zeroizing::new)
    }

    /// Has it forgotten. What is not there any more is forgotten already.
    pub(super) fn forget(&self) -> Result<(), Unkept> {
        store::forget(self.keeper, &self.id)
    }
}

#[cfg_attr(all(feature = "os-key-store", any(target_os = "linux", target_os = "macos", windows)), path = "os/store.rs")]
#[cfg_attr(
    not(all(feature = "os-key-store", any(target_os = "linux", target_os = "macos", windows))),
    path = "os/no_store.rs"
)]
mod store;
