//! From the tree of values to a [`Config`]: one function for each table. Rules that bind several settings are in `check`.

use core::cell::RefCell;
use core::net::SocketAddr;
use core::num::NonZero;
use core::str::FromStr;
use core::time::Duration;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use keybound::crypto::AlgSet;
use keybound_issuer::GrantType;

use super::check::{self, Written};
use super::file::{KeyFile, readable};
use super::introspection::introspection;
use super::mistake::Mistakes;
use super::section::{ChosenPreset, Read, Section, child, shortened};
use super::source::{Located, Value, unknown};
use super::tls::TlsClient;
use super::{
    AdminSecret, AmbiguousPaths, AuthorizationServer, Client, ClientAuthentication, Config, IatWithNonce, Issuer,
    KeySource, Limits, Listen, Log, LogFormat, LoggedDecisions, Mode, NoncePolicy, Prefix, ProofHandling, ProofPolicy,
    Reader, Replay, Route, Tls, UpstreamAuthorization, UpstreamUrl, WhenUnavailable, keys, tls,
};
use crate::signing_key;

const DAY: Duration = Duration::from_secs(86_400);

/// The hard cap on `proof.max_future`: what the barrier after a restart relies on.
const MOST_FUTURE: Duration = Duration::from_secs(60);

/// `None` if anything is wrong; then there is a mistake that says what.
pub(crate) fn config(root: &Located, base: &Path, reader: Reader, mistakes: &Mistakes) -> Option<Config> {
    unknown_tables(root, mistakes);
    let listen = listen(Section::single(root, "listen", mistakes), base);
    let origins = each(root, "origin", mistakes, |section| {
        let url = section.text("url", FromStr::from_str);
        section.finish();
        url
    });
    let issuers = each(root, "issuer", mistakes, |section| issuer(section, base));
    let trusted = TlsClients::default();
    let routes = each(root, "route", mistakes, |section| route(section, base, &trusted));
    let (proof, preset) = proof(Section::single(root, "proof", mistakes), base, root);
    let replay = replay(Section::single(root, "replay", mistakes), preset);
    let limits = limits(Section::single(root, "limits", mistakes));
    let log = log(Section::single(root, "log", mistakes));
    let section = Section::single(root, "authorization_server", mistakes);
    let server = section.is_there().then(|| authorization_server(section, root, base, mistakes));
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
    let mut routes = plain(routes)?;
    routes.sort_by_key(|route| core::cmp::Reverse(route.path.as_str().len()));
    Some(Config {
        listen: listen?.value,
        origins: plain(origins)?,
        issuers: plain(issuers)?,
        routes,
        proof: proof?,
        replay: replay?,
        limits: limits?,
        log: log?,
        authorization_server: server.map_or(Some(None), |server| server.map(|server| Some(server.value)))?,
    })
}

/// The limits where nothing is written.
pub(crate) fn default_limits() -> Limits {
    let nothing = Located { place: super::Place::Missing, value: Value::Table(std::collections::BTreeMap::new()) };
    limits(Section::single(&nothing, "limits", &Mistakes::default())).expect("defaults are right: a test reads each")
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

fn unknown_tables(root: &Located, mistakes: &Mistakes) {
    let Value::Table(entries) = &root.value else { return };
    for (name, entry) in entries {
        if !keys::names_in("").any(|known| known == name) {
            let guess = super::mistake::meant(name, keys::names_in(""));
            mistakes.add(&entry.key, &shortened(name), unknown("is not a table of the configuration", guess));
        }
    }
}

fn listen(section: Section<'_>, base: &Path) -> Option<Read<Listen>> {
    let address = section.text("address", socket_address);
    let mut admin = section.text("admin", socket_address);
    let secret = admin_secret(&section, base);
    if let Some(admin) = admin.as_ref().filter(|admin| !admin.value.ip().is_loopback())
        && matches!(secret, Some(None))
    {
        let message =
            "is off loopback, where anybody could read the console; set listen.admin_secret_file too, or use 127.0.0.1";
        section.mistake("admin", &admin.place, message);
    }
    let trusted_peers = section.texts("trusted_peers", FromStr::from_str);
    let proxy_protocol_peers = section.texts("proxy_protocol_peers", FromStr::from_str);
    let workers = section.count::<usize>("workers");
    let tls = section.inside("listen.tls");
    let tls = if tls.is_there() { tls_files(tls, base).map(Some) } else { Some(None) };
    section.not_yet(&["decisions", "decision_peers", "ext_authz"]);
    if let (Some(address), Some(admin)) = (&address, &mut admin)
        && address.value == admin.value
        && address.value.port() != 0
    {
        if admin.written {
            section.mistake("admin", &admin.place, format!("is {}, which listen.address is too", admin.value));
        }
        admin.value.set_port(0);
    }
    section.finish();
    let (address, admin) = (address?, admin?);
    let listen = Listen {
        address: address.value,
        admin: admin.value,
        admin_is_chosen: admin.written,
        admin_secret: secret?,
        trusted_peers: trusted_peers?.value.into_iter().map(|network| network.value).collect(),
        proxy_protocol_peers: proxy_protocol_peers?.value.into_iter().map(|network| network.value).collect(),
        tls: tls?,
        workers: NonZero::new(workers?.value),
    };
    Some(Read { value: listen, place: address.place, written: address.written })
}

/// Read and checked at once, so that a wrong file is a mistake of the configuration.
fn tls_files(section: Section<'_>, base: &Path) -> Option<Tls> {
    let certificate = section.text("certificate", |text| readable(base, text));
    let key = section.text("key", |text| readable(base, text));
    let noted = |name, place, fault: String| section.mistake(name, place, fault);
    let chain = certificate
        .as_ref()
        .and_then(|file| tls::chain(&file.value).map_err(|fault| noted("certificate", &file.place, fault)).ok());
    let own = key
        .as_ref()
        .and_then(|file| tls::private_key(&file.value).map_err(|fault| noted("key", &file.place, fault)).ok());
    let certified = chain.zip(own).zip(key.as_ref()).and_then(|((chain, own), file)| {
        tls::certified(chain, &own).map_err(|fault| noted("key", &file.place, fault)).ok()
    });
    section.finish();
    Some(Tls { certificate: certificate?.value, key: key?.value, certified: certified? })
}

/// `None` if it is written and cannot be had.
fn admin_secret(section: &Section<'_>, base: &Path) -> Option<Option<AdminSecret>> {
    const NAMES: [&str; 2] = ["admin_secret", "admin_secret_file"];
    let [written, in_file] = NAMES.map(|name| section.has(name));
    let here = section.text(NAMES[0], AdminSecret::parse);
    let file = section.text(NAMES[1], |text| {
        let read = readable(base, text).and_then(|path| AdminSecret::read(&path));
        read.map_err(|fault| if fault.starts_with('"') { fault } else { format!("{:?}: {fault}", shortened(text)) })
    });
    match (here, file) {
        (Some(_), Some(file)) => {
            section.mistake(NAMES[1], &file.place, "is set besides listen.admin_secret; leave one of them out");
            None
        }
        (None, None) if written || in_file => None,
        (here, file) => Some(here.or(file).map(|secret| secret.value)),
    }
}

fn log(section: Section<'_>) -> Option<Log> {
    let format = section.choice("format", "a form of the log", |text| match text {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    let decisions = section.choice("decisions", "a choice of decisions", |text| match text {
        "refused" => Some(LoggedDecisions::Refused),
        "all" => Some(LoggedDecisions::All),
        _ => None,
    });
    section.finish();
    Some(Log { format: format?.value, decisions: decisions?.value })
}

fn issuer(section: Section<'_>, base: &Path) -> Option<Read<Issuer>> {
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

/// Those that were made for one file, which are one.
type TlsClients = RefCell<HashMap<PathBuf, TlsClient>>;

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

/// The URLs, the trust that goes with them, and what that says when there is nothing to trust.
fn upstreams(section: &Section<'_>, base: &Path, known: &TlsClients) -> Option<Vec<UpstreamUrl>> {
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

fn route(section: Section<'_>, base: &Path, known: &TlsClients) -> Option<Read<Route>> {
    let path = section.text("path", FromStr::from_str);
    let upstreams = upstreams(&section, base, known);
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
    let proof = proof_handling(&section);
    let authorization = section.choice("upstream_authorization", "a way to treat Authorization", |text| match text {
        "strip" => Some(UpstreamAuthorization::Strip),
        "pass" => Some(UpstreamAuthorization::Pass),
        "bearer" => Some(UpstreamAuthorization::Bearer),
        _ => None,
    });
    if let Some(mode) = &mode {
        without_effect(&section, mode.value, (&scope, &audience), proof.as_ref(), authorization.as_ref());
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
    section.finish();
    let path = path?;
    let route = Route {
        path: path.value,
        upstreams: upstreams?,
        rewrite: rewrite?,
        mode: mode?.value,
        scope: texts(scope?),
        audience: audience.map(texts).unwrap_or_default(),
        proof: proof?.value,
        upstream_authorization: authorization?.value,
        ambiguous_paths: ambiguous_paths?.value,
    };
    Some(Read { value: route, place: path.place, written: true })
}

/// What is written and does not hold in this mode: nobody is to believe that it does.
fn without_effect(
    section: &Section<'_>,
    mode: Mode,
    (scope, audience): (&Option<Read<Vec<Read<String>>>>, &Option<Read<Vec<Read<String>>>>),
    proof: Option<&Read<ProofHandling>>,
    authorization: Option<&Read<UpstreamAuthorization>>,
) {
    let why = match mode {
        Mode::Open => "is not enforced: mode = \"open\" checks nothing; leave it out, or use another mode",
        Mode::Report => "does not hold: mode = \"report\" changes nothing, and passes token and proof on; leave it out",
        Mode::Required | Mode::Optional => return,
    };
    for (name, list) in [("scope", scope), ("audience", audience)] {
        if let Some(list) = list.as_ref().filter(|list| mode == Mode::Open && !list.value.is_empty()) {
            section.mistake(name, &list.place, why);
        }
    }
    // That an upstream gets token and proof as they came is what these modes do.
    if let Some(proof) = proof
        && proof.written
        && (mode == Mode::Open || proof.value != ProofHandling::Check)
    {
        section.mistake("proof", &proof.place, why);
    }
    if let Some(authorization) = authorization
        && authorization.written
        && authorization.value != UpstreamAuthorization::Pass
    {
        section.mistake("upstream_authorization", &authorization.place, why);
    }
}

fn proof_handling(section: &Section<'_>) -> Option<Read<ProofHandling>> {
    let proof = section.choice("proof", "a way to treat proofs", |text| match text {
        "consume" => Some(Some(ProofHandling::Consume)),
        "check" => Some(Some(ProofHandling::Check)),
        "attest" => Some(None),
        _ => None,
    })?;
    let Some(value) = proof.value else {
        section.mistake("proof", &proof.place, "\"attest\" is not in this version; use consume or check");
        return None;
    };
    Some(Read { value, place: proof.place, written: proof.written })
}

fn proof(section: Section<'_>, base: &Path, root: &Located) -> (Option<ProofPolicy>, ChosenPreset) {
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
    let nonce = section.choice("nonce", "a nonce policy", |text| match text {
        "off" => Some(NoncePolicy::Off),
        "offer" => Some(NoncePolicy::Offer),
        "require" => Some(NoncePolicy::Require),
        _ => None,
    });
    let nonce_lifetime = most("nonce_lifetime", DAY, "24h");
    let ring = section.text("nonce_keys", |text| readable(base, text));
    let memory = child(root, "replay").and_then(|replay| child(replay, "store"));
    if let Some(ring) = ring
        && memory.is_none_or(|store| matches!(&store.value, Value::Text(text) if text == "memory"))
    {
        let message = "is set while replay.store is \"memory\": processes that share nonces and not the memory of used proofs \
                       accept each proof once each; leave nonce_keys out";
        section.mistake("nonce_keys", &ring.place, message);
    }
    let algorithms = section.algorithms("algorithms");
    section.finish();
    let policy = || {
        Some(ProofPolicy {
            max_age: max_age?,
            max_future: max_future?,
            nonce: nonce?.value,
            nonce_lifetime: nonce_lifetime?,
            algorithms: algorithms?,
            iat_with_nonce: match preset {
                ChosenPreset::Default => IatWithNonce::WithinDay,
                ChosenPreset::Fapi | ChosenPreset::Mcp => IatWithNonce::InWindow,
            },
        })
    };
    (policy(), preset)
}

fn replay(section: Section<'_>, preset: ChosenPreset) -> Option<Replay> {
    let store = section.text("store", |text| {
        let scheme = text.split_once(':').map_or(text, |(scheme, _)| scheme);
        match scheme {
            "memory" if text == scheme => Ok(()),
            "redis" | "rediss" | "postgres" | "sqlite" => {
                Err(format!("{scheme} is not in this version; use \"memory\", in one process"))
            }
            _ => Err(format!("{:?} is not a store; use \"memory\"", shortened(text))),
        }
    });
    let memory = section.size("memory");
    let per_key = section.count("per_key");
    let when_unavailable = section.choice("when_unavailable", "a way out", |text| match text {
        "refuse" => Some(WhenUnavailable::Refuse),
        "nonce-only" => Some(WhenUnavailable::NonceOnly),
        _ => None,
    });
    if let Some(when) = when_unavailable.as_ref().filter(|when| when.value == WhenUnavailable::NonceOnly)
        && preset == ChosenPreset::Fapi
    {
        section.mistake(
            "when_unavailable",
            &when.place,
            "\"nonce-only\" does not go with proof.preset = \"fapi\"; use refuse",
        );
    }
    section.finish();
    store?;
    Some(Replay { memory: memory?.value, per_key: per_key?.value, when_unavailable: when_unavailable?.value })
}

fn limits(section: Section<'_>) -> Option<Limits> {
    let connections = section.count("connections");
    let streams = section.count("streams");
    let header_bytes = bounded_size(&section, "header_bytes", 4 << 10, 1 << 20, "4KiB to 1MiB");
    let header_fields = section.count("header_fields");
    let body_bytes = section.size("body_bytes");
    let upstream_idle = section.count("upstream_idle");
    let time = |name| section.duration(name).map(|span| span.value);
    let header_timeout = time("header_timeout");
    let handshake_timeout = time("handshake_timeout");
    let idle_timeout = time("idle_timeout");
    let client_timeout = time("client_timeout");
    let request_timeout = time("request_timeout");
    let connect_timeout = time("connect_timeout");
    let response_timeout = time("response_timeout");
    let stream_timeout = time("stream_timeout");
    let tunnel_timeout = time("tunnel_timeout");
    let upstream_idle_timeout = time("upstream_idle_timeout");
    let drain_timeout = time("drain_timeout");
    section.finish();
    Some(Limits {
        connections: connections?.value,
        streams: streams?.value,
        header_bytes: header_bytes?,
        header_fields: header_fields?.value,
        body_bytes: body_bytes?.value,
        header_timeout: header_timeout?,
        handshake_timeout: handshake_timeout?,
        idle_timeout: idle_timeout?,
        client_timeout: client_timeout?,
        request_timeout: request_timeout?,
        connect_timeout: connect_timeout?,
        response_timeout: response_timeout?,
        stream_timeout: stream_timeout?,
        tunnel_timeout: tunnel_timeout?,
        upstream_idle: upstream_idle?.value,
        upstream_idle_timeout: upstream_idle_timeout?,
        drain_timeout: drain_timeout?,
    })
}

fn bounded_size(section: &Section<'_>, name: &str, least: u64, most: u64, shown: &str) -> Option<usize> {
    let size = section.size(name)?;
    if !(least..=most).contains(&size.value) {
        section.mistake(name, &size.place, format!("is out of range; use {shown}"));
        return None;
    }
    usize::try_from(size.value).ok()
}

fn authorization_server(
    section: Section<'_>,
    root: &Located,
    base: &Path,
    mistakes: &Mistakes,
) -> Option<Read<AuthorizationServer>> {
    let url = section.text("url", FromStr::from_str);
    let audience = section.texts("audience", resource);
    let store = section.text("store", |text| match text.split_once(':').map_or(text, |(scheme, _)| scheme) {
        "memory" if text == "memory" => Ok(()),
        scheme @ ("sqlite" | "postgres") => Err(format!("{scheme} is not in this version; use \"memory\"")),
        _ => Err(format!("{:?} is not a store; use \"memory\"", shortened(text))),
    });
    let signing_key = section.text("signing_key", |text| {
        let path = base.join(not_empty(text)?);
        signing_key::judge(&path).map(|()| path)
    });
    section.not_yet(&["auto_approve"]);
    let tables = Section::repeated(child(root, "authorization_server"), "authorization_server.client", mistakes);
    let clients: Vec<_> = tables.into_iter().map(|table| client(table, base)).collect();
    check::twice(&clients, "authorization_server.client", "client_id", |client| &client.id, mistakes);
    section.finish();
    store?;
    let url = url?;
    let server = AuthorizationServer {
        url: url.value,
        audience: audience.map(texts).unwrap_or_default(),
        signing_key: signing_key.map(|file| file.value),
        clients: plain(clients)?,
    };
    Some(Read { value: server, place: url.place, written: true })
}

fn client(section: Section<'_>, base: &Path) -> Option<Read<Client>> {
    let id = section.text("client_id", client_id);
    let secret = section.text("client_secret", |text| match text.len() {
        16.. => Ok(text.to_owned()),
        _ => Err("is shorter than 16 characters, and could be guessed".to_owned()),
    });
    let file = section.text("jwks_file", |text| KeyFile::read(base, text, AlgSet::ALL)).map(|file| file.value);
    let grant_types = section.texts("grant_types", grant_type);
    let method = section.choice("token_endpoint_auth_method", "a way to authenticate", |text| Some(text.to_owned()));
    let authentication = method.and_then(|method| {
        let unfit = |why| {
            section.mistake("token_endpoint_auth_method", &method.place, format!("{:?} {why}", method.value));
            None
        };
        let is_of_machines = |grants: &Read<Vec<Read<GrantType>>>| {
            grants.value.iter().any(|grant| grant.value == GrantType::ClientCredentials)
        };
        match &*method.value {
            "client_secret_basic" | "client_secret_post" if !section.has("client_secret") => {
                unfit("needs a client_secret")
            }
            "client_secret_basic" => Some(ClientAuthentication::SecretBasic),
            "client_secret_post" => Some(ClientAuthentication::SecretPost),
            "private_key_jwt" if !section.has("jwks_file") => unfit("needs a jwks_file"),
            "private_key_jwt" => file.map(ClientAuthentication::PrivateKeyJwt),
            _ if grant_types.as_ref().is_some_and(is_of_machines) => {
                unfit("does not go with client_credentials, which is for clients that authenticate")
            }
            _ => Some(ClientAuthentication::None),
        }
    });
    section.not_yet(&["redirect_uris"]);
    let scope = section.texts("scope", scope_token);
    let bound = section.flag("dpop_bound_access_tokens");
    section.finish();
    let id = id?;
    let client = Client {
        id: id.value,
        secret: secret.map(|secret| secret.value),
        authentication: authentication?,
        grant_types: grant_types?.value.into_iter().map(|grant| grant.value).collect(),
        scope: texts(scope?),
        dpop_bound_access_tokens: bound?.value,
    };
    Some(Read { value: client, place: id.place, written: true })
}

fn texts(read: Read<Vec<Read<String>>>) -> Vec<String> {
    read.value.into_iter().map(|text| text.value).collect()
}

fn socket_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("{:?} is not an IP address and port, like \"127.0.0.1:8080\"", shortened(text)))
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

fn grant_type(text: &str) -> Result<GrantType, String> {
    const NOT_YET: [&str; 3] =
        ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:token-exchange"];
    let known = || GrantType::ALL.iter().map(|grant| grant.as_str()).collect::<Vec<_>>().join(", ");
    text.parse().map_err(|_| match text {
        _ if NOT_YET.contains(&text) => format!("{text:?} is not in this version; use {}", known()),
        _ => format!("{:?} is not a grant type; use {}", shortened(text), known()),
    })
}

/// RFC 6749 appendix A.1; a blank at either end is a slip of the pen.
fn client_id(text: &str) -> Result<String, String> {
    match not_empty(text)? {
        id if id.trim() == id && id.bytes().all(|octet| matches!(octet, b' '..=b'~')) => Ok(id),
        id => Err(format!("{:?} has a character that is not printable ASCII, or a blank at an end", shortened(&id))),
    }
}

/// RFC 8707 section 2.
fn resource(text: &str) -> Result<String, String> {
    let is_scheme = |text: &str| {
        text.starts_with(|first: char| first.is_ascii_alphabetic())
            && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
    };
    let absolute = text.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    if absolute && !text.contains('#') && text.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(text.to_owned())
    } else {
        Err(format!("{:?} is not an absolute URI without fragment, like \"https://api.example.com\"", shortened(text)))
    }
}
