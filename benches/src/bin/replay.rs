//! Inserts into the replay store in memory, into a bare table and into moka with a time to live, at so many live entries:
//! processor time and allocated bytes an entry. Arguments: how many million entries (default `1 10`; 100 takes 6 GB without
//! moka, and many minutes); `--alone` leaves moka out; a word such as `quota-3` leaves out the loads of other names.

use std::collections::BTreeMap;
use std::hash::Hasher as _;
use std::hint::black_box;
use std::iter;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use keybound::jwk::Thumbprint;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, Seen};
use keybound::time::UnixTime;
use keybound_benches::{CpuTime, Figure, resident};
use siphasher::sip;
use siphasher::sip128::{Hasher128 as _, SipHasher24};

const START: u64 = 1_700_000_000;

/// 300 s past, 5 s between nodes, 1 s.
const WINDOW: u64 = 306;

const BATCH: u64 = 250_000;

/// The least number of inserts that is measured.
const MORE: u64 = 2_500_000;

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
    /// The clock at the arrival of this proof: the window passes while `live` of them arrive.
    fn clock(self, number: u64) -> u64 {
        START + number * WINDOW / self.live
    }

    fn proof(self, number: u64) -> Proof {
        let mut jkt = [0; 32];
        jkt[..8].copy_from_slice(&scramble(number % (self.live / self.entries_per_key)).to_be_bytes());
        let random = scramble(!number);
        let delay = random % if self.scattered { WINDOW - 6 } else { 4 };
        Proof {
            jkt: Thumbprint::from_bytes(jkt),
            jti: format!("{:016x}{:06x}", random, number % (1 << 24)),
            expires: UnixTime::from_secs(self.clock(number) - delay + WINDOW),
        }
    }

    fn proofs(self, from: u64) -> Vec<Proof> {
        (from..from + BATCH).map(|number| self.proof(number)).collect()
    }

    /// How many of the first `count` proofs have not expired when the last of them has come.
    fn unexpired(self, count: u64) -> u64 {
        let now = UnixTime::from_secs(self.clock(count - 1));
        (0..count).filter(|number| self.proof(*number).expires >= now).count() as u64
    }
}

fn scramble(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15).wrapping_mul(0xbf58_476d_1ce4_e5b9);
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

/// The least that a store for several threads must do, at the same size: the same two digests, one of as many locks, and one
/// place of 16 octets somewhere among as many as there are live entries, compared and overwritten. It knows no quota, time or
/// second place to look, never grows, and what it forgets is left to chance.
struct Bare(Vec<Mutex<Vec<u128>>>);

const SHARDS: u64 = 64;

impl Bare {
    fn new(live: u64) -> Self {
        let places = (live / SHARDS) as usize;
        // Not zeros, which the system would hand out without memory behind them.
        Self((0..SHARDS).map(|_| Mutex::new(iter::repeat_n(1, places).collect())).collect())
    }

    fn record_now(&self, entry: &ReplayEntry<'_>) -> Seen {
        let key = sip::SipHasher24::new_with_key(&[7; 16]).hash(entry.jkt().as_bytes());
        let mut hasher = SipHasher24::new_with_key(&[7; 16]);
        entry.digest_input(|octets| hasher.write(octets));
        let digest = hasher.finish128().as_u128();
        let mut places = self.0[(key % SHARDS) as usize].lock().unwrap_or_else(PoisonError::into_inner);
        let index = ((digest >> 64) * places.len() as u128) >> 64;
        let place = &mut places[index as usize];
        if *place == digest {
            return Seen::Before;
        }
        *place = digest;
        Seen::Never
    }
}

fn record_bare(bare: &Bare, epoch: Epoch, proofs: &[Proof]) -> CpuTime {
    CpuTime::measure(BATCH, || {
        for proof in proofs {
            let entry = ReplayEntry::new(proof.jkt, &proof.jti, HTU, epoch, proof.expires);
            assert_eq!(bare.record_now(&entry), Seen::Never);
        }
    })
}

type Moka = moka::sync::Cache<u128, ()>;

fn record_moka(cache: &Moka, epoch: Epoch, proofs: &[Proof]) -> CpuTime {
    CpuTime::measure(BATCH, || {
        for proof in proofs {
            let mut hasher = SipHasher24::new_with_key(&[7; 16]);
            ReplayEntry::new(proof.jkt, &proof.jti, HTU, epoch, proof.expires)
                .digest_input(|octets| hasher.write(octets));
            assert!(cache.entry(hasher.finish128().as_u128()).or_insert(()).is_fresh());
        }
    })
}

/// At ten million entries the ordinary load is the figure that there is an aim for; the bytes have one everywhere.
/// Says what an insert took, and the bare table.
fn measure(million: u64, name: &str, load: Load, with_moka: bool) -> [f64; 2] {
    let epoch = Epoch::new(1, UnixTime::from_secs(START));
    let limits = MemoryLimits::new().bytes(16 << 30).per_key(load.per_key);
    let store = MemoryStore::new(limits, [7; 16], epoch).expect("limits above the least");
    let mut filling = CpuTime::default();
    for from in (0..load.live).step_by(BATCH as usize) {
        filling += record(&store, load, from, &load.proofs(from));
    }

    let cache = with_moka.then(|| Moka::builder().time_to_live(Duration::from_secs(3600)).build());
    let before_moka = resident();
    if let Some(cache) = &cache {
        for from in (0..load.live).step_by(BATCH as usize) {
            record_moka(cache, epoch, &load.proofs(from));
        }
    }
    let resident_moka = resident() - before_moka;

    // A quarter of a window more on top or several windows, in turns: ours forgets as many as it takes up.
    let bare = Bare::new(load.live);
    let [mut ours, mut yardstick, mut moka] = [CpuTime::default(); 3];
    let more = (load.live / 4).max(MORE).next_multiple_of(BATCH);
    for from in (load.live..load.live + more).step_by(BATCH as usize) {
        let proofs = load.proofs(from);
        ours += record(&store, load, from, &proofs);
        yardstick += record_bare(&bare, epoch, &proofs);
        if let Some(cache) = &cache {
            moka += record_moka(cache, epoch, &proofs);
        }
    }
    let unexpired = load.unexpired(load.live + more) as f64;
    let moka_bytes = resident_moka as f64 / load.live as f64;
    let bytes = store.bytes() as f64 / unexpired;
    let beside = |figure: Figure, yardstick: f64| if with_moka { figure.beside(yardstick) } else { figure };
    let figure = |what: &str, unit, value| Figure::new(format!("replay.{million}m.{name}.{what}"), unit, value);
    println!("{}", figure("fill", "ns CPU", filling.nanos()));
    println!("{}", figure("insert", "ns CPU", ours.nanos()).beside(yardstick.nanos()));
    if with_moka {
        println!("{}", figure("moka", "ns CPU", moka.nanos()).beside(yardstick.nanos()));
    }
    println!("{}", beside(figure("bytes", "bytes", bytes), moka_bytes).aim_at(40.0));
    if million == 10 && name == "many-per-key" {
        println!("{}", beside(Figure::new("replay", "ns CPU", ours.nanos()), moka.nanos()).aim_at(500.0));
        println!("{}", beside(Figure::new("replay.bytes", "bytes", bytes), moka_bytes).aim_at(32.0));
    }
    black_box(cache);
    [ours.nanos(), yardstick.nanos()]
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let with_moka = !words.iter().any(|word| word == "--alone");
    let (numbers, words): (Vec<_>, Vec<_>) = words.iter().partition(|word| word.parse::<u64>().is_ok());
    let millions: Vec<u64> = numbers.iter().filter_map(|word| word.parse().ok()).collect();
    let named: Vec<_> = words.into_iter().filter(|word| *word != "--alone").collect();
    let mut first: BTreeMap<&str, [f64; 2]> = BTreeMap::new();
    for million in if millions.is_empty() { vec![1, 10] } else { millions } {
        let many = Load { live: million * 1_000_000, entries_per_key: 1_000, per_key: 100_000, scattered: false };
        let one = Load { entries_per_key: 1, ..many };
        let loads = [
            ("many-per-key", many),
            ("one-per-key", one),
            ("scattered", Load { scattered: true, ..one }),
            ("quota-3", Load { per_key: 3, ..one }),
            ("quota-100", Load { per_key: 100, ..one }),
        ];
        for (name, load) in
            loads.into_iter().filter(|(name, _)| named.is_empty() || named.iter().any(|one| one == name))
        {
            let [ours, yardstick] = measure(million, name, load, with_moka && name == "many-per-key");
            let [ours_first, yardstick_first] = *first.entry(name).or_insert([ours, yardstick]);
            if ours != ours_first {
                let growth = Figure::new(format!("replay.{million}m.{name}.growth"), "times", ours / ours_first);
                println!("{}", growth.beside(yardstick / yardstick_first).aim_at_ratio(1.1));
            }
        }
    }
}
