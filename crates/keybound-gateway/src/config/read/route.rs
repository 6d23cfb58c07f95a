//! `[[route]]`

use core::cell::RefCell;
use core::fmt;
use core::str::FromStr;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use http::Method;

use super::{Texts, not_empty, scope_token, texts};
use crate::config::file::readable;
use crate::config::health::health;
use crate::config::mistake::meant;
use crate::config::section::{Read, Section, shortened};
use crate::config::tls::TlsClient;
use crate::config::{AmbiguousPaths, Mode, Prefix, ProofHandling, Route, UpstreamAuthorization, UpstreamUrl};

/// Those that were made for one file, which are one.
pub(super) type TlsClients = RefCell<HashMap<PathBuf, TlsClient>>;

/// What a route needs to know of the rest of the file.
#[derive(Debug, Default)]
pub(super) struct Around {
    pub(super) known: TlsClients,
    /// Whether there is a listener for decisions.
    pub(super) decides: bool,
    /// The names of all issuers, as they are written.
    pub(super) issuers: Vec<String>,
}

pub(super) fn route(section: Section<'_>, base: &Path, around: &Around) -> Option<Read<Route>> {
    let path = section.text("path", FromStr::from_str);
    let upstreams = upstreams(&section, base, &around.known, around.decides);
    let rewrite = rewrite(&section, path.as_ref());
    let mode = section.choice("mode", "a mode", |text| match text {
        "required" => Some(Mode::Required),
        "optional" => Some(Mode::Optional),
        "report" => Some(Mode::Report),
        "open" => Some(Mode::Open),
        _ => None,
    });
    let scope = section.texts("scope", scope_token);
    let audience = section.texts("audience", not_empty);
    let issuers = issuers(&section, &around.issuers);
    let methods = methods(&section);
    let proof = section.choice("proof", "a way to treat proofs", |text| match text {
        "consume" => Some(ProofHandling::Consume),
        "check" => Some(ProofHandling::Check),
        "attest" => Some(ProofHandling::Attest),
        _ => None,
    });
    let attested_for = attested_for(&section, proof.as_ref(), upstreams.as_deref());
    let authorization = section.choice("upstream_authorization", "a way to treat Authorization", |text| match text {
        "strip" => Some(UpstreamAuthorization::Strip),
        "pass" => Some(UpstreamAuthorization::Pass),
        "bearer" => Some(UpstreamAuthorization::Bearer),
        _ => None,
    });
    if let Some(mode) = &mode {
        let lists = [("scope", scope.as_ref()), ("audience", audience.as_ref()), ("issuer", issuers.as_ref())];
        without_effect(&section, mode.value, lists, proof.as_ref(), authorization.as_ref());
    }
    if let (Some(proof), Some(authorization)) = (&proof, &authorization)
        && proof.value == ProofHandling::Check
        && mode.as_ref().is_none_or(|mode| mode.value != Mode::Open)
        && authorization.value != UpstreamAuthorization::Pass
    {
        let message = "\"check\" leaves the proof to the upstream, which needs the token too: add upstream_authorization = \"pass\"";
        section.mistake("proof", &proof.place, message);
    }
    let ambiguous_paths = section.choice("ambiguous_paths", "a way to treat ambiguous paths", |text| match text {
        "refuse" => Some(AmbiguousPaths::Refuse),
        "allow" => Some(AmbiguousPaths::Allow),
        _ => None,
    });
    let table = section.inside("route.health");
    if table.is_there() && around.decides && !section.has("upstream") {
        table.mistake("", table.place(), "has nothing to ask: there is no upstream; leave it out");
    }
    let health = table.is_there().then(|| health(table));
    section.finish();
    let path = path?;
    let route = Route {
        path: path.value,
        upstreams: upstreams?,
        health: health.map_or(Some(None), |health| health.map(Some))?,
        rewrite: rewrite?,
        mode: mode?.value,
        scope: texts(scope?),
        audience: audience.map(texts).unwrap_or_default(),
        issuers: issuers.map(texts).unwrap_or_default(),
        methods: methods
            .map(|methods| methods.value.into_iter().map(|method| method.value).collect())
            .unwrap_or_default(),
        proof: proof?.value,
        attestation_audience: attested_for?,
        upstream_authorization: authorization?.value,
        ambiguous_paths: ambiguous_paths?.value,
    };
    Some(Read { value: route, place: path.place, written: true })
}

/// The URLs, the trust that goes with them, and what that says when there is nothing to trust. `decides`: there is a listener
/// for decisions, which needs none.
fn upstreams(section: &Section<'_>, base: &Path, known: &TlsClients, decides: bool) -> Option<Vec<UpstreamUrl>> {
    if decides && !section.has("upstream") && !section.has("upstream_ca") {
        section.excuse("upstream");
        section.excuse("upstream_ca");
        return Some(Vec::new());
    }
    let urls = section.texts("upstream", UpstreamUrl::from_str);
    if let Some(urls) = urls.as_ref().filter(|urls| urls.value.is_empty()) {
        section.mistake("upstream", &urls.place, "is empty; name at least one, like [\"http://127.0.0.1:9000\"]");
    }
    let ca = upstream_ca(section, base, known);
    let urls: Vec<UpstreamUrl> = urls?.value.into_iter().map(|url| url.value).collect();
    let Some(ca) = ca else { return Some(urls) };
    let trusting: Option<Vec<_>> = urls.into_iter().map(|url| url.trusting(&ca.value)).collect();
    if trusting.is_none() {
        section.mistake("upstream_ca", &ca.place, "goes with https and h2 upstreams alone; leave it out");
    }
    trusting
}

/// Whose certificates the upstreams of this route may show, if the file says.
fn upstream_ca(section: &Section<'_>, base: &Path, known: &TlsClients) -> Option<Read<TlsClient>> {
    section.text("upstream_ca", |text| {
        let file = readable(base, text)?;
        let mut known = known.borrow_mut();
        Ok::<_, String>(match known.get(&file) {
            Some(client) => client.clone(),
            None => known.entry(file.clone()).or_insert(TlsClient::of_file(&file)?).clone(),
        })
    })
}

/// What stands in place of the prefix when a request is sent on.
fn rewrite(section: &Section<'_>, path: Option<&Read<Prefix>>) -> Option<Option<Prefix>> {
    let strip = section.flag("strip_prefix");
    let instead = section.text("rewrite", Prefix::from_str);
    let strip = strip?;
    match instead {
        Some(instead) if strip.value => {
            section.mistake("rewrite", &instead.place, "does not go with strip_prefix; leave one of them out");
            None
        }
        Some(instead) => Some(Some(instead.value)),
        None if strip.value && path.is_some_and(|path| path.value.as_str() == "/") => {
            section.mistake("strip_prefix", &strip.place, "strips nothing: route.path is \"/\"; leave it out");
            None
        }
        None if strip.value => Some(Some(Prefix::root())),
        None => Some(None),
    }
}

/// Some of those whose tokens are accepted at all.
fn issuers(section: &Section<'_>, all: &[String]) -> Option<Texts> {
    let named = section.texts("issuer", |text| {
        if all.iter().any(|known| known == text) {
            return Ok(text.to_owned());
        }
        Err(match meant(text, all.iter().map(String::as_str)) {
            Some(guess) => format!("{:?} is no [[issuer]]; did you mean {guess:?}?", shortened(text)),
            None => format!("{:?} is no [[issuer]] of this file, nor its [authorization_server]", shortened(text)),
        })
    });
    listed(section, "issuer", named.as_ref(), "no token could be accepted");
    named
}

fn methods(section: &Section<'_>) -> Option<Read<Vec<Read<Method>>>> {
    let methods = section.texts("methods", |text| {
        let method = Method::from_bytes(text.as_bytes())
            .map_err(|_| format!("{:?} is not a method; write it like \"GET\"", shortened(text)))?;
        match &*text.to_ascii_uppercase() {
            "CONNECT" | "TRACE" => Err(format!("{text:?} is never let through; leave it out")),
            upper @ ("GET" | "HEAD" | "POST" | "PUT" | "PATCH" | "DELETE" | "OPTIONS") if upper != text => {
                Err(format!("{text:?} is another method than {upper:?}: letter case counts"))
            }
            _ => Ok(method),
        }
    });
    listed(section, "methods", methods.as_ref(), "no request could be served");
    methods
}

/// A list that is written has something in it, and nothing twice.
fn listed<T: PartialEq + fmt::Debug>(section: &Section<'_>, name: &str, list: Option<&Read<Vec<Read<T>>>>, why: &str) {
    let Some(list) = list else { return };
    if list.value.is_empty() {
        section.mistake(name, &list.place, format!("is empty: {why}; leave it out for all"));
    }
    for (position, item) in list.value.iter().enumerate() {
        if list.value.iter().take(position).any(|earlier| earlier.value == item.value) {
            section.mistake(name, &item.place, format!("{:?} stands there already", item.value));
        }
    }
}

/// Whom statements about proofs are for; nobody, where there are none.
fn attested_for(
    section: &Section<'_>,
    proof: Option<&Read<ProofHandling>>,
    upstreams: Option<&[UpstreamUrl]>,
) -> Option<Vec<String>> {
    let written = section.texts("attestation_audience", not_empty);
    let attests = proof.filter(|proof| proof.value == ProofHandling::Attest);
    let Some(attests) = attests else {
        if let Some(written) = written.filter(|_| proof.is_some()) {
            let message = "goes with proof = \"attest\" alone; leave it out";
            section.mistake("attestation_audience", &written.place, message);
        }
        return Some(Vec::new());
    };
    let Some(written) = written else {
        let mut names: Vec<String> = upstreams?.iter().map(UpstreamUrl::origin).collect();
        if names.is_empty() {
            let message =
                "\"attest\" makes statements for the upstream, and there is none; add attestation_audience = [\"..\"]";
            section.mistake("proof", &attests.place, message);
        }
        names.sort();
        names.dedup();
        return Some(names);
    };
    if written.value.is_empty() {
        section.mistake("attestation_audience", &written.place, "is empty; name whoever is to check the statements");
    }
    Some(texts(written))
}

/// What is written and does not hold in this mode: nobody is to believe that it does.
fn without_effect(
    section: &Section<'_>,
    mode: Mode,
    lists: [(&str, Option<&Texts>); 3],
    proof: Option<&Read<ProofHandling>>,
    authorization: Option<&Read<UpstreamAuthorization>>,
) {
    let why = match mode {
        Mode::Open => "is not enforced: mode = \"open\" checks nothing; leave it out, or use another mode",
        Mode::Report => "does not hold: mode = \"report\" changes nothing, and passes token and proof on; leave it out",
        Mode::Required | Mode::Optional => return,
    };
    for (name, list) in lists {
        if let Some(list) = list.filter(|list| mode == Mode::Open && !list.value.is_empty()) {
            section.mistake(name, &list.place, why);
        }
    }
    // In `report`, `required` would refuse other requests under the one than under the other.
    if let Some(proof) = proof
        && proof.written
        && (mode == Mode::Open || !matches!(proof.value, ProofHandling::Consume | ProofHandling::Check))
    {
        section.mistake("proof", &proof.place, why);
    }
    // That an upstream gets token and proof as they came is what these modes do.
    if let Some(authorization) = authorization
        && authorization.written
        && authorization.value != UpstreamAuthorization::Pass
    {
        section.mistake("upstream_authorization", &authorization.place, why);
    }
}
