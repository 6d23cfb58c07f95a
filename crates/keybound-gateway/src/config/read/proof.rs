//! `[proof]` and `[replay]`: a preset of the one decides what is allowed in the other.

use core::time::Duration;
use std::path::{Path, PathBuf};

use keybound::nonce::NonceRing;

use crate::config::file::readable;
use crate::config::mistake::Place;
use crate::config::postgres::postgres;
use crate::config::read::not_empty;
use crate::config::redis::redis;
use crate::config::section::{ChosenPreset, Read, Section, child, shortened};
use crate::config::source::{Located, Value};
use crate::config::{
    IatWithNonce, KeptRing, NoncePolicy, NonceRingAt, NonceRingPlace, ProofPolicy, Replay, ReplayLocation,
    WhenUnavailable,
};
use crate::{nonce_ring, signing_key};
use keybound_issuer::keys::SealingKeys;
use keybound_postgres::PostgresSettings;
use keybound_redis::RedisSettings;

/// What `replay.store` may be.
const STORES: &str = "\"memory\", \"file:FOLDER\", redis://HOST:PORT or postgres://USER@HOST/DATABASE";

const DAY: Duration = Duration::from_secs(86_400);

/// The hard cap on `proof.max_future`: what the barrier after a restart relies on.
const MOST_FUTURE: Duration = Duration::from_secs(60);

/// `proof.nonce_rotate_every` unless set.
const EVERY_TURN: Duration = Duration::from_secs(3600);

/// Nodes need time to look at the ring between two turns.
const LEAST_TURN: Duration = Duration::from_secs(60);

/// What is asked of a proof, and the ring of its nonces, which is no policy.
pub(super) fn proof(section: Section<'_>, base: &Path, root: &Located) -> Option<(ProofPolicy, NonceRingPlace)> {
    let preset = section.choice("preset", "a preset", |text| match text {
        "default" => Some(ChosenPreset::Default),
        "fapi" => Some(ChosenPreset::Fapi),
        "mcp" => Some(ChosenPreset::Mcp),
        _ => None,
    });
    let preset = preset.map_or(ChosenPreset::Default, |preset| preset.value);
    section.choose(preset);
    let most = |name: &str, most: Duration, shown: &str| {
        let span = section.duration(name)?;
        if span.value > most {
            section.mistake(name, &span.place, format!("is longer than {shown}, which is the most"));
        }
        Some(span.value)
    };
    let max_age = most("max_age", DAY, "24h");
    let max_future = most("max_future", MOST_FUTURE, "60s");
    let nonce = section.choice("nonce", "a nonce policy", NoncePolicy::named);
    let nonce_lifetime = most("nonce_lifetime", DAY, "24h");
    let ring = ring_place(&section, base, root, nonce_lifetime);
    let algorithms = section.algorithms("algorithms");
    section.finish();
    let policy = ProofPolicy {
        fapi: preset == ChosenPreset::Fapi,
        max_age: max_age?,
        max_future: max_future?,
        nonce: nonce?.value,
        nonce_lifetime: nonce_lifetime?,
        algorithms: algorithms?,
        iat_with_nonce: match preset {
            ChosenPreset::Default => IatWithNonce::WithinDay,
            ChosenPreset::Fapi | ChosenPreset::Mcp => IatWithNonce::InWindow,
        },
    };
    Some((policy, ring?))
}

/// The settings of a ring that somebody hands around.
const HANDED: [&str; 2] = ["nonce_keys", "nonce_ring"];

/// The settings of a ring that is kept where used proofs are.
const SEALING: [&str; 2] = ["nonce_sealing_key_file", "nonce_sealing_key"];

/// `None` if there is a mistake.
fn ring_place(
    section: &Section<'_>,
    base: &Path,
    root: &Located,
    lifetime: Option<Duration>,
) -> Option<NonceRingPlace> {
    let (shared, kept) = (shared_ring(section, base, root), kept_ring(section, base, root, lifetime));
    match [HANDED, SEALING].map(|names| names.iter().any(|name| section.has(name))) {
        [false, false] => Some(NonceRingPlace::Own),
        [true, false] => shared.map(NonceRingPlace::Shared),
        [_, true] => kept.map(NonceRingPlace::Kept),
    }
}

/// `None` if there is none, or there is a mistake.
fn shared_ring(section: &Section<'_>, base: &Path, root: &Located) -> Option<NonceRingAt> {
    let file = section.text(HANDED[0], |text| readable(base, text));
    let here = section.text(HANDED[1], NonceRing::parse);
    let (name, place) = match (&file, &here) {
        (Some(_), Some(here)) => {
            section.mistake(HANDED[1], &here.place, "is set besides proof.nonce_keys; leave one of them out");
            return None;
        }
        (Some(file), None) => (HANDED[0], file.place.clone()),
        (None, here) => (HANDED[1], here.as_ref()?.place.clone()),
    };
    if !goes_with_store(section, root, name, &place) {
        return None;
    }
    let Some(file) = file else {
        return here.map(|here| NonceRingAt { file: None, ring: here.value });
    };
    match nonce_ring::read(&file.value) {
        Ok(ring) => Some(NonceRingAt { file: Some(file.value), ring }),
        Err(why) => {
            section.mistake(name, &place, why);
            None
        }
    }
}

/// `None` if there is none, or there is a mistake.
fn kept_ring(section: &Section<'_>, base: &Path, root: &Located, lifetime: Option<Duration>) -> Option<KeptRing> {
    let every = section.duration("nonce_rotate_every");
    let file = section.text(SEALING[0], |text| signing_key::sealing(&readable(base, text)?));
    let here = section.text(SEALING[1], SealingKeys::parse);
    let (name, sealing) = match (file, here) {
        (Some(_), Some(here)) => {
            section.mistake(
                SEALING[1],
                &here.place,
                "is set besides proof.nonce_sealing_key_file; leave one of them out",
            );
            return None;
        }
        (Some(file), None) => (SEALING[0], file),
        (None, Some(here)) => (SEALING[1], here),
        (None, None) => {
            if let Some(every) = every.filter(|_| !SEALING.iter().any(|name| section.has(name))) {
                let message = "is for a ring that is kept in replay.store, and that needs proof.nonce_sealing_key_file; set \
                               that, or leave this out";
                section.mistake("nonce_rotate_every", &every.place, message);
            }
            return None;
        }
    };
    if let Some(other) = HANDED.into_iter().find(|name| section.has(name)) {
        let message =
            format!("is for a ring that is kept in replay.store, and proof.{other} is another; leave one of them out");
        section.mistake(name, &sealing.place, message);
        return None;
    }
    if !goes_with_store(section, root, name, &sealing.place) {
        return None;
    }
    // A key is known for a turn after its own, and its nonces are to live no longer.
    let least = lifetime?.saturating_mul(2).max(LEAST_TURN);
    let (rotate_every, place) =
        every.map_or_else(|| (EVERY_TURN, sealing.place.clone()), |every| (every.value, every.place));
    if rotate_every < least {
        let message = format!("is less than {} s: a minute, and twice proof.nonce_lifetime", least.as_secs());
        section.mistake("nonce_rotate_every", &place, message);
        return None;
    }
    Some(KeptRing { sealing: sealing.value, rotate_every })
}

/// Whether used proofs are where other processes see them too; a mistake if they are not.
fn goes_with_store(section: &Section<'_>, root: &Located, name: &str, place: &Place) -> bool {
    let store = child(root, "replay").and_then(|replay| child(replay, "store"));
    let own = match store.map(|store| &store.value) {
        None => Some("memory"),
        Some(Value::Text(text)) if text == "memory" => Some("memory"),
        Some(Value::Text(text)) if text.starts_with("file:") => Some("file:"),
        Some(_) => None,
    };
    if let Some(own) = own {
        let message = format!(
            "is set while replay.store is \"{own}\": processes that share nonces and not the memory of used proofs accept \
             each proof once each; leave {name} out"
        );
        section.mistake(name, place, message);
    }
    own.is_none()
}

pub(super) fn replay(section: Section<'_>, root: &Located, base: &Path) -> Option<Replay> {
    let store = store(&section, root, base);
    let memory = section.size("memory");
    let per_key = section.count("per_key");
    let when_unavailable = section.choice("when_unavailable", "a way out", |text| match text {
        "refuse" => Some(WhenUnavailable::Refuse),
        "nonce-only" => Some(WhenUnavailable::NonceOnly),
        _ => None,
    });
    let reserve = section.size("reserve");
    if let Some(when) = when_unavailable.as_ref().filter(|when| when.value == WhenUnavailable::NonceOnly) {
        let is = |name: &str, wanted: &str| {
            let written = child(root, "proof").and_then(|proof| child(proof, name));
            written.is_some_and(|written| matches!(&written.value, Value::Text(text) if text == wanted))
        };
        if is("preset", "fapi") {
            let message = "\"nonce-only\" does not go with proof.preset = \"fapi\"; use refuse";
            section.mistake("when_unavailable", &when.place, message);
        } else if is("nonce", "off") {
            let message =
                "\"nonce-only\" does not go with proof.nonce = \"off\", by which nonces are not looked at; use refuse";
            section.mistake("when_unavailable", &when.place, message);
        }
    }
    section.finish();
    Some(Replay {
        store: store?,
        memory: memory?.value,
        per_key: per_key?.value,
        when_unavailable: when_unavailable?.value,
        reserve: reserve?.value,
    })
}

fn store(section: &Section<'_>, root: &Located, base: &Path) -> Option<ReplayLocation> {
    let table = section.inside("replay.redis");
    let store = section.text("store", |text| {
        let (scheme, rest) = text.split_once(':').unwrap_or((text, ""));
        match scheme {
            "memory" if text == scheme => Ok(ReplayLocation::Memory),
            "file" if rest.starts_with("//") => Err(format!(
                "{:?} has slashes of a URL; write file: and the folder, like \"file:proofs\"",
                shortened(text)
            )),
            "file" => folder(base, rest).map(ReplayLocation::File),
            "postgres" | "postgresql" => {
                PostgresSettings::from_url(text).map(ReplayLocation::Postgres).map_err(|error| error.to_string())
            }
            _ if scheme.starts_with("redis") => {
                RedisSettings::from_url(text).map(ReplayLocation::Redis).map_err(|error| error.to_string())
            }
            _ => Err(format!("{:?} is not a store; use {STORES}", shortened(text))),
        }
    })?;
    let Read { value: location, place, written } = store;
    if table.is_there() && !matches!(location, ReplayLocation::Redis(_)) {
        table.mistake("", table.place(), "goes with a replay.store that is Redis");
    }
    let postgres_table = section.inside("replay.postgres");
    if postgres_table.is_there() && !matches!(location, ReplayLocation::Postgres(_)) {
        postgres_table.mistake("", postgres_table.place(), "goes with a replay.store that is PostgreSQL");
    }
    let location = match location {
        ReplayLocation::Redis(settings) => {
            redis(table, Read { value: settings, place: place.clone(), written }, base).map(ReplayLocation::Redis)?
        }
        ReplayLocation::Postgres(settings) => postgres(postgres_table, settings, base).map(ReplayLocation::Postgres)?,
        own => return Some(own),
    };
    if location.needs_nonces() {
        needs_nonces(section, &place, root);
    }
    Some(location)
}

/// It is made when it is not there; what it is in has to be.
fn folder(base: &Path, name: &str) -> Result<PathBuf, String> {
    let folder = base.join(not_empty(name).map_err(|_| "names no folder; write it like \"file:proofs\"".to_owned())?);
    let around = folder.parent().filter(|around| !around.as_os_str().is_empty()).unwrap_or_else(|| Path::new("."));
    if folder.exists() && !folder.is_dir() {
        return Err(format!("{:?} is there and is no folder", shortened(&folder.display().to_string())));
    }
    if !around.is_dir() {
        return Err(format!("there is no folder {:?} to make it in", shortened(&around.display().to_string())));
    }
    Ok(folder)
}

/// Where another server may take over, the nonce tells which one a proof is for.
fn needs_nonces(section: &Section<'_>, place: &Place, root: &Located) {
    let written = child(root, "proof").and_then(|proof| child(proof, "nonce"));
    if written.is_some_and(|written| matches!(&written.value, Value::Text(text) if text == "off" || text == "offer")) {
        let message = "may fail over from one server to another, and then every proof needs a nonce; leave proof.nonce out, or \
                       write require";
        section.mistake("store", place, message);
    }
}
