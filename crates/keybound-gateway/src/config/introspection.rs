//! `[issuer.introspection]`: an issuer that is asked about each of its tokens.

use core::time::Duration;
use std::path::Path;
use std::sync::Arc;

use keybound::client::Secret;
use keybound::request::TargetUri;
use keybound::token::introspection::MissingAudience;
use keybound_tower::introspection::{AskAs, MAX_KEEP};

use super::Issuer;
use super::file::{self, readable};
use super::read::not_empty;
use super::section::{Section, shortened};
use crate::signing_key;

/// How an issuer is asked about its tokens.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Introspection {
    /// Where.
    pub endpoint: Box<str>,
    /// The name we ask under.
    pub client_id: String,
    /// How we show that it is ours.
    pub ask_as: AskAs,
    /// Whether answers have to be signed (RFC 9701).
    pub signed: bool,
    /// How long an answer is believed.
    pub keep: Duration,
    /// What an answer without `aud` is worth.
    pub missing_audience: MissingAudience,
}

impl Issuer {
    /// Whether its keys are needed, for its tokens or for its answers.
    pub(crate) fn needs_keys(&self) -> bool {
        self.introspection.as_ref().is_none_or(|asked| asked.signed)
    }
}

/// `None` if anything is wrong; then there is a mistake that says what.
pub(super) fn introspection(section: Section<'_>, base: &Path) -> Option<Introspection> {
    let endpoint = section.text("endpoint", |text| match TargetUri::parse(text) {
        Ok(uri) if uri.is_https() || uri.is_loopback() => Ok(Box::<str>::from(text)),
        Ok(_) => Err("is plain http: tokens and secrets go over https only, plain http is for loopback".to_owned()),
        Err(_) => Err(format!("{:?} is not an https URL", shortened(text))),
    });
    let client_id = section.text("client_id", not_empty);
    let ask_as = ask_as(&section, base);
    let signed = section.flag("signed");
    let keep = section.duration("keep");
    if let Some(keep) = keep.as_ref().filter(|keep| keep.value > MAX_KEEP) {
        section.mistake("keep", &keep.place, "is longer than 5m: a revocation would be noticed too late");
    }
    let missing = section.choice("missing_audience", "a way to take answers without aud", |text| match text {
        "refuse" => Some(MissingAudience::Refuse),
        "accept" => Some(MissingAudience::Accept),
        _ => None,
    });
    section.finish();
    Some(Introspection {
        endpoint: endpoint?.value,
        client_id: client_id?.value,
        ask_as: ask_as?,
        signed: signed?.value,
        keep: keep?.value,
        missing_audience: missing?.value,
    })
}

/// Which of the secrets and keys are set must fit the method.
pub(super) fn ask_as(section: &Section<'_>, base: &Path) -> Option<AskAs> {
    let method = section.choice("authentication", "a client authentication method", |text| {
        ["client_secret_basic", "client_secret_post", "private_key_jwt"].into_iter().find(|method| *method == text)
    });
    let secret = section.text("client_secret", not_empty);
    let file = section.text("client_secret_file", |text| secret_in(base, text));
    let key = section.text("private_key", |text| readable(base, text).and_then(|path| signing_key::existing(&path)));
    let kid = section.text("key_id", not_empty);
    let method = method?;
    if method.value == "private_key_jwt" {
        let Some(key) = key else {
            if !section.has("private_key") {
                section.mistake("private_key", &method.place, "is missing: private_key_jwt signs with it");
            }
            return None;
        };
        return Some(AskAs::PrivateKeyJwt { key: Arc::new(key.value), kid: kid.map(|kid| kid.value.into()) });
    }
    let secret = match (secret, file) {
        (Some(_), Some(file)) => {
            section.mistake("client_secret_file", &file.place, "is set besides client_secret; leave one of them out");
            return None;
        }
        (None, None) => {
            if !section.has("client_secret") && !section.has("client_secret_file") {
                let message = "is missing, and so is client_secret_file: the issuer answers only those it knows";
                section.mistake("client_secret", &method.place, message);
            }
            return None;
        }
        (here, file) => Secret::new(here.or(file)?.value),
    };
    Some(if method.value == "client_secret_post" { AskAs::SecretPost(secret) } else { AskAs::SecretBasic(secret) })
}

pub(super) fn secret_in(base: &Path, text: &str) -> Result<String, String> {
    let path = readable(base, text)?;
    let secret =
        file::text(&path, file::SMALL).map_err(|error| format!("{:?} cannot be read: {error}", shortened(text)))?;
    not_empty(secret.trim_end_matches(['\r', '\n'])).map_err(|fault| format!("{:?} {fault}", shortened(text)))
}
