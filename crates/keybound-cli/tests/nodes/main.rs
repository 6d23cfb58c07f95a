//! Several gateways, the Redis or PostgreSQL servers they share, and faults at random instants: whatever is killed, stopped, cut off or moved,
//! no proof is admitted twice, and clients are served again soon after.
//!
//! The upstream counts what was admitted, for a gateway may be killed between admitting and answering. A run says its seed;
//! `KEYBOUND_NODES_SEED` repeats the choices of one, `KEYBOUND_NODES_SECONDS` says how long each test runs (40 s by default), and
//! a test is `cargo test -p keybound-cli --test nodes -- --ignored`.

mod callers;
mod chance;
mod client;
mod faults;
mod gateways;
mod ledger;
mod postgres;
mod servers;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callers::Callers;
use chance::Chance;
use gateways::{Gateways, WhenUnavailable};
use ledger::Ledger;
use servers::{Alone, Servers};

/// How many gateways there are, and how many clients call them at once.
const GATEWAYS: usize = 3;
const CLIENTS: usize = 6;

/// Within so long after the last fault is mended, every gateway serves every client: a failover and one retry.
const RECOVERY: Duration = Duration::from_secs(12);

fn run(name: &str, mut servers: impl Servers, when_unavailable: WhenUnavailable) {
    let seconds = std::env::var("KEYBOUND_NODES_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(40);
    let seed = std::env::var("KEYBOUND_NODES_SEED").ok().and_then(|text| text.parse().ok());
    let mut chance = Chance::of(seed.unwrap_or_else(Chance::seed));
    println!("{name}: {seconds} s, KEYBOUND_NODES_SEED={}", chance.begun_with());

    let ledger = Ledger::default();
    let gateways = Gateways::start(GATEWAYS, (&servers.url(), servers.settings()), when_unavailable, &ledger);
    let callers = Callers::new(&gateways, &ledger);
    let over = AtomicBool::new(false);
    let longest = thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (callers, over, chance) = (&callers, &over, chance.another());
            scope.spawn(move || callers.call(number, chance, over));
        }
        let end = Instant::now() + Duration::from_secs(seconds);
        let mut longest = Duration::ZERO;
        while Instant::now() < end && ledger.twice().is_empty() {
            faults::one(&mut servers, &gateways, &mut chance, &ledger);
            if chance.once_in(2) || Instant::now() >= end {
                faults::over(&mut servers, &gateways, &ledger);
                longest = longest.max(callers.recovery(RECOVERY));
            }
        }
        over.store(true, Ordering::Release);
        longest
    });
    callers.replay_all();
    let twice = ledger.twice();
    println!("{name}: {}; served again within {longest:.1?} of the last fault", ledger.summary());
    assert!(twice.is_empty(), "admitted twice: {twice:#?}\n{}", ledger.story());
    assert!(ledger.admitted() > 100, "hardly anything was admitted: {}\n{}", ledger.summary(), ledger.story());
    assert!(longest < RECOVERY, "not served again within {RECOVERY:?}\n{}", ledger.story());
}

#[test]
#[ignore = "needs redis-server"]
fn one_redis() {
    run("one Redis", Alone::start(false), WhenUnavailable::Refuse);
}

#[test]
#[ignore = "needs redis-server"]
fn one_redis_that_keeps_a_log_on_disk() {
    run("one Redis with a log", Alone::start(true), WhenUnavailable::Refuse);
}

#[test]
#[ignore = "needs redis-server"]
fn one_redis_and_nonces_without_it() {
    run("one Redis, nonce-only without it", Alone::start(false), WhenUnavailable::NonceOnly);
}

#[test]
#[ignore = "needs redis-server"]
fn a_primary_two_replicas_and_three_sentinels() {
    run("Sentinel", servers::sentinels(), WhenUnavailable::Refuse);
}

#[test]
#[ignore = "needs redis-server"]
fn sentinels_and_nonces_without_a_primary() {
    run("Sentinel, nonce-only without a primary", servers::sentinels(), WhenUnavailable::NonceOnly);
}

#[test]
#[ignore = "needs redis-server"]
fn a_cluster_of_six() {
    run("Cluster", servers::cluster(), WhenUnavailable::Refuse);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn one_postgres() {
    run("one PostgreSQL", postgres::OnItsOwn::start(), WhenUnavailable::Refuse);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn one_postgres_and_nonces_without_it() {
    run("one PostgreSQL, nonce-only without it", postgres::OnItsOwn::start(), WhenUnavailable::NonceOnly);
}

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgres_and_a_replica_that_takes_over() {
    run("PostgreSQL with a replica", postgres::Pair::start(), WhenUnavailable::Refuse);
}
