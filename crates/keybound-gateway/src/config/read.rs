//! From the tree of values to a [`Config`]: one function for each table. Rules that bind several settings are in `check`.

use core::str::FromStr;
use std::path::Path;

use super::check::{self, Written};
use super::mistake::Mistakes;
use super::section::{Read, Section, child, shortened};
use super::source::{Located, Value, unknown};
use super::telemetry::telemetry;
use super::{Config, NoncePolicy, Reader, keys};

mod attestation;
mod decisions;
mod issuer;
mod limits;
mod listen;
mod nonces;
mod proof;
mod route;
mod server;

use self::attestation::attestation;
use self::decisions::decisions;
use self::issuer::issuer;
pub(crate) use self::limits::default_limits;
use self::limits::{limits, log};
use self::listen::listen;
use self::nonces::NonceRules;
use self::proof::{proof, replay};
use self::route::{Around, route};
use self::server::authorization_server;

/// `None` if anything is wrong; then there is a mistake that says what.
pub(crate) fn config(root: &Located, base: &Path, reader: Reader, mistakes: &Mistakes) -> Option<Config> {
    unknown_tables(root, mistakes);
    let mut listen = listen(Section::single(root, "listen", mistakes), base);
    if let (Reader::Issuer, Some(listen)) = (reader, &mut listen) {
        // It answers no questions of proxies, and keeps nothing back for who would ask them.
        (listen.value.decisions, listen.value.ext_authz) = (None, None);
    }
    let origins = each(root, "origin", mistakes, |section| {
        let url = section.text("url", FromStr::from_str);
        section.finish();
        url
    });
    let issuers = each(root, "issuer", mistakes, |section| issuer(section, base));
    let decides = child(root, "listen")
        .is_some_and(|listen| ["decisions", "ext_authz"].into_iter().any(|name| child(listen, name).is_some()));
    let around = Around { decides, issuers: issuers_as_written(root), ..Around::default() };
    let routes = each(root, "route", mistakes, |section| route(section, base, &around));
    let decisions = decisions(Section::single(root, "decisions", mistakes));
    let attestation = attestation(Section::single(root, "attestation", mistakes), base);
    let mut proof = proof(Section::single(root, "proof", mistakes), base, root);
    let replay = replay(Section::single(root, "replay", mistakes), root, base);
    if let (Some((proof, _)), Some(replay)) = (&mut proof, &replay)
        && replay.store.needs_nonces()
    {
        proof.nonce = NoncePolicy::Require;
    }
    let limits = limits(Section::single(root, "limits", mistakes));
    let log = log(Section::single(root, "log", mistakes));
    let section = Section::single(root, "telemetry", mistakes);
    let telemetry = section.is_there().then(|| telemetry(section));
    let section = Section::single(root, "authorization_server", mistakes);
    let rules = NonceRules::of(proof.as_ref().map(|(proof, _)| proof), replay.as_ref());
    let server = section.is_there().then(|| authorization_server(section, root, base, rules, mistakes));
    check::whole(
        &Written {
            reader,
            listen: listen.as_ref(),
            origins: &origins,
            issuers: &issuers,
            routes: &routes,
            server: server.as_ref().and_then(Option::as_ref),
            has_server: server.is_some(),
        },
        mistakes,
    );
    let (proof, nonce_ring) = proof?;
    let mut routes = plain(routes)?;
    routes.sort_by_key(|route| core::cmp::Reverse(route.path.as_str().len()));
    Some(Config {
        listen: listen?.value,
        origins: plain(origins)?,
        issuers: plain(issuers)?,
        routes,
        decisions: decisions?,
        attestation: attestation?,
        proof,
        nonce_ring,
        replay: replay?,
        limits: limits?,
        log: log?,
        telemetry: telemetry.map_or(Some(None), |telemetry| telemetry.map(Some))?,
        authorization_server: server.map_or(Some(None), |server| server.map(|server| Some(server.value)))?,
    })
}

fn each<T>(
    root: &Located,
    path: &'static str,
    mistakes: &Mistakes,
    read: impl Fn(Section<'_>) -> Option<T>,
) -> Vec<Option<T>> {
    Section::repeated(Some(root), path, mistakes).into_iter().map(read).collect()
}

/// The values alone; `None` if one of them could not be read.
fn plain<T>(read: Vec<Option<Read<T>>>) -> Option<Vec<T>> {
    read.into_iter().map(|read| read.map(|read| read.value)).collect()
}

/// The names of all issuers, whatever is wrong with them.
fn issuers_as_written(root: &Located) -> Vec<String> {
    let tables = match child(root, "issuer").map(|issuers| &issuers.value) {
        Some(Value::List(tables)) => tables.as_slice(),
        _ => &[],
    };
    let named = tables.iter().chain(child(root, "authorization_server")).filter_map(|table| child(table, "url"));
    let texts = named.filter_map(|url| if let Value::Text(text) = &url.value { Some(text.clone()) } else { None });
    texts.collect()
}

fn unknown_tables(root: &Located, mistakes: &Mistakes) {
    let Value::Table(entries) = &root.value else { return };
    for (name, entry) in entries {
        if !keys::names_in("").any(|known| known == name) {
            let guess = super::mistake::meant(name, keys::names_in(""));
            mistakes.add(&entry.key, &shortened(name), unknown("is not a table of the configuration", guess));
        }
    }
}

/// A list of texts, each with its place.
type Texts = Read<Vec<Read<String>>>;

fn texts(read: Texts) -> Vec<String> {
    read.value.into_iter().map(|text| text.value).collect()
}

pub(super) fn not_empty(text: &str) -> Result<String, String> {
    if text.is_empty() { Err("is empty".to_owned()) } else { Ok(text.to_owned()) }
}

/// RFC 6749 section 3.3.
fn scope_token(text: &str) -> Result<String, String> {
    let fine = !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e));
    if fine {
        Ok(text.to_owned())
    } else {
        Err(format!(
            "{:?} is not one scope; write each as an item of the list, without spaces or quotes",
            shortened(text)
        ))
    }
}
