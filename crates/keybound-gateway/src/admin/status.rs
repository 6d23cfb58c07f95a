//! The state of the gateway as JSON: how it is configured, how it stands, and what it decided lately.

use core::time::Duration;
use std::collections::BTreeMap;
use std::time::{SystemTime, UNIX_EPOCH};

use keybound::time::UnixTime;
use keybound_tower::{KeySource, KeyState};
use serde_json::{Value, json};

use super::{Deciding, Shown, ready};
use crate::config::{Mode, ProofHandling, ProofPolicy, Route, UpstreamAuthorization, WhenUnavailable};
use crate::engine::Engine;
use crate::health::{Address, Standing};
use crate::observe::{Decision, Meter, Terms};

/// The cap on the future allowance: so long after its beginning nobody knows of a proof with an earlier `iat` whether it was
/// used before.
const BARRIER: Duration = Duration::from_secs(60);

/// Everything but the decisions.
pub(super) fn status(shown: &Shown) -> Value {
    let engine = shown.engine();
    let config = &engine.config;
    let missing = ready::missing(shown);
    let meters = engine.observe().meters();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "now": milliseconds(SystemTime::now()),
        "started": milliseconds(engine.observe().started()),
        "ready": missing.is_empty(),
        "draining": shown.is_draining(),
        "missing": missing,
        "degraded": ready::degraded(shown),
        "connections": { "open": shown.connections.open(), "most": shown.most_connections },
        "listen": config.listen.address.to_string(),
        "asked": shown.deciding.iter().map(asked).collect::<Vec<_>>(),
        "origins": config.origins.iter().map(|origin| origin.as_str()).collect::<Vec<_>>(),
        "routes": (0..config.routes.len()).map(|number| route(number, &engine)).collect::<Vec<_>>(),
        "issuers": engine.server.key_states().iter().map(|state| issuer(state, &engine)).collect::<Vec<_>>(),
        "proof": proof(&config.proof),
        "replay": replay(&engine),
        "refusals": refusals(meters.iter().flat_map(|meter| meter.refusals())),
        "reports": refusals(meters.iter().flat_map(|meter| meter.reports())),
        "log_level": shown.log_level.as_ref().map(super::LogLevel::get),
    })
}

/// Where other proxies ask.
fn asked(listener: &Deciding) -> Value {
    json!({
        "setting": format!("listen.{}", listener.setting),
        "address": listener.address.map(|address| address.to_string()),
        "open": listener.connections.open(),
    })
}

/// The latest decisions, newest first.
pub(super) fn decisions(shown: &Shown) -> Value {
    let engine = shown.engine();
    let meters = engine.observe().meters();
    let decisions = engine.observe().decisions();
    let rows = decisions.iter().map(|decision| row(decision, meters.get(decision.meter).map(|meter| &**meter)));
    json!({ "decisions": rows.collect::<Vec<_>>() })
}

fn row(decision: &Decision, meter: Option<&Meter>) -> Value {
    json!({
        "at": decision.at,
        "method": decision.method,
        "route": meter.map(Meter::route).filter(|route| !route.is_empty()),
        "mode": meter.map_or(Terms::None, Meter::terms).as_str(),
        "status": decision.status,
        "reason": decision.reason,
        "client": (!decision.client.is_empty()).then_some(&decision.client),
        "jkt": decision.jkt.map(|jkt| jkt.to_string()),
        "iat_offset": decision.iat_offset,
    })
}

fn route(number: usize, engine: &Engine) -> Value {
    let (route, meter): (&Route, &Meter) = (&engine.config.routes[number], &engine.meters[number]);
    let (requests, bound, bearer) = meter.totals();
    json!({
        "path": route.path.as_str(),
        "mode": mode(route.mode),
        "scope": route.scope,
        "audience": route.audience,
        "upstreams": engine.upstreams[number].iter().map(|address| upstream(address)).collect::<Vec<_>>(),
        "proof": match route.proof {
            ProofHandling::Consume => "consume",
            ProofHandling::Check => "check",
            ProofHandling::Attest => "attest",
        },
        "upstream_authorization": match route.upstream_authorization {
            UpstreamAuthorization::Strip => "strip",
            UpstreamAuthorization::Pass => "pass",
            UpstreamAuthorization::Bearer => "bearer",
        },
        "requests": requests,
        "bound": bound,
        "bearer": bearer,
        "refused": meter.refusals().map(|(_, count)| count).sum::<u64>(),
        "would_refuse": meter.reports().map(|(_, count)| count).sum::<u64>(),
    })
}

fn upstream(address: &Address) -> Value {
    json!({
        "url": address.url().to_string(),
        // null: nobody asks it.
        "healthy": address.path().map(|_| address.standing() == Standing::Healthy),
        "trouble": address.trouble(),
        "unreachable": address.figures().unreachable,
    })
}

fn mode(mode: Mode) -> &'static str {
    Terms::from(mode).as_str()
}

fn issuer(state: &KeyState, engine: &Engine) -> Value {
    let embedded = engine.issuer.as_ref().is_some_and(|issuer| issuer.identifier() == &*state.issuer);
    json!({
        "issuer": state.issuer,
        "keys": match state.source {
            _ if embedded => "embedded",
            KeySource::Discovered => "discovered",
            KeySource::Introspection => "introspection",
            _ => "file",
        },
        "usable": state.usable,
        "age": state.age.map(|age| age.as_secs()),
        "failures": state.failures,
        "trouble": state.trouble,
    })
}

fn proof(policy: &ProofPolicy) -> Value {
    json!({
        "max_age": policy.max_age.as_secs(),
        "max_future": policy.max_future.as_secs(),
        "nonce": policy.nonce.name(),
        "nonce_lifetime": policy.nonce_lifetime.as_secs(),
        "algorithms": policy.algorithms.iter().map(|alg| alg.name()).collect::<Vec<_>>(),
    })
}

fn replay(engine: &Engine) -> Value {
    let (replays, config) = (engine.replays(), &engine.config);
    let opened = replays.began();
    let (standing, nonce_only) = (replays.standing(), replays.nonce_only());
    let longest = config.proof.max_age.max(config.proof.nonce_lifetime);
    let now = UnixTime::from(SystemTime::now());
    json!({
        "store": standing.as_ref().map_or("memory", |standing| &standing.store),
        // null: it cannot be away.
        "there": standing.as_ref().map(|standing| standing.is_there),
        "unreachable": standing.as_ref().map(|standing| standing.unreachable),
        "entries": replays.entries(),
        "bytes": replays.bytes(),
        "limit": config.replay.memory,
        "no_room": replays.refused_for_room(),
        "per_key": config.replay.per_key,
        "when_unavailable": match config.replay.when_unavailable {
            WhenUnavailable::Refuse => "refuse",
            WhenUnavailable::NonceOnly => "nonce-only",
        },
        "nonce_only": nonce_only.map(|figures| json!({
            "now": figures.is_nonce_only,
            "entered": figures.entered,
            "admitted": figures.admitted,
            "no_room": figures.no_room,
        })),
        "epoch_opened": opened.as_secs(),
        // While it stands, proofs from before `barrier_until` need a nonce.
        "barrier": now <= opened.plus(BARRIER.saturating_add(longest)),
        "barrier_from": opened.plus(BARRIER).as_secs(),
        "barrier_until": opened.plus(BARRIER.saturating_add(longest)).as_secs(),
    })
}

/// Sums by reason, the greatest first.
fn refusals(counts: impl Iterator<Item = (&'static str, u64)>) -> Value {
    let mut sums = BTreeMap::<_, u64>::new();
    for (code, count) in counts {
        *sums.entry(code).or_default() += count;
    }
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_by_key(|(_, count)| core::cmp::Reverse(*count));
    sums.into_iter().map(|(code, count)| json!({"reason": code, "count": count})).collect()
}

fn milliseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
