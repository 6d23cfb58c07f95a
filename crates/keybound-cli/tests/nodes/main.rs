//! Several gateways, the Redis or PostgreSQL servers they share, and faults at random instants: whatever is killed, stopped, cut off or moved,
//! no proof is admitted twice, and no client is refused for longer than servers or its gateway are away and one retry takes.
//!
//! The upstream counts what was admitted, for a gateway may be killed between admitting and answering. A run says its seed;
//! `KEYBOUND_NODES_SEED` repeats the choices of one, `KEYBOUND_NODES_SECONDS` says how long each test runs (40 s by default), and
//! a test is `cargo test -p keybound-cli --test nodes -- --ignored`.

mod callers;
mod chance;
mod client;
mod exchange;
mod faults;
mod gateways;
mod honest;
mod ledger;
mod looks;
mod outage;
mod postgres;
mod ring;
mod servers;
mod watch;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use callers::Callers;
use chance::Chance;
use gateways::{Gateways, Ring, WhenUnavailable};
use honest::{ALLOWANCE, Honest};
use ledger::Ledger;
use servers::{Alone, Servers};
use watch::Watch;

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
    let (over, honest) = (AtomicBool::new(false), Honest::default());
    let (of_servers, of_gateways) = (Watch::default(), [(); GATEWAYS].map(|()| Watch::default()));
    let longest = thread::scope(|scope| {
        let (callers, over, honest, of_servers) = (&callers, &over, &honest, &of_servers);
        for number in 0..CLIENTS {
            let chance = chance.another();
            scope.spawn(move || callers.call(number, chance, over));
        }
        let look = servers.look();
        scope.spawn(move || of_servers.keep(look, over));
        for (at, watch) in of_gateways.iter().enumerate() {
            let gateway = &gateways.all()[at];
            scope.spawn(move || watch.keep(watch::of_gateway(gateway), over));
            scope.spawn(move || honest.ask(callers, at, over));
        }
        // Whatever fails, the others end.
        let _end = End(over);
        upset(&mut servers, &gateways, callers, (&mut chance, &ledger), Duration::from_secs(seconds))
    });
    callers.replay_all();
    let twice = ledger.twice();
    let is_refused_without = matches!(when_unavailable, WhenUnavailable::Refuse);
    let worst = honest.worst(is_refused_without.then_some(&of_servers), &of_gateways);
    let away = of_servers.away().into_iter().map(watch::Span::length).max().unwrap_or_default();
    println!(
        "{name}: {}; served again within {longest:.1?} of the last fault; servers away for {away:.1?} at most, {} changes of \
         them; a client refused for {:.1?} at most, of which {:.1?} with nobody away",
        ledger.summary(),
        of_servers.changes(),
        worst.refused,
        worst.beyond
    );
    assert!(twice.is_empty(), "admitted twice: {twice:#?}\n{}", ledger.story());
    assert!(ledger.admitted() > 100, "hardly anything was admitted: {}\n{}", ledger.summary(), ledger.story());
    assert!(longest < RECOVERY, "not served again within {RECOVERY:?}\n{}", ledger.story());
    assert!(worst.beyond < ALLOWANCE, "refused for {worst:?}\n{}", ledger.story());
    assert!(!servers.can_fail_over() || of_servers.changes() > 0, "nobody has taken over\n{}", ledger.story());
}

/// Faults for so long, and at some time among them another server that takes over and a turn of the ring. How long it took at most until clients
/// were served again.
fn upset(
    servers: &mut impl Servers,
    gateways: &Gateways,
    callers: &Callers<'_>,
    (chance, ledger): (&mut Chance, &Ledger),
    length: Duration,
) -> Duration {
    let (begin, mut longest) = (Instant::now(), Duration::ZERO);
    let most = u64::try_from(length.as_millis()).expect("some time") * 6 / 10;
    let mut at_some_time = || Some(begin + chance.pause(0, most.max(1)));
    let (mut fails_over, mut turns) = (at_some_time().filter(|_| servers.can_fail_over()), at_some_time());
    if matches!(gateways.ring, Ring::File(_)) {
        // Before any gateway is left to its own nonces, which are good at no other.
        ring::turn(servers, gateways, callers, ledger);
        turns = None;
    }
    while (begin.elapsed() < length || fails_over.is_some() || turns.is_some()) && ledger.twice().is_empty() {
        faults::one(servers, gateways, chance, ledger);
        let is_due = |at: Option<Instant>| at.is_some_and(|at| at <= Instant::now());
        if chance.once_in(2) || is_due(fails_over) || is_due(turns) || begin.elapsed() >= length {
            faults::over(servers, gateways, ledger);
            longest = longest.max(callers.recovery(RECOVERY));
        }
        if is_due(fails_over) {
            let what = servers.fail_over(chance).expect("another server");
            ledger.tell(&what);
            faults::over(servers, gateways, ledger);
            longest = longest.max(callers.recovery(RECOVERY));
            fails_over = None;
        }
        if is_due(turns) {
            ring::turn(servers, gateways, callers, ledger);
            turns = None;
        }
    }
    longest
}

/// It is over when this goes.
struct End<'o>(&'o AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
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

#[test]
#[ignore = "needs PostgreSQL"]
fn a_postgres_a_replica_and_nonces_without_them() {
    run("PostgreSQL with a replica, nonce-only without them", postgres::Pair::start(), WhenUnavailable::NonceOnly);
}
