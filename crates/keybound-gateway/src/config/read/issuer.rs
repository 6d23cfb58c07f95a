//! `[[issuer]]`

use core::str::FromStr;
use std::path::Path;

use keybound::crypto::AlgSet;

use super::{not_empty, texts};
use crate::config::file::KeyFile;
use crate::config::introspection::introspection;
use crate::config::section::{Read, Section};
use crate::config::{Issuer, KeySource};

pub(super) fn issuer(section: Section<'_>, base: &Path) -> Option<Read<Issuer>> {
    let url = section.text("url", FromStr::from_str);
    let audience = section.texts("audience", not_empty);
    if let Some(audience) = audience.as_ref().filter(|audience| audience.value.is_empty()) {
        section.mistake(
            "audience",
            &audience.place,
            "is empty: tokens for other services would be accepted; name this one",
        );
    }
    let algorithms = section.algorithms("algorithms");
    let file = section.text("jwks_file", |text| KeyFile::read(base, text, algorithms.unwrap_or(AlgSet::ALL)));
    let table = section.inside("issuer.introspection");
    let asked = table.is_there().then(|| introspection(table, base));
    if let (Some(Some(asked)), Some(file)) = (&asked, &file)
        && !asked.signed
    {
        let message = "is not needed: the issuer is asked about its tokens, and its answers are not signed";
        section.mistake("jwks_file", &file.place, message);
    }
    section.finish();
    let url = url?;
    let issuer = Issuer {
        introspection: asked.map_or(Some(None), |asked| asked.map(Some))?,
        url: url.value,
        audience: texts(audience?),
        keys: file.map_or(KeySource::Discovery, |file| KeySource::File(file.value)),
        algorithms: algorithms?,
    };
    Some(Read { value: issuer, place: url.place, written: true })
}
