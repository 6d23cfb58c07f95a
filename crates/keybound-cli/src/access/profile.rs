//! Profiles: the options of access under a name, in a file.

use std::path::{Path, PathBuf};

use keybound_client::files::home;
use serde::Deserialize;

use super::{Access, Result, reachable};
use crate::outcome::Failure;

/// The largest file with profiles.
const MAX_FILE: u64 = 1024 * 1024;

/// One table of the file. Files it names are looked for from where it is.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Profile {
    issuer: Option<String>,
    discover: Vec<String>,
    client_id: Option<String>,
    client_secret_file: Option<PathBuf>,
    private_key: Option<PathBuf>,
    key_id: Option<String>,
    scope: Option<String>,
    resource: Vec<String>,
    key: Option<String>,
    login: bool,
    no_browser: bool,
    redirect_port: Option<u16>,
    redirect_path: Option<String>,
    device: bool,
    refresh_token_file: Option<PathBuf>,
    #[serde(skip)]
    folder: PathBuf,
}

/// The profile of this name.
pub(super) fn read(file: Option<&Path>, name: &str) -> Result<Profile> {
    use std::io::Read as _;

    let path = match file {
        Some(file) => file.to_owned(),
        None => home()
            .map(|home| home.join("profiles.toml"))
            .ok_or_else(|| Failure::usage("there is no home directory; set KEYBOUND_HOME, or give --profiles"))?,
    };
    let failed = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
    let mut text = String::new();
    let file = std::fs::File::open(&path)
        .map_err(|why| failed(&format_args!("{why}; it is where the profile {name:?} would stand, as a table")))?;
    file.take(MAX_FILE).read_to_string(&mut text).map_err(|why| failed(&why))?;
    let mut table: toml::Table = text.parse().map_err(|why: toml::de::Error| failed(&why))?;
    let names = || table.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !table.contains_key(name) {
        return Err(failed(&format_args!("there is no profile {name:?}; there are: {}", names())));
    }
    let profile = table.remove(name).unwrap_or(toml::Value::Boolean(false));
    let mut profile: Profile = profile.try_into().map_err(|why| failed(&format_args!("[{name}] {why}")))?;
    for url in profile.issuer.iter().chain(&profile.discover) {
        reachable(url).map_err(|why| failed(&format_args!("[{name}] {url}: {why}")))?;
    }
    profile.folder = path.parent().map(Path::to_owned).unwrap_or_default();
    Ok(profile)
}

impl Profile {
    /// Fills in what `access` leaves open. What excludes each other on the command line is one thing here too: a secret given
    /// there replaces the key of the profile.
    pub(super) fn fill(self, access: &mut Access) {
        let folder = self.folder;
        let file = |path: Option<PathBuf>| path.map(|path| folder.join(path));
        let issuer_given = access.issuer.is_some() || !access.discover.is_empty();
        if !issuer_given {
            access.issuer = self.issuer;
            access.discover = self.discover;
        }
        let secret_given =
            access.client_secret.is_some() || access.client_secret_file.is_some() || access.private_key.is_some();
        if !secret_given {
            access.client_secret_file = file(self.client_secret_file);
            access.private_key = file(self.private_key);
            access.key_id = access.key_id.take().or(self.key_id);
        }
        let grant_given =
            access.login || access.device || access.refresh_token_file.is_some() || access.exchange.is_some();
        if !grant_given {
            access.login = self.login;
            access.device = self.device;
            access.refresh_token_file = file(self.refresh_token_file);
        }
        access.client_id = access.client_id.take().or(self.client_id);
        access.scope = access.scope.take().or(self.scope);
        access.key = access.key.take().or(self.key);
        access.no_browser |= self.no_browser;
        access.redirect_port = access.redirect_port.or(self.redirect_port);
        access.redirect_path = access.redirect_path.take().or(self.redirect_path);
        if access.resource.is_empty() {
            access.resource = self.resource;
        }
    }
}
