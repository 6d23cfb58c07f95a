//! What every replay store must do, as cases to run on yours from a test: feature `store-suite`. A case that fails panics
//! and says what it expected.

use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::Poll;
use core::time::Duration;

use super::{Epoch, ReplayEntry, ReplayStore, Seen};
use crate::jwk::Thumbprint;
use crate::refusal::Fault;
use crate::time::UnixTime;

/// The longest a proof may have to be remembered: an `iat` 24 hours ahead, and the window after it.
const FARTHEST: Duration = Duration::from_secs(24 * 60 * 60 + 5 * 60 + 6);

const WINDOW: Duration = Duration::from_secs(306);

const HTU: &str = "https://api.example.com/";

/// Runs every case on `store`: one of its own kind, in use by nobody else, with room for some hundred entries and quotas of
/// a hundred or more.
///
/// `run` is a text that no earlier run on the same memory had, so that what those left behind does not matter. `now` is the
/// time by the clock of the store, if it has one; the last case turns it a day ahead, so a store that goes by what it is told
/// is used up by a run. Needs no runtime but the one the store itself needs.
///
/// ```
/// # fn block_on(suite: impl Future<Output = ()>) {
/// #     let mut context = std::task::Context::from_waker(std::task::Waker::noop());
/// #     assert!(std::pin::pin!(suite).poll(&mut context).is_ready());
/// # }
/// use keybound::replay::memory::{MemoryLimits, MemoryStore};
/// use keybound::replay::{Epoch, suite};
/// use keybound::time::UnixTime;
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let store = MemoryStore::new(MemoryLimits::new(), [7; 16], Epoch::new(1, now))?;
/// block_on(suite::run(&store, "first", now));
/// # Ok::<(), keybound::replay::memory::LimitsError>(())
/// ```
pub async fn run<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    accepts_once(store, run, now).await;
    tells_entries_apart(store, run, now).await;
    takes_any_text(store, run, now).await;
    forgets_with_the_epoch(store, run, now).await;
    admits_one_of_many(&[store], run, now).await;
    keeps_to_the_last_second(store, run, now).await;
}

/// Runs the cases of a store that several nodes share on handles of two of them.
pub async fn shared<S: ReplayStore>(one: &S, other: &S, run: &str, now: UnixTime) {
    let jti = format!("{run} shared");
    let entry = |store: &S| ReplayEntry::new(key(1), &jti, HTU, store.epoch(), now.plus(WINDOW));
    expect(one, &entry(one), now, Seen::Never, "recorded by one node").await;
    expect(
        other,
        &entry(other),
        now,
        Seen::Before,
        "recorded by one node, sent to the other",
    )
    .await;
    admits_one_of_many(&[one, other], run, now).await;
}

async fn accepts_once<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    let jti = format!("{run} once");
    let entry = ReplayEntry::new(key(1), &jti, HTU, store.epoch(), now.plus(WINDOW));
    expect(store, &entry, now, Seen::Never, "an entry that is new").await;
    expect(store, &entry, now, Seen::Before, "an entry that is there").await;
    expect(store, &entry, now, Seen::Before, "an entry that was asked for before").await;
}

/// R-SEC-03; the last case of a run, for it turns the clock.
async fn keeps_to_the_last_second<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    let second = Duration::from_secs(1);
    for ahead in [Duration::from_secs(20), WINDOW, FARTHEST] {
        let jti = format!("{run} kept for {ahead:?}");
        let last = now.plus(ahead);
        let entry = ReplayEntry::new(key(1), &jti, HTU, store.epoch(), last);
        expect(
            store,
            &entry,
            now,
            Seen::Never,
            &format!("an entry to keep for {ahead:?}"),
        )
        .await;
        expect(store, &entry, now.plus(second), Seen::Before, "the same a second later").await;
        expect(store, &entry, now, Seen::Before, "the same, the clock a second back").await;
    }
    for ahead in [Duration::from_secs(20), WINDOW, FARTHEST] {
        let jti = format!("{run} kept for {ahead:?}");
        let last = now.plus(ahead);
        let entry = ReplayEntry::new(key(1), &jti, HTU, store.epoch(), last);
        for before in [Duration::from_secs(8), second, Duration::ZERO] {
            let what = format!("an entry that is kept for {ahead:?}, {before:?} before its last second");
            expect(store, &entry, last.minus(before), Seen::Before, &what).await;
        }
    }
}

async fn tells_entries_apart<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    // R-SEC-04; the last three run together if texts are joined without their lengths.
    let htu = format!("{HTU}{run}");
    let longer = format!("{htu}x");
    let entries = [
        ("an entry", key(1), "a", &htu),
        ("another jti", key(1), "A", &htu),
        ("another key", key(2), "a", &htu),
        ("another htu", key(1), "a", &longer),
        (
            "the end of the jti at the front of the htu",
            key(1),
            "ax",
            &format!("y{htu}"),
        ),
        ("the front of the htu at the end of the jti", key(1), "axy", &htu),
        ("the whole htu in the jti", key(1), &format!("axy{htu}"), &String::new()),
    ];
    for (what, jkt, jti, htu) in &entries {
        let entry = ReplayEntry::new(*jkt, jti, htu, store.epoch(), now.plus(WINDOW));
        expect(store, &entry, now, Seen::Never, what).await;
    }
    for (what, jkt, jti, htu) in &entries {
        let entry = ReplayEntry::new(*jkt, jti, htu, store.epoch(), now.plus(WINDOW));
        expect(store, &entry, now, Seen::Before, &format!("{what}, again")).await;
    }
}

async fn takes_any_text<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    let long = "j".repeat(8 * 1024);
    let longer = format!("{long}j");
    let texts = [
        "\0",
        "\0\0",
        "\0x",
        "%s%n%d",
        "a b",
        "a\r\nDEL *\r\n",
        "\"'`$(x){}",
        "\u{1f511}\u{feff}",
        &long,
        &longer,
    ];
    for text in texts {
        let jti = format!("{text}{run}");
        let entry = ReplayEntry::new(key(3), &jti, HTU, store.epoch(), now.plus(WINDOW));
        expect(
            store,
            &entry,
            now,
            Seen::Never,
            &format!("the jti {:?}", text.get(..8).unwrap_or(text)),
        )
        .await;
        expect(store, &entry, now, Seen::Before, "the same again").await;
    }
}

async fn forgets_with_the_epoch<S: ReplayStore>(store: &S, run: &str, now: UnixTime) {
    let jti = format!("{run} epoch");
    let other = Epoch::new(!store.epoch().id(), store.epoch().opened());
    let expires = now.plus(WINDOW);
    let judged_under = |epoch| ReplayEntry::new(key(4), &jti, HTU, epoch, expires);
    expect(
        store,
        &judged_under(other),
        now,
        Seen::Forgotten,
        "an entry of another epoch",
    )
    .await;
    expect(
        store,
        &judged_under(store.epoch()),
        now,
        Seen::Never,
        "the same under the epoch in force",
    )
    .await;
    expect(store, &judged_under(store.epoch()), now, Seen::Before, "and again").await;
}

/// R-SEC-02: equal entries, all under way at once; in turn on each of the stores.
async fn admits_one_of_many<S: ReplayStore>(stores: &[&S], run: &str, now: UnixTime) {
    for round in 0..8 {
        let jti = format!("{run} race {round}");
        let entries: Vec<(&S, ReplayEntry<'_>)> = stores
            .iter()
            .cycle()
            .take(16)
            .map(|store| {
                (
                    *store,
                    ReplayEntry::new(key(5), &jti, HTU, store.epoch(), now.plus(WINDOW)),
                )
            })
            .collect();
        let answers = together(entries.iter().map(|(store, entry)| store.record(entry, now))).await;
        let count = |wanted| answers.iter().filter(|answer| **answer == Ok(wanted)).count();
        assert_eq!(
            count(Seen::Never),
            1,
            "of 16 equal entries at once, one is new: {answers:?}"
        );
        assert_eq!(
            count(Seen::Before),
            15,
            "of 16 equal entries at once, 15 are repetitions: {answers:?}"
        );
    }
}

async fn expect<S: ReplayStore>(store: &S, entry: &ReplayEntry<'_>, now: UnixTime, seen: Seen, what: &str) {
    assert_eq!(store.record(entry, now).await, Ok(seen), "{what}");
}

/// All of these, each polled before any is awaited to its end.
async fn together(
    futures: impl Iterator<Item = impl Future<Output = Result<Seen, Fault>>>,
) -> Vec<Result<Seen, Fault>> {
    let mut waiting: Vec<Pin<Box<_>>> = futures.map(Box::pin).collect();
    let mut answers = Vec::new();
    poll_fn(|context| {
        waiting.retain_mut(|future| match future.as_mut().poll(context) {
            Poll::Ready(answer) => {
                answers.push(answer);
                false
            }
            Poll::Pending => true,
        });
        if waiting.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    answers
}

const fn key(number: u8) -> Thumbprint {
    Thumbprint::from_bytes([number; 32])
}

#[cfg(test)]
mod tests;
