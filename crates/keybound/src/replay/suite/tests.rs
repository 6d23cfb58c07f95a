//! The suite passes the store in memory, and fails stores that are each broken in one way.

use core::pin::pin;
use core::task::{Context, Waker};
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use parking_lot::Mutex;

use super::*;
use crate::replay::{MemoryStore, memory::MemoryLimits};

const NOW: UnixTime = UnixTime::from_secs(1_700_000_003);

#[derive(Clone, Copy, Debug, PartialEq)]
enum Flaw {
    None,
    NeverRemembers,
    IgnoresJkt,
    IgnoresJti,
    IgnoresHtu,
    FoldsCase,
    JoinsTexts,
    CutsTexts,
    StopsAtNull,
    IgnoresEpoch,
    WritesWhenForgotten,
    LooksThenWrites,
    DropsInLastSecond,
    CountsFromArrival,
}

#[derive(Debug)]
struct Flawed {
    flaw: Flaw,
    entries: Mutex<HashMap<Vec<u8>, (UnixTime, UnixTime)>>,
}

impl Flawed {
    fn new(flaw: Flaw) -> Self {
        Self {
            flaw,
            entries: Mutex::default(),
        }
    }

    fn name(&self, entry: &ReplayEntry<'_>) -> Vec<u8> {
        let mut parts: Vec<Vec<u8>> = Vec::new();
        entry.digest_input(|octets| parts.push(octets.to_vec()));
        // jkt, length of jti, jti, length of htu, htu
        match self.flaw {
            Flaw::IgnoresJkt => parts[0].clear(),
            Flaw::IgnoresJti => parts[1..3].fill(Vec::new()),
            Flaw::IgnoresHtu => parts[3..5].fill(Vec::new()),
            Flaw::FoldsCase => parts[2].make_ascii_lowercase(),
            Flaw::JoinsTexts => {
                parts[1].clear();
                parts[3].clear();
            }
            Flaw::CutsTexts => {
                parts[1].clear();
                parts[2].truncate(1024);
            }
            Flaw::StopsAtNull => {
                parts[1].clear();
                parts[2].truncate(entry.jti.find('\0').unwrap_or(usize::MAX));
            }
            _ => {}
        }
        parts.concat()
    }

    fn holds(&self, name: &[u8], now: UnixTime) -> bool {
        self.entries
            .lock()
            .get(name)
            .is_some_and(|(arrived, expires)| match self.flaw {
                Flaw::NeverRemembers => false,
                Flaw::DropsInLastSecond => now < *expires,
                Flaw::CountsFromArrival => now <= arrived.plus(Duration::from_secs(306)),
                _ => now <= *expires,
            })
    }
}

impl ReplayStore for Flawed {
    fn epoch(&self) -> Epoch {
        Epoch::new(7, NOW)
    }

    async fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> Result<Seen, Fault> {
        let name = self.name(entry);
        if entry.epoch() != self.epoch() && self.flaw != Flaw::IgnoresEpoch {
            if self.flaw == Flaw::WritesWhenForgotten {
                self.entries.lock().insert(name, (now, entry.expires()));
            }
            return Ok(Seen::Forgotten);
        }
        if self.holds(&name, now) {
            return Ok(Seen::Before);
        }
        if self.flaw == Flaw::LooksThenWrites {
            let mut polled = false;
            poll_fn(|_| {
                if core::mem::replace(&mut polled, true) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
            .await;
        }
        self.entries.lock().insert(name, (now, entry.expires()));
        Ok(Seen::Never)
    }
}

fn finish(future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    while future.as_mut().poll(&mut context).is_pending() {}
}

fn passes(flaw: Flaw) -> bool {
    catch_unwind(AssertUnwindSafe(|| finish(run(&Flawed::new(flaw), "test", NOW)))).is_ok()
}

#[test]
fn passes_the_store_in_memory() {
    let store = MemoryStore::new(MemoryLimits::new(), [3; 16], Epoch::new(9, NOW)).unwrap();
    finish(shared(&store, &store, "first", NOW));
    finish(run(&store, "second", NOW));
}

#[test]
fn fails_a_store_with_one_flaw() {
    assert!(passes(Flaw::None));
    for flaw in [
        Flaw::NeverRemembers,
        Flaw::IgnoresJkt,
        Flaw::IgnoresJti,
        Flaw::IgnoresHtu,
        Flaw::FoldsCase,
        Flaw::JoinsTexts,
        Flaw::CutsTexts,
        Flaw::StopsAtNull,
        Flaw::IgnoresEpoch,
        Flaw::WritesWhenForgotten,
        Flaw::LooksThenWrites,
        Flaw::DropsInLastSecond,
        Flaw::CountsFromArrival,
    ] {
        assert!(!passes(flaw), "{flaw:?}");
    }
}

#[test]
fn fails_nodes_that_share_nothing() {
    let [one, other] = [Flawed::new(Flaw::None), Flawed::new(Flaw::None)];
    assert!(catch_unwind(AssertUnwindSafe(|| finish(shared(&one, &other, "test", NOW)))).is_err());
}
