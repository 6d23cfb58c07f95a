use core::sync::atomic::AtomicU32;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Barrier;
use std::thread;

use proptest::prelude::*;

use super::*;
use crate::jwk::Thumbprint;

const START: u64 = 1_700_000_000;
const HTU: &str = "https://api.example.com/";

fn at(second: u64) -> UnixTime {
    UnixTime::from_secs(START + second)
}

fn key(number: u64) -> Thumbprint {
    let mut octets = [0; 32];
    octets[..8].copy_from_slice(&number.to_be_bytes());
    Thumbprint::from_bytes(octets)
}

fn store(limits: MemoryLimits) -> MemoryStore {
    MemoryStore::new(limits, [7; 16], Epoch::new(1, at(0))).unwrap()
}

/// One entry of key `jkt`, told from others by its `jti`.
fn record(store: &MemoryStore, jkt: u64, jti: &str, expires: UnixTime, now: UnixTime) -> Result<Seen, Fault> {
    store.record_now(&ReplayEntry::new(key(jkt), jti, HTU, store.epoch(), expires), now)
}

// R-SEC-02: in each round all threads send the same proof at the same moment.
#[test]
fn threads_with_one_proof_have_one_success() {
    const THREADS: usize = 4;
    const ROUNDS: usize = 5000;
    let store = store(MemoryLimits::new());
    let gate = Barrier::new(THREADS);
    let successes: Vec<AtomicU32> = (0..ROUNDS).map(|_| AtomicU32::new(0)).collect();
    let repetitions = AtomicU32::new(0);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                for (round, successes) in successes.iter().enumerate() {
                    let jti = round.to_string();
                    gate.wait();
                    match record(&store, 1, &jti, at(306), at(0)) {
                        Ok(Seen::Never) => successes.fetch_add(1, Ordering::Relaxed),
                        Ok(Seen::Before) => repetitions.fetch_add(1, Ordering::Relaxed),
                        other => panic!("{other:?}"),
                    };
                }
            });
        }
    });
    assert!(successes.iter().all(|count| count.load(Ordering::Relaxed) == 1));
    assert_eq!(usize::try_from(repetitions.into_inner()).unwrap(), ROUNDS * (THREADS - 1));
    assert_eq!(store.entries(), ROUNDS);
}

// R-SEC-02: the same while tables grow, buckets are dropped and other keys are at work.
#[test]
fn threads_with_many_proofs_have_one_success_for_each() {
    const PROOFS: u64 = 40_000;
    let store = store(MemoryLimits::new());
    let successes: Vec<AtomicU32> = (0..PROOFS).map(|_| AtomicU32::new(0)).collect();
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (store, successes) = (&store, &successes);
            scope.spawn(move || {
                for step in 0..PROOFS {
                    // Forwards and backwards, so that threads cross.
                    let proof = if thread % 2 == 0 { step } else { PROOFS - 1 - step };
                    let expires = at(300 + proof % 300);
                    match record(store, proof % 97, &proof.to_string(), expires, at(step / 1000)) {
                        Ok(Seen::Never) => {
                            successes[usize::try_from(proof).unwrap()].fetch_add(1, Ordering::Relaxed);
                        }
                        Ok(Seen::Before) => {}
                        other => panic!("{other:?}"),
                    }
                }
            });
        }
    });
    let wrong = successes.iter().filter(|count| count.load(Ordering::Relaxed) != 1).count();
    assert_eq!(wrong, 0);
}

// R-SEC-03: for every second an entry may expire in, every second until then and a while after.
#[test]
fn an_entry_is_kept_to_the_end_of_its_last_second() {
    for lives in 0..=40 {
        let store = store(MemoryLimits::new());
        assert_eq!(record(&store, 1, "a", at(lives), at(0)), Ok(Seen::Never), "{lives} s");
        for second in 0..=lives + 30 {
            let again = record(&store, 1, "a", at(lives), at(second));
            if second <= lives {
                assert_eq!(again, Ok(Seen::Before), "{lives} s, after {second} s");
            } else {
                // Still there, or nobody knows any more; new it is not.
                assert!(matches!(again, Ok(Seen::Before | Seen::Forgotten)), "{lives} s, after {second} s: {again:?}");
            }
        }
    }
}

// R-SEC-03: the window of a day, at its edge, with the clock turned in one step and in many.
#[test]
fn a_long_life_is_kept_as_well() {
    let last = 86_400 + 306;
    for step in [1, 8, 3600, last] {
        let store = store(MemoryLimits::new());
        assert_eq!(record(&store, 1, "a", at(last), at(0)), Ok(Seen::Never));
        for second in (0..last - 100).step_by(usize::try_from(step.max(97)).unwrap()).chain(last - 100..=last) {
            assert_eq!(record(&store, 1, "a", at(last), at(second)), Ok(Seen::Before), "after {second} s");
        }
    }
}

// A clock that steps back over a bucket that is gone: nobody knows, so nobody is let in.
#[test]
fn a_clock_that_steps_back_admits_nothing_twice() {
    let store = store(MemoryLimits::new());
    assert_eq!(record(&store, 1, "a", at(20), at(0)), Ok(Seen::Never));
    assert_eq!(record(&store, 1, "b", at(400), at(100)), Ok(Seen::Never));
    for second in [20, 10, 0] {
        assert_eq!(record(&store, 1, "a", at(20), at(second)), Ok(Seen::Forgotten), "back at {second} s");
    }
    assert_eq!(record(&store, 1, "b", at(400), at(0)), Ok(Seen::Before));
    // An entry that lives on is taken as ever.
    assert_eq!(record(&store, 1, "c", at(406), at(0)), Ok(Seen::Never));
}

// R-SEC-05: to the last byte; what is in stays in; what expires makes room.
#[test]
fn a_full_store_refuses_and_keeps_what_it_has() {
    let store = store(MemoryLimits::new().bytes(MIN_BYTES));
    let mut kept = Vec::new();
    let mut refused = 0;
    // Keys are spread over shards, and each has its own tables: go on until hardly anything fits anywhere.
    for number in 0_u64.. {
        match record(&store, number, "x", at(300 + number % 60), at(0)) {
            Ok(Seen::Never) => kept.push(number),
            Err(Fault::ReplayFull) => refused += 1,
            other => panic!("{other:?}"),
        }
        assert!(store.bytes() <= MIN_BYTES, "{} bytes", store.bytes());
        if refused == 20_000 {
            break;
        }
    }
    assert!(kept.len() > 10_000, "{} entries", kept.len());
    assert_eq!((store.entries(), store.refused_for_room()), (kept.len(), refused));
    for number in &kept {
        let again = record(&store, *number, "x", at(300 + number % 60), at(250));
        assert_eq!(again, Ok(Seen::Before), "key {number}");
    }
    store.sweep(at(380));
    assert_eq!(store.entries(), 0);
    for number in 0..10_000 {
        assert_eq!(record(&store, number, "y", at(700), at(400)), Ok(Seen::Never), "key {number}");
    }
}

// R-SEC-05: a full store recovers by itself as its entries expire, without a sweep from outside.
#[test]
fn room_comes_back_with_time() {
    let store = store(MemoryLimits::new().bytes(MIN_BYTES));
    let mut second = 0;
    let mut refused_at = None;
    for number in 0_u64..400_000 {
        second = number / 400;
        let answer = record(&store, number, "x", at(second + 306), at(second));
        if answer == Err(Fault::ReplayFull) {
            refused_at.get_or_insert(second);
        }
        assert!(store.bytes() <= MIN_BYTES);
    }
    let refused = store.refused_for_room();
    assert!(refused_at.is_some_and(|first| first < 306), "it was full before anything expired");
    assert!(refused < 350_000 && second > 900, "and took entries again: {refused} refused");
}

// R-SEC-05: after many at once, room for as many is not set aside that never come.
#[test]
fn a_burst_takes_no_room_twice() {
    let store = store(MemoryLimits::new().bytes(4 * MIN_BYTES));
    let burst = (0..).take_while(|number| {
        store.bytes() < 2 * MIN_BYTES && record(&store, *number, "x", at(300), at(0)) == Ok(Seen::Never)
    });
    assert!(burst.count() > 50_000);
    for number in 0..50_000 {
        let expires = at(308 + number / 1000 * 8);
        assert_eq!(record(&store, number, "y", expires, at(0)), Ok(Seen::Never), "{number}");
    }
}

// A fresh store knows nothing of what an earlier one had, and says so to whoever was judged before.
#[test]
fn a_restart_forgets_and_says_so() {
    let before = store(MemoryLimits::new());
    let judged = ReplayEntry::new(key(1), "a", HTU, before.epoch(), at(306));
    assert_eq!(before.record_now(&judged, at(0)), Ok(Seen::Never));
    let after = MemoryStore::new(MemoryLimits::new(), [8; 16], Epoch::new(2, at(1))).unwrap();
    assert_eq!(after.record_now(&judged, at(1)), Ok(Seen::Forgotten));
    assert_eq!(after.entries(), 0);
}

// R-SEC-02: an epoch is raised while threads record: what was judged under the old one is not recorded from then on.
#[test]
fn raising_an_epoch_is_atomic() {
    for round in 0..200 {
        let store = store(MemoryLimits::new());
        let old = store.epoch();
        let gate = Barrier::new(4);
        let raised = AtomicU32::new(0);
        thread::scope(|scope| {
            for thread in 0..3_u64 {
                let (store, gate, raised) = (&store, &gate, &raised);
                scope.spawn(move || {
                    gate.wait();
                    for number in 0..200_u64 {
                        let over = raised.load(Ordering::SeqCst) == 1;
                        let jti = format!("{thread} {number}");
                        let entry = ReplayEntry::new(key(number), &jti, HTU, old, at(306));
                        let seen = store.record_now(&entry, at(0)).unwrap();
                        assert!(!over || seen == Seen::Forgotten, "round {round}: {seen:?} after the change");
                    }
                });
            }
            scope.spawn(|| {
                gate.wait();
                store.raise(Epoch::new(2, at(0)));
                raised.store(1, Ordering::SeqCst);
            });
        });
        assert_eq!(store.epoch().id(), 2);
        assert_eq!(record(&store, 1, "new", at(306), at(0)), Ok(Seen::Never));
    }
}

// What was recorded before an epoch was raised in the same store is still known.
#[test]
fn raising_an_epoch_keeps_the_entries() {
    let store = store(MemoryLimits::new());
    assert_eq!(record(&store, 1, "a", at(306), at(0)), Ok(Seen::Never));
    store.raise(Epoch::new(2, at(1)));
    assert_eq!(record(&store, 1, "a", at(306), at(1)), Ok(Seen::Before));
}

#[test]
fn a_small_quota_is_exact() {
    for per_key in [1, 2, 63, 64] {
        let store = store(MemoryLimits::new().per_key(per_key));
        for number in 0..per_key {
            assert_eq!(
                record(&store, 1, &number.to_string(), at(306), at(0)),
                Ok(Seen::Never),
                "{number} of {per_key}"
            );
        }
        let Ok(Seen::OverQuota { retry_after }) = record(&store, 1, "more", at(306), at(0)) else {
            panic!("{per_key} are there")
        };
        assert_eq!(record(&store, 1, "0", at(306), at(0)), Ok(Seen::Before));
        assert_eq!(record(&store, 2, "more", at(306), at(0)), Ok(Seen::Never));
        // As it said: by then the oldest are gone.
        let later = at(0).plus(Duration::from_secs(retry_after.into()));
        assert!(later > at(306) && later <= at(306 + 16), "{retry_after} s");
        assert_eq!(record(&store, 1, "more", at(700), later), Ok(Seen::Never));
    }
}

#[test]
fn a_large_quota_is_never_exceeded_and_nearly_reached() {
    for per_key in [65, 1000, 5000] {
        let store = store(MemoryLimits::new().per_key(per_key));
        let mut admitted = 0;
        for number in 0..per_key + 10 {
            // Many other keys around it, so that counters are shared.
            let other = u64::from(number) + 10;
            assert_eq!(record(&store, other, "x", at(306), at(0)), Ok(Seen::Never));
            match record(&store, 1, &number.to_string(), at(306), at(0)) {
                Ok(Seen::Never) => admitted += 1,
                Ok(Seen::OverQuota { .. }) => {}
                other => panic!("{other:?}"),
            }
        }
        assert!((per_key - per_key / 16..=per_key).contains(&admitted), "{admitted} of {per_key}");
    }
}

// R-PRF-40, R-SEC-04: the same `jti` of a key for the same target is the same proof, whenever it was signed.
#[test]
fn a_jti_that_is_signed_again_is_a_repetition() {
    let store = store(MemoryLimits::new());
    for jti in 0..2000 {
        let jti = jti.to_string();
        assert_eq!(record(&store, 1, &jti, at(306), at(0)), Ok(Seen::Never));
        for expires in [306, 307, 305, 314, 366, 246, 1, 400, 4000] {
            assert_eq!(record(&store, 1, &jti, at(expires), at(0)), Ok(Seen::Before), "{jti} {expires}");
        }
        assert_eq!(record(&store, 2, &jti, at(306), at(0)), Ok(Seen::Never));
    }
    // Also when most of what the store was told has expired, and not beyond its time.
    assert_eq!(record(&store, 3, "late", at(700), at(300)), Ok(Seen::Never));
    assert_eq!(record(&store, 3, "late", at(900), at(500)), Ok(Seen::Before));
    assert_eq!(record(&store, 1, "0", at(700), at(400)), Ok(Seen::Never));
}

// A key that is always at its quota goes on at the pace at which its entries expire.
#[test]
fn a_quota_flows() {
    let store = store(MemoryLimits::new().per_key(50));
    let admitted = (0..3600)
        .filter(|second| record(&store, 1, &second.to_string(), at(second + 60), at(*second)) == Ok(Seen::Never))
        .count();
    // At most 50 in a life of 61 to 68 seconds.
    assert!((3600 * 50 / 68..=3600 * 50 / 60 + 50).contains(&admitted), "{admitted}");
}

#[test]
fn limits_out_of_range_are_told() {
    let made = |limits| MemoryStore::new(limits, [7; 16], Epoch::new(1, at(0))).err();
    assert_eq!(made(MemoryLimits::new().bytes(MIN_BYTES - 1)), Some(LimitsError::Bytes));
    assert_eq!(made(MemoryLimits::new().per_key(0)), Some(LimitsError::PerKey));
    assert_eq!(made(MemoryLimits::new().per_key(MAX_PER_KEY + 1)), Some(LimitsError::PerKey));
    assert_eq!(made(MemoryLimits::new().per_key(MAX_PER_KEY).bytes(MIN_BYTES)), None);
}

#[test]
fn a_store_shows_nothing_of_what_it_holds() {
    let store = MemoryStore::new(MemoryLimits::new(), [0xab; 16], Epoch::new(1, at(0))).unwrap();
    let entry = ReplayEntry::new(key(1), "secret-jti", HTU, store.epoch(), at(306));
    let shown = format!("{store:?} {entry:?}");
    assert!(!shown.contains("171") && !shown.contains("secret-jti") && !shown.contains("api.example"), "{shown}");
}

#[derive(Clone, Debug)]
enum Step {
    Record { jkt: u64, jti: u8, lives: u64 },
    Wait(u64),
    Back(u64),
    Sweep,
    Raise,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..3_u64, 0..6_u8, 0..40_u64).prop_map(|(jkt, jti, lives)| Step::Record { jkt, jti, lives }),
        3 => (0..12_u64).prop_map(Step::Wait),
        1 => (0..30_u64).prop_map(Step::Back),
        1 => Just(Step::Sweep),
        1 => Just(Step::Raise),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    // R-PRF-40, R-SEC-02, R-SEC-03: against a list that never forgets.
    #[test]
    fn nothing_is_new_twice(steps in steps()) {
        let store = store(MemoryLimits::new());
        let mut accepted: HashMap<(u64, u8, u64), ()> = HashMap::new();
        let (mut now, mut farthest, mut epoch) = (1000, 1000, 1);
        for step in steps {
            match step {
                Step::Record { jkt, jti, lives } => {
                    let expires = now + lives;
                    let known = accepted.contains_key(&(jkt, jti, expires));
                    let seen = record(&store, jkt, &format!("{jti} {expires}"), at(expires), at(now)).unwrap();
                    if known {
                        prop_assert_ne!(seen, Seen::Never);
                    } else if seen == Seen::Never {
                        accepted.insert((jkt, jti, expires), ());
                    }
                    // With a clock that never stepped back, a live entry has a plain answer.
                    if now == farthest {
                        prop_assert_eq!(seen, if known { Seen::Before } else { Seen::Never });
                    }
                }
                Step::Wait(seconds) => now += seconds,
                Step::Back(seconds) => now -= seconds.min(now),
                Step::Sweep => store.sweep(at(now)),
                Step::Raise => {
                    epoch += 1;
                    store.raise(Epoch::new(epoch, at(now)));
                }
            }
            farthest = farthest.max(now);
        }
        prop_assert_eq!(store.epoch().id(), epoch);
        store.sweep(at(farthest + 100));
        prop_assert_eq!(store.entries(), 0);
    }
}
