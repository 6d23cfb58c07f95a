//! The replay store on Redis: records a second through one node beside `redis-benchmark` with the same script, what a record takes
//! beyond a round trip, and the memory that Redis needs for a live proof. Starts a Redis of its own.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use futures_util::future::join_all;
use keybound::jwk::Thumbprint;
use keybound::replay::{ReplayEntry, ReplayStore as _, Seen};
use keybound::time::UnixTime;
use keybound_benches::{Figure, interleaved};
use keybound_redis::{RedisSettings, RedisStore};
use redis_rig::{Server, Settings};
use tokio::runtime::{Builder, Runtime};

const HTU: &str = "https://api.example.com/v1/accounts/4711/payments";

/// Records of one round.
const RECORDS: u64 = 100_000;

/// Records under way at once, at our side and at that of redis-benchmark: 4 connections, 16 in each pipeline.
const TASKS: u64 = 64;

/// For the memory of one.
const LIVE: u64 = 400_000;

/// One record after another.
const SINGLE: usize = 5_000;

fn main() {
    let server = Server::start(Settings::new()).expect("redis-server, which cargo xtask figures installs");
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let settings = RedisSettings::from_url(&server.url()).expect("a URL");
    let own = runtime.block_on(RedisStore::connect(settings.clone())).expect("a store");
    let on_thread = RedisStore::connect_on_thread(settings).expect("a store");
    speed(&server, &runtime, &own, &on_thread);
    latency(&server, &runtime, &own, &on_thread);
    for (name, proofs) in [("bytes", 100), ("bytes.10-per-key", 10), ("bytes.1-per-key", 1)] {
        let figure = Figure::new(format!("redis.{name}"), "bytes", memory(&server, &runtime, &own, proofs));
        println!("{}", if proofs == 1 { figure } else { figure.aim_at(130.0) });
    }
}

fn speed(server: &Server, runtime: &Runtime, own: &RedisStore, on_thread: &RedisStore) {
    let script = SameScript::load(server);
    let mut serial = 0;
    let rounds = interleaved(|round| {
        for (name, store) in [("own", own), ("thread", on_thread)] {
            serial += RECORDS;
            let began = Instant::now();
            runtime.block_on(fill(store, serial, RECORDS, 1));
            round.value(name, RECORDS as f64 / began.elapsed().as_secs_f64());
        }
        round.value("benchmark", script.run(server));
        empty(server, runtime, &[own, on_thread]);
    });
    let micros = |name: &str| 1e6 / rounds.median(name);
    for (name, figure) in [("own", "redis"), ("thread", "redis.thread")] {
        println!("{}", Figure::new(figure, "us", micros(name)).beside(micros("benchmark")).aim_at_ratio(2.0));
        println!(
            "{}",
            Figure::new(format!("{figure}.rate"), "records/s", rounds.median(name)).beside(rounds.median("benchmark"))
        );
    }
}

fn latency(server: &Server, runtime: &Runtime, own: &RedisStore, on_thread: &RedisStore) {
    let mut stream = TcpStream::connect(server.address()).expect("a server");
    stream.set_nodelay(true).expect("a socket");
    let mut serial = 1 << 40;
    let rounds = interleaved(|round| {
        round.value("ping", median((0..SINGLE).map(|_| ping(&mut stream))));
        for (name, store) in [("own", own), ("thread", on_thread)] {
            serial += SINGLE as u64;
            let one = |number: u64| {
                let began = Instant::now();
                runtime.block_on(record(store, number, number));
                began.elapsed()
            };
            round.value(name, median((serial..serial + SINGLE as u64).map(one)));
        }
    });
    empty(server, runtime, &[own, on_thread]);
    let micros = |name: &str| rounds.median(name) / 1000.0;
    println!("{}", Figure::new("redis.ping", "us", micros("ping")));
    for (name, figure) in [("own", "redis.added"), ("thread", "redis.added.thread")] {
        println!("{}", Figure::new(figure, "us", micros(name) - micros("ping")).aim_at(100.0));
    }
}

/// What Redis needs for each of the live proofs, so many of each key.
fn memory(server: &Server, runtime: &Runtime, store: &RedisStore, proofs: u64) -> f64 {
    let used = || server.info("memory", "used_memory").expect("a field").parse::<f64>().expect("a number");
    let before = used();
    runtime.block_on(fill(store, 1 << 50, LIVE, proofs));
    let bytes = (used() - before) / LIVE as f64;
    empty(server, runtime, &[store]);
    bytes
}

/// Makes so many records, many at once, each key having so many.
async fn fill(store: &RedisStore, from: u64, records: u64, proofs: u64) {
    let task = |task: u64| async move {
        for number in (from + task..from + records).step_by(usize::try_from(TASKS).expect("a small number")) {
            record(store, number, number / proofs).await;
        }
    };
    join_all((0..TASKS).map(task)).await;
}

async fn record(store: &RedisStore, number: u64, key: u64) {
    let now = UnixTime::from(SystemTime::now());
    let mut jkt = [0; 32];
    jkt[..8].copy_from_slice(&key.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    let (jkt, jti) = (Thumbprint::from_bytes(jkt), format!("{number:022}"));
    let entry = ReplayEntry::new(jkt, &jti, HTU, store.epoch(), now.plus(Duration::from_secs(306)));
    assert_eq!(store.record(&entry, now).await, Ok(Seen::Never), "record {number}");
}

/// Forgets everything, and waits until the nodes have noticed.
fn empty(server: &Server, runtime: &Runtime, stores: &[&RedisStore]) {
    let before: Vec<_> = stores.iter().map(|store| store.epoch()).collect();
    server.ask(&["FLUSHALL", "SYNC"]).expect("an answer");
    for (store, before) in stores.iter().zip(before) {
        let end = Instant::now() + Duration::from_secs(30);
        while store.epoch() == before {
            assert!(Instant::now() < end, "the node has not noticed");
            runtime.block_on(async { tokio::time::sleep(Duration::from_millis(10)).await });
        }
    }
}

/// Our script, asked for one record at a time.
struct SameScript {
    sha: String,
    life: String,
}

impl SameScript {
    fn load(server: &Server) -> Self {
        let script = include_str!("../../../crates/keybound-redis/src/record.lua");
        let life = server.info("replication", "master_replid").expect("a field");
        Self { sha: server.ask(&["SCRIPT", "LOAD", script]).expect("an answer"), life: format!("master_replid:{life}") }
    }

    fn run(&self, server: &Server) -> f64 {
        server.ask(&["ZADD", "kb:b", "+inf", MARKER]).expect("an answer");
        let mut benchmark = Command::new("redis-benchmark");
        benchmark.args(["-h", &server.address().ip().to_string(), "-p", &server.port().to_string(), "--csv"]);
        benchmark.args(["-c", "4", "-P", "16", "-r", "100000000000", "-n", &RECORDS.to_string(), "EVALSHA", &self.sha]);
        // Each proof is of a key of its own, as ours are. The clock is not what is measured.
        benchmark.args(["2", "kb:b", "kb:q0000__rand_int__", MARKER, &self.life]);
        benchmark.args(["0", "10000000000000", "100000", "0000__rand_int__", "321000"]);
        let output = benchmark.output().expect("redis-benchmark, which cargo xtask figures installs");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let line = text.lines().last().unwrap_or_default();
        let rate = line.rsplit("\",\"").nth(6).and_then(|rate| rate.trim_matches('"').parse().ok());
        rate.unwrap_or_else(|| panic!("no rate in {text}"))
    }
}

/// As long as a real one.
const MARKER: &str = "01234567890123456789012345678901234567890";

fn ping(stream: &mut TcpStream) -> Duration {
    let began = Instant::now();
    stream.write_all(b"*1\r\n$4\r\nPING\r\n").expect("a server");
    stream.read_exact(&mut [0; 7]).expect("an answer");
    began.elapsed()
}

/// In nanoseconds.
fn median(times: impl Iterator<Item = Duration>) -> f64 {
    let mut times: Vec<_> = times.collect();
    times.sort();
    times[times.len() / 2].as_nanos() as f64
}
