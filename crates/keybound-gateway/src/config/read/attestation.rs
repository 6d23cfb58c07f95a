//! `[attestation]`

use core::time::Duration;
use std::path::Path;

use super::not_empty;
use crate::config::Attestation;
use crate::config::section::Section;
use crate::signing_key;

/// Long enough for any way to an upstream, too short to be worth stealing.
const MOST: Duration = Duration::from_secs(30);

pub(super) fn attestation(section: Section<'_>, base: &Path) -> Option<Attestation> {
    let signing_key = section.text("signing_key", |text| {
        let path = base.join(not_empty(text)?);
        signing_key::judge(&path).map(|()| path)
    });
    let lifetime = section.duration("lifetime");
    if let Some(lifetime) =
        lifetime.as_ref().filter(|lifetime| lifetime.value > MOST || lifetime.value.subsec_millis() > 0)
    {
        section.mistake("lifetime", &lifetime.place, "is not 1s to 30s, in whole seconds");
    }
    section.finish();
    Some(Attestation { signing_key: signing_key.map(|file| file.value), lifetime: lifetime?.value })
}
