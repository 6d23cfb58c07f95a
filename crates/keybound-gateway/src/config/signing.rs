//! `[authorization_server.keys]`: the keys that the embedded issuer makes, and what they are sealed under in its store.

use core::time::Duration;
use std::path::{Path, PathBuf};

use keybound::client::Secret;
use keybound::crypto::Alg;
use keybound_issuer::keys::{KeySettings, SealingKeys, SettingsError};
use keybound_issuer::store::Location;

use super::file::readable;
use super::read::not_empty;
use super::section::{Read, Section};
use crate::signing_key;

/// How the embedded issuer's signing keys are made and kept.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SigningKeys {
    /// What keys are made, and when.
    pub settings: KeySettings,
    /// What they are sealed under.
    pub sealing: Sealing,
    /// What signs instead of them.
    pub module: Option<KeyInModule>,
}

/// `[authorization_server.keys.pkcs11]`: a key in a module of PKCS#11.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct KeyInModule {
    /// The library of the module.
    pub module: PathBuf,
    /// The label of the token.
    pub token: String,
    /// The label of the key.
    pub key: String,
    /// Of the token's user.
    pub pin: Secret,
    /// What it signs by.
    pub alg: Alg,
}

impl PartialEq for KeyInModule {
    fn eq(&self, other: &Self) -> bool {
        let place = |key: &Self| (key.module.clone(), key.token.clone(), key.key.clone(), key.alg);
        place(self) == place(other) && self.pin.expose() == other.pin.expose()
    }
}

impl Eq for KeyInModule {}

/// What private keys are sealed under before they are stored.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Sealing {
    /// A key that ends with the process, like the store.
    Random,
    /// The key in this file, which is made when the first keys are.
    Beside(PathBuf),
    /// These keys, as they were read.
    With(SealingKeys),
}

/// Settings that are for keys which the issuer makes.
const OF_MADE_KEYS: [&str; 4] = ["algorithm", "rotate_every", "sealing_key_file", "sealing_key"];

/// `None` if anything is wrong; then there is a mistake that says what. `own` says that a key of the operator's signs.
pub(super) fn signing_keys(
    section: Section<'_>,
    base: &Path,
    store: Option<&Location>,
    own: bool,
) -> Option<SigningKeys> {
    if own {
        for name in OF_MADE_KEYS.into_iter().filter(|name| section.has(name)) {
            let message =
                "is for keys that the issuer makes, and signing_key names one of yours; leave one of them out";
            section.mistake(name, section.place(), message);
        }
    }
    let alg = section.choice("algorithm", "an algorithm to sign by", Alg::from_name);
    let table = section.inside("authorization_server.keys.pkcs11");
    let own = own || table.is_there();
    let module = if table.is_there() { Some(module(table, base, alg.as_ref().map(|alg| alg.value))) } else { None };
    let [every, ahead] = ["rotate_every", "published_ahead"].map(|name| section.duration(name));
    let file = section.text("sealing_key_file", |text| {
        let path = readable(base, text)?;
        signing_key::sealing(&path).map(Sealing::With)
    });
    let text = section.text("sealing_key", |text| SealingKeys::parse(text).map(Sealing::With));
    let sealing = match (file, text) {
        (Some(_), Some(text)) => {
            section.mistake("sealing_key", &text.place, "is set besides sealing_key_file; leave one of them out");
            None
        }
        (None, None) => match store {
            _ if section.has("sealing_key_file") || section.has("sealing_key") => None,
            Some(Location::Sqlite(database)) => Some(Sealing::Beside(beside(database))),
            Some(Location::Postgres(_)) if !own => {
                let message = "is missing, and so is sealing_key: a database on the network holds keys only sealed, under a key \
                               that is not in it; openssl rand -base64 32 makes one";
                section.mistake("sealing_key_file", section.place(), message);
                None
            }
            _ => Some(Sealing::Random),
        },
        (file, text) => file.or(text).map(|sealing| sealing.value),
    };
    let settings = settings(&section, alg, every, ahead);
    section.finish();
    let module = module.map_or(Some(None), |module| module.map(Some))?;
    Some(SigningKeys { settings: settings?, sealing: sealing?, module })
}

fn module(section: Section<'_>, base: &Path, alg: Option<Alg>) -> Option<KeyInModule> {
    if !cfg!(feature = "pkcs11") {
        section.mistake("", section.place(), "is for builds with the feature pkcs11, which this is not");
    }
    let module = section.text("module", |text| readable(base, text));
    let token = section.text("token", not_empty);
    let key = section.text("key", not_empty);
    let pin = section.text("pin_file", |text| signing_key::secret(&readable(base, text)?));
    section.finish();
    let (module, pin) = (module?.value, pin?.value);
    Some(KeyInModule { module, token: token?.value, key: key?.value, pin, alg: alg? })
}

fn settings(
    section: &Section<'_>,
    alg: Option<Read<Alg>>,
    every: Option<Read<Duration>>,
    ahead: Option<Read<Duration>>,
) -> Option<KeySettings> {
    let (every, ahead) = (every?, ahead?);
    let settings = KeySettings::new().algorithm(alg?.value).rotate_every(every.value).published_ahead(ahead.value);
    match settings.check() {
        Ok(()) => return Some(settings),
        Err(error @ SettingsError::Ahead) => section.mistake("published_ahead", &ahead.place, error.to_string()),
        Err(error) => section.mistake("rotate_every", &every.place, error.to_string()),
    }
    None
}

/// The file beside a database.
fn beside(database: &Path) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(".key");
    name.into()
}
