//! Inserts into the replay store in memory and into moka with a time to live, at so many live entries: processor time and
//! bytes an entry. Arguments: how many million entries (default `1 10`), or the name of a case and one such number.

use std::env;
use std::hash::Hasher as _;
use std::process::Command;
use std::time::Duration;

use keybound::jwk::Thumbprint;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, Seen};
use keybound::time::UnixTime;
use keybound_benches::{CpuTime, Figure, resident};
use siphasher::sip128::{Hasher128 as _, SipHasher24};

const START: u64 = 1_700_000_000;

/// 300 s past, 5 s between nodes, 1 s.
const WINDOW: u64 = 306;

const BATCH: u64 = 50_000;

/// More of them would not fit into the memory of a common machine.
const MOST_FOR_MOKA: u64 = 20_000_000;

const HTU: &str = "https://api.example.com/v1/accounts/4711/payments";

/// How the entries are spread over keys and time.
#[derive(Clone, Copy)]
struct Load {
    live: u64,
    entries_per_key: u64,
    per_key: u32,
    /// `iat` anywhere in the window before the clock, instead of within 4 s of it.
    scattered: bool,
}

struct Proof {
    jkt: Thumbprint,
    jti: String,
    expires: UnixTime,
}

impl Load {
    /// The clock at the arrival of this proof: the mean life of an entry passes while `live` of them arrive.
    fn clock(self, number: u64) -> u64 {
        START + number * (WINDOW - self.delays() / 2) / self.live
    }

    /// Proofs come this many seconds after their `iat`, or sooner.
    const fn delays(self) -> u64 {
        if self.scattered { WINDOW - 6 } else { 4 }
    }

    fn proof(self, number: u64) -> Proof {
        let mut jkt = [0; 32];
        jkt[..8].copy_from_slice(&scramble(number % (self.live / self.entries_per_key)).to_be_bytes());
        let random = scramble(!number);
        let delay = random % self.delays();
        Proof {
            jkt: Thumbprint::from_bytes(jkt),
            jti: format!("{:016x}{:06x}", random, number % (1 << 24)),
            expires: UnixTime::from_secs(self.clock(number) - delay + WINDOW),
        }
    }

    fn proofs(self, from: u64) -> Vec<Proof> {
        (from..from + BATCH).map(|number| self.proof(number)).collect()
    }

    /// In the same memory, so that resident memory changes by the stores alone.
    fn renew(self, proofs: &mut Vec<Proof>, from: u64) {
        proofs.clear();
        proofs.extend((from..from + BATCH).map(|number| self.proof(number)));
    }

    /// How many of the first `count` proofs have not expired when the last of them has come.
    fn unexpired(self, count: u64) -> u64 {
        let now = UnixTime::from_secs(self.clock(count - 1));
        (0..count).filter(|number| self.proof(*number).expires >= now).count() as u64
    }
}

fn scramble(number: u64) -> u64 {
    let mixed = number
        .wrapping_add(0x9e37_79b9_7f4a_7c15)
        .wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 29)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 32)
}

fn record(store: &MemoryStore, load: Load, from: u64, proofs: &[Proof]) -> CpuTime {
    CpuTime::measure(BATCH, || {
        for (number, proof) in (from..).zip(proofs) {
            let entry = ReplayEntry::new(proof.jkt, &proof.jti, HTU, store.epoch(), proof.expires);
            let seen = store.record_now(&entry, UnixTime::from_secs(load.clock(number)));
            assert_eq!(seen, Ok(Seen::Never), "proof {number}");
        }
    })
}

type Moka = moka::sync::Cache<u128, ()>;

fn record_moka(cache: &Moka, proofs: &[Proof]) -> CpuTime {
    let epoch = Epoch::new(1, UnixTime::from_secs(START));
    CpuTime::measure(BATCH, || {
        for proof in proofs {
            let mut hasher = SipHasher24::new_with_key(&[7; 16]);
            ReplayEntry::new(proof.jkt, &proof.jti, HTU, epoch, proof.expires)
                .digest_input(|octets| hasher.write(octets));
            assert!(cache.entry(hasher.finish128().as_u128()).or_insert(()).is_fresh());
        }
    })
}

/// Each case runs in a process of its own, so that resident memory is its own.
struct Case {
    name: &'static str,
    load: fn(u64) -> Load,
    beside_moka: bool,
}

const CASES: [Case; 5] = [
    Case {
        name: "many-per-key",
        load: |live| Load {
            live,
            entries_per_key: 1_000,
            per_key: 100_000,
            scattered: false,
        },
        beside_moka: true,
    },
    Case {
        name: "one-per-key",
        load: |live| Load {
            live,
            entries_per_key: 1,
            per_key: 100_000,
            scattered: false,
        },
        beside_moka: false,
    },
    Case {
        name: "scattered",
        load: |live| Load {
            live,
            entries_per_key: 1,
            per_key: 100_000,
            scattered: true,
        },
        beside_moka: false,
    },
    Case {
        name: "quota-100",
        load: |live| Load {
            live,
            entries_per_key: 1,
            per_key: 100,
            scattered: false,
        },
        beside_moka: false,
    },
    Case {
        name: "quota-3",
        load: |live| Load {
            live,
            entries_per_key: 1,
            per_key: 3,
            scattered: false,
        },
        beside_moka: false,
    },
];

fn measure(case: &Case, millions: u64) {
    let load = (case.load)(millions * 1_000_000);
    let limits = MemoryLimits::new().bytes(16 << 30).per_key(load.per_key);
    let store = MemoryStore::new(limits, [7; 16], Epoch::new(1, UnixTime::from_secs(START))).expect("fine limits");
    let mut proofs = load.proofs(0);
    let empty = resident();
    let mut filling = CpuTime::default();
    for from in (0..load.live).step_by(BATCH as usize) {
        load.renew(&mut proofs, from);
        filling += record(&store, load, from, &proofs);
    }
    let full = resident();

    // Half a window more on top: ours forgets as many as it takes up.
    let cache = (case.beside_moka && load.live <= MOST_FOR_MOKA).then(|| fill_moka(load, &mut proofs));
    let moka_full = resident();
    let (mut ours, mut moka) = (CpuTime::default(), CpuTime::default());
    let all = load.live + (load.live / 2).next_multiple_of(BATCH);
    for from in (load.live..all).step_by(BATCH as usize) {
        load.renew(&mut proofs, from);
        ours += record(&store, load, from, &proofs);
        if let Some(cache) = &cache {
            moka += record_moka(cache, &proofs);
        }
    }

    let figure = |what, unit, value| Figure::new(format!("replay.{millions}m.{}.{what}", case.name), unit, value);
    let per_entry = |octets: usize| octets as f64 / load.live as f64;
    let bytes = figure(
        "bytes",
        "bytes per unexpired entry",
        store.bytes() as f64 / load.unexpired(all) as f64,
    );
    let insert = figure("insert", "ns CPU", ours.nanos());
    match &cache {
        Some(_) => println!(
            "{}\n{}",
            insert.beside(moka.nanos()),
            bytes.beside(per_entry(moka_full - full))
        ),
        None => println!("{insert}\n{bytes}"),
    }
    println!("{}", figure("fill", "ns CPU", filling.nanos()));
    println!("{}", figure("resident", "bytes per entry", per_entry(full - empty)));
}

fn fill_moka(load: Load, proofs: &mut Vec<Proof>) -> Moka {
    let cache = Moka::builder().time_to_live(Duration::from_secs(3600)).build();
    for from in (0..load.live).step_by(BATCH as usize) {
        load.renew(proofs, from);
        record_moka(&cache, proofs);
    }
    cache
}

fn main() {
    let words: Vec<String> = env::args().skip(1).collect();
    let millions: Vec<u64> = words.iter().filter_map(|word| word.parse().ok()).collect();
    let named = |case: &Case| words.iter().any(|word| word == case.name);
    if let (Some(case), [millions]) = (CASES.iter().find(|case| named(case)), &*millions) {
        return measure(case, *millions);
    }
    for millions in if millions.is_empty() { &[1, 10] } else { &*millions } {
        for case in &CASES {
            let program = env::current_exe().expect("a running program has a path");
            let status = Command::new(program).arg(case.name).arg(millions.to_string()).status();
            assert!(
                status.is_ok_and(|status| status.success()),
                "{} at {millions} million failed",
                case.name
            );
        }
    }
}
