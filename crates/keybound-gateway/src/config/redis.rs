//! `[replay.redis]`: how to get in where `replay.store` is Redis.

use std::path::Path;

use keybound_redis::{RedisSettings, SettingsError};

use super::file::{LARGE, octets, readable};
use super::introspection::secret_in;
use super::read::not_empty;
use super::section::{Read, Section, shortened};

/// The whole of the settings, of the URL and the table; `None` if anything is wrong.
pub(super) fn redis(section: Section<'_>, url: Read<RedisSettings>, base: &Path) -> Option<RedisSettings> {
    let Read { value: mut settings, .. } = url;
    let username = section.text("username", not_empty);
    let password = section.text("password_file", |text| secret_in(base, text));
    let sentinel_username = section.text("sentinel_username", not_empty);
    let sentinel_password = section.text("sentinel_password_file", |text| secret_in(base, text));
    if username.is_some() || password.is_some() {
        settings = settings.login(text_of(username.as_ref()), text_of(password.as_ref()));
    }
    if sentinel_username.is_some() || sentinel_password.is_some() {
        settings = settings.sentinel_login(text_of(sentinel_username.as_ref()), text_of(sentinel_password.as_ref()));
    }
    let prefix = section.text("prefix", |text| settings.clone().prefix(text));
    let timeout = section.duration("timeout");
    let settings = prefix?.value.timeout(timeout?.value);
    let settings = authorities(&section, settings, base);
    let settings = settings.and_then(|settings| identity(&section, settings, base));
    section.finish();
    settings
}

fn authorities(section: &Section<'_>, settings: RedisSettings, base: &Path) -> Option<RedisSettings> {
    let file = section.text("ca", |text| readable(base, text));
    let Some(file) = file else {
        return (!section.has("ca")).then_some(settings);
    };
    let read = pem(&file.value).and_then(|pem| settings.authorities(&pem).map_err(|error| fault(&file.value, &error)));
    read.map_err(|message| section.mistake("ca", &file.place, message)).ok()
}

fn identity(section: &Section<'_>, settings: RedisSettings, base: &Path) -> Option<RedisSettings> {
    let certificate = section.text("certificate", |text| readable(base, text));
    let key = section.text("key", |text| readable(base, text));
    let (certificate, key) = match (certificate, key) {
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(alone), None) if !section.has("key") => {
            section.mistake("certificate", &alone.place, "is set without key; write both");
            return None;
        }
        (None, Some(alone)) if !section.has("certificate") => {
            section.mistake("key", &alone.place, "is set without certificate; write both");
            return None;
        }
        (None, None) if !section.has("certificate") && !section.has("key") => return Some(settings),
        _ => return None,
    };
    let read = pem(&certificate.value).and_then(|chain| {
        settings.identity(&chain, &pem(&key.value)?).map_err(|error| fault(&certificate.value, &error))
    });
    read.map_err(|message| section.mistake("certificate", &certificate.place, message)).ok()
}

fn pem(path: &Path) -> Result<Vec<u8>, String> {
    octets(path, LARGE).map_err(|error| format!("{:?} cannot be read: {error}", shortened(&path.display().to_string())))
}

fn fault(path: &Path, error: &SettingsError) -> String {
    format!("{:?} {error}", shortened(&path.display().to_string()))
}

fn text_of(read: Option<&Read<String>>) -> Option<&str> {
    read.map(|read| read.value.as_str())
}
