//! The issuer beside npm `oidc-provider`, which keeps everything in memory: tokens by `client_credentials` with a proof each, on
//! SQLite and on PostgreSQL, processor time and throughput, and the time of an answer at half of that; refreshing with a million
//! live refresh tokens beside ten thousand; memory at rest. Arguments: the program Node for the packages of `interop/node`, the
//! address of a PostgreSQL database, and the number of its server's first process. With `KEYBOUND_FIGURES_BRIEF` in the environment
//! there are fewer tokens and rounds, to see that it works.

use std::sync::Arc;
use std::time::Duration;

use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_benches::rig::{Issuer, Postgres, Refreshing, measure, prepare};
use keybound_benches::{Figure, ROUNDS, Rounds, repeated};
use keybound_probe::load::Caller;
use tokio::runtime::Runtime;

/// Live refresh tokens.
const FEW: usize = 10_000;
const MANY: usize = 1_000_000;

/// Refreshed in a round.
const REFRESHED: usize = 2_000;

/// It is idle when nobody has asked it anything for so long.
const REST: Duration = Duration::from_secs(2);

const MIB: f64 = (1 << 20) as f64;

/// The stores, by the names of their figures.
const STORES: [&str; 2] = ["sqlite", "postgres"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [node, url, process] = &*arguments else { panic!("arguments: NODE URL PROCESS") };
    let is_brief = std::env::var_os("KEYBOUND_FIGURES_BRIEF").is_some();
    prepare();
    let postgres = Postgres::new(url, process.parse().expect("the number of a process"));
    // Before all else: what it has done is in its memory too.
    let few = [Issuer::on_sqlite(), Issuer::on_postgres(&postgres.database("few"))];
    std::thread::sleep(REST);
    for (name, issuer) in STORES.iter().zip(&few) {
        let figure =
            Figure::new(format!("issuer.idle.{name}"), "MiB resident", issuer.process().resident() as f64 / MIB);
        println!("{}", figure.aim_at(40.0));
    }
    let many = [Issuer::on_sqlite(), Issuer::on_postgres(&postgres.database("many"))];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let live = if is_brief { MANY / 20 } else { MANY };
    let refreshing = |issuers, live| -> [Refreshing<'_>; 2] {
        let [one, other]: &[Issuer; 2] = issuers;
        [one, other].map(|issuer| Refreshing::with(&runtime, issuer, live))
    };
    // This takes longer than the minute after its start in which an issuer wants nonces.
    let (few_live, many_live) = (refreshing(&few, FEW), refreshing(&many, live));
    let rounds = if is_brief { 2 } else { ROUNDS };
    issuance(&few, &Issuer::yardstick(node), &postgres, rounds);
    for (number, name) in STORES.iter().enumerate() {
        refreshes(name, &runtime, &few_live[number], &many_live[number], rounds);
    }
}

/// Tokens by `client_credentials`.
fn issuance(issuers: &[Issuer; 2], yardstick: &Issuer, postgres: &Postgres, rounds: usize) {
    let caller = caller();
    let measured = repeated(rounds, |round| {
        let (nanos, report) = measure(yardstick.process(), &yardstick.asked_for_tokens(&caller));
        round.value("yardstick", nanos);
        round.value("yardstick rate", report.rate());
        for (name, issuer) in STORES.iter().zip(issuers) {
            let before = postgres.cpu_time();
            let (nanos, report) = measure(issuer.process(), &issuer.asked_for_tokens(&caller));
            round.value(name, nanos);
            round.value(&format!("{name} rate"), report.rate());
            let database = postgres.cpu_time().saturating_sub(before).as_nanos() as f64;
            round.value(&format!("{name} database"), database / report.rate() / report.elapsed().as_secs_f64());
        }
    });
    let median = |what: &str| measured.median(what);
    for name in STORES {
        // The most that ratios should be: a fifth of the time, and of the throughput.
        let figure = Figure::new(format!("issuer.cpu.{name}"), "ns CPU per token", median(name));
        println!("{}", figure.beside(median("yardstick")).aim_at_ratio(0.2));
        let figure = Figure::new(format!("issuer.yardstick-rate.{name}"), "tokens/s", median("yardstick rate"));
        println!("{}", figure.beside(median(&format!("{name} rate"))).aim_at_ratio(0.2));
    }
    let database = median("postgres database");
    println!("{}", Figure::new("issuer.cpu.postgres.database", "ns CPU per token", database));
    half_load(issuers, &measured, &caller, rounds);
}

/// How long a token takes at half of the throughput.
fn half_load(issuers: &[Issuer; 2], full: &Rounds, caller: &Caller, rounds: usize) {
    let measured = repeated(rounds, |round| {
        for (name, issuer) in STORES.iter().zip(issuers) {
            let rate = full.median(&format!("{name} rate")) / 2.0;
            let (_, report) = measure(issuer.process(), &issuer.asked_for_tokens(caller).rate(rate));
            for (part, quantile) in [("p50", 0.5), ("p99", 0.99)] {
                round.value(&format!("{name} {part}"), report.quantile(quantile).as_secs_f64() * 1e3);
            }
        }
    });
    for name in STORES {
        let figure = |part| {
            let value = measured.median(&format!("{name} {part}"));
            Figure::new(format!("issuer.{part}.{name}"), "ms at half load", value)
        };
        println!("{}", figure("p50"));
        println!("{}", figure("p99").aim_at(20.0));
    }
}

/// With many live refresh tokens, beside few.
fn refreshes(name: &str, runtime: &Runtime, few: &Refreshing<'_>, many: &Refreshing<'_>, rounds: usize) {
    let measured = repeated(rounds, |round| {
        for (which, refreshing) in [("few", few), ("many", many)] {
            let refreshed = refreshing.refresh(runtime, REFRESHED);
            round.value(which, refreshed.nanos);
            round.value(&format!("{which} took"), refreshed.median);
        }
    });
    let figure = Figure::new(format!("issuer.refresh.{name}"), "ns CPU per refresh", measured.median("many"));
    println!("{}", figure.beside(measured.median("few")).aim_at_ratio(1.1));
    let figure = Figure::new(format!("issuer.refresh.{name}.p50"), "ms, 16 at once", measured.median("many took"));
    println!("{}", figure.beside(measured.median("few took")).aim_at_ratio(1.1));
}

fn caller() -> Caller {
    let key = SoftwareKey::generate(Alg::Es256).expect("the library makes keys");
    Caller::without_token(Arc::new(key)).expect("a key that fits its algorithm")
}
