//! The store in memory under a scheduler that tries out orders of threads: `cargo xtask test` runs it with `--cfg keybound_shuttle`.
#![cfg(keybound_shuttle)]

use core::time::Duration;
use std::sync::Arc;

use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::memory::{MIN_BYTES, MemoryLimits, MemoryStore};
use keybound::replay::{Epoch, ReplayEntry, Seen};
use keybound::time::UnixTime;
use shuttle::thread;

/// Orders that are tried of each case: some seconds.
const ORDERS: usize = 3_000;

/// How many changes of thread an order is made of that the scheduler looks for (PCT).
const DEPTH: usize = 4;

const START: UnixTime = UnixTime::from_secs(1_700_000_000);

fn after(seconds: u64) -> UnixTime {
    START.plus(Duration::from_secs(seconds))
}

fn store(limits: MemoryLimits) -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(limits, [7; 16], Epoch::new(1, START)).expect("limits in range"))
}

/// All of one key, so that they meet at one lock.
fn record(store: &MemoryStore, jti: &str, epoch: Epoch, expires: u64, now: u64) -> Result<Seen, Fault> {
    let key = Thumbprint::from_bytes([1; 32]);
    store.record_now(&ReplayEntry::new(key, jti, "https://a/", epoch, after(expires)), after(now))
}

/// Tries out orders at random, and such that need few changes of thread.
fn in_many_orders(case: impl Fn() + Send + Sync + Copy + 'static) {
    shuttle::check_random(case, ORDERS);
    shuttle::check_pct(case, ORDERS, DEPTH);
}

/// The answers of threads that each do this.
fn of_threads<T: Send + 'static>(count: u64, work: impl Fn(u64) -> T + Send + Sync + Clone + 'static) -> Vec<T> {
    let threads: Vec<_> = (0..count)
        .map(|number| {
            let work = work.clone();
            thread::spawn(move || work(number))
        })
        .collect();
    threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
}

fn news(answers: &[Result<Seen, Fault>]) -> usize {
    answers.iter().filter(|answer| **answer == Ok(Seen::Never)).count()
}

// R-SEC-02: while buckets are dropped around it, by a clock that is ahead at some threads.
#[test]
fn one_of_many_is_new_while_buckets_are_dropped() {
    in_many_orders(|| {
        let store = store(MemoryLimits::new());
        assert_eq!(record(&store, "old", store.epoch(), 10, 0), Ok(Seen::Never));
        let shared = Arc::clone(&store);
        let answers = of_threads(3, move |number| {
            shared.sweep(after(12 * number));
            record(&shared, "x", shared.epoch(), 300, 20 * number)
        });
        assert_eq!(news(&answers), 1, "{answers:?}");
        assert_ne!(record(&store, "old", store.epoch(), 10, 0), Ok(Seen::Never), "it is gone, and not new");
    });
}

// R-SEC-02: while tables grow.
#[test]
fn one_of_many_is_new_while_tables_grow() {
    in_many_orders(|| {
        let store = store(MemoryLimits::new());
        let shared = Arc::clone(&store);
        let answers = of_threads(3, move |number| {
            let filler = |step: u64| record(&shared, &format!("{number} {step}"), shared.epoch(), 300, 0);
            assert!((0..4).all(|step| filler(step) == Ok(Seen::Never)));
            let seen = record(&shared, "x", shared.epoch(), 300, 0);
            assert!((4..8).all(|step| filler(step) == Ok(Seen::Never)));
            seen
        });
        assert_eq!((news(&answers), store.entries()), (1, 25), "{answers:?}");
    });
}

#[test]
fn a_quota_is_exact_among_threads() {
    in_many_orders(|| {
        let store = store(MemoryLimits::new().per_key(2));
        let shared = Arc::clone(&store);
        let answers = of_threads(4, move |number| record(&shared, &number.to_string(), shared.epoch(), 300, 0));
        assert_eq!(news(&answers), 2, "{answers:?}");
    });
}

// Whoever was judged under an epoch that is over when the change returns is told so; what was recorded under it stays known.
#[test]
fn a_change_of_epoch_is_atomic() {
    in_many_orders(|| {
        let store = store(MemoryLimits::new());
        let before = store.epoch();
        let recording = {
            let store = Arc::clone(&store);
            thread::spawn(move || record(&store, "x", before, 300, 0))
        };
        let raising = {
            let store = Arc::clone(&store);
            thread::spawn(move || {
                store.raise(Epoch::new(2, START));
                record(&store, "y", before, 300, 0)
            })
        };
        let seen = recording.join().expect("no panic");
        assert_eq!(raising.join().expect("no panic"), Ok(Seen::Forgotten));
        assert!(matches!(seen, Ok(Seen::Never | Seen::Forgotten)), "{seen:?}");
        let again = record(&store, "x", store.epoch(), 300, 0);
        assert_eq!(again, Ok(if seen == Ok(Seen::Never) { Seen::Before } else { Seen::Never }));
    });
}

// R-SEC-05: the bytes are shared by all locks, and never more than they may be.
#[test]
fn bytes_are_never_more_than_allowed() {
    shuttle::check_random(
        || {
            let store = store(MemoryLimits::new().bytes(MIN_BYTES).per_key(4_000_000));
            let shared = Arc::clone(&store);
            of_threads(3, move |thread| {
                for number in 0..40_u64 {
                    let mut key = [0; 32];
                    key[..8].copy_from_slice(&(thread * 1000 + number).to_be_bytes());
                    let key = Thumbprint::from_bytes(key);
                    let entry = ReplayEntry::new(key, "x", "https://a/", shared.epoch(), after(8 * number));
                    assert!(matches!(shared.record_now(&entry, START), Ok(Seen::Never) | Err(Fault::ReplayFull)));
                    assert!(shared.bytes() <= MIN_BYTES);
                }
            });
            store.sweep(after(1000));
            assert_eq!(store.entries(), 0);
        },
        100,
    );
}
