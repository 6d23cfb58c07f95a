//! Where the ring is, sealed; and how it comes under another sealing key while processes use it.

use core::fmt;
use core::future::Future;
use core::time::Duration;
use std::time::Instant;

use keybound::refusal::Fault;
use keybound_issuer::keys::SealingKeys;
use keybound_tower::RingSource;
use keybound_tower::pinned::{PinnedStore, Servers};
use parking_lot::Mutex;
use zeroize::Zeroizing;

/// What the seal is for: nothing else that is sealed under the same key opens as a ring.
const NAME: [&str; 1] = ["nonce ring"];

/// From one new seal to the next: while the sealing key is changed, processes differ in which is the first.
const ANEW: Duration = Duration::from_secs(60);

/// One text that processes share.
pub(super) trait Shared: Send + Sync + fmt::Debug {
    /// As [`PinnedStore::shared_text`].
    fn get(&self) -> impl Future<Output = Result<Option<Vec<u8>>, Fault>> + Send;

    /// As [`PinnedStore::replace_shared_text`].
    fn set(&self, old: Option<&[u8]>, new: &[u8]) -> impl Future<Output = Result<bool, Fault>> + Send;
}

impl<S: Servers> Shared for PinnedStore<S> {
    fn get(&self) -> impl Future<Output = Result<Option<Vec<u8>>, Fault>> + Send {
        self.shared_text()
    }

    fn set(&self, old: Option<&[u8]>, new: &[u8]) -> impl Future<Output = Result<bool, Fault>> + Send {
        self.replace_shared_text(old, new)
    }
}

/// A ring there.
#[derive(Debug)]
pub(super) struct Place<S> {
    shared: S,
    sealing: SealingKeys,
    /// What was there last: as it is there, and what is in it.
    last: Mutex<Option<(Vec<u8>, Zeroizing<String>)>>,
    /// When this process has sealed it anew.
    anew: Mutex<Option<Instant>>,
}

impl<S: Shared> Place<S> {
    pub(super) fn new(shared: S, sealing: SealingKeys) -> Self {
        Self { shared, sealing, last: Mutex::default(), anew: Mutex::default() }
    }

    /// Loads it, and leaves it sealed under the first key: those below are taken out of the configuration once it is, and a ring that
    /// is turned an hour later would be lost with them.
    async fn load_at(&self, tick: Instant) -> Result<Option<Zeroizing<String>>, Fault> {
        loop {
            let Some(mut sealed) = self.shared.get().await? else {
                *self.last.lock() = None;
                return Ok(None);
            };
            let text = self.opened(&sealed);
            if self.is_to_seal_anew(&sealed, &text, tick) {
                let new = self.seal(&text)?;
                if !self.shared.set(Some(&sealed), &new).await? {
                    // Somebody came first: it may be under the first key now.
                    continue;
                }
                *self.anew.lock() = Some(tick);
                tracing::info!("the nonce ring is sealed under the first sealing key now");
                sealed = new;
            }
            *self.last.lock() = Some((sealed, text.clone()));
            return Ok(Some(text));
        }
    }

    fn is_to_seal_anew(&self, sealed: &[u8], text: &str, tick: Instant) -> bool {
        // What does not open is left to those who can open it.
        !text.is_empty()
            && !core::str::from_utf8(sealed).is_ok_and(|sealed| self.sealing.is_text_of_first(sealed))
            && self.anew.lock().is_none_or(|last| tick.saturating_duration_since(last) >= ANEW)
    }

    fn seal(&self, text: &str) -> Result<Vec<u8>, Fault> {
        let sealed = self.sealing.seal_text(&NAME, text.as_bytes());
        sealed.map(String::into_bytes).map_err(|_| Fault::CryptoFailure)
    }

    /// Nothing that is a ring, if it does not open.
    fn opened(&self, sealed: &[u8]) -> Zeroizing<String> {
        let octets = core::str::from_utf8(sealed).ok().and_then(|text| self.sealing.open_text(&NAME, text));
        let text = octets.and_then(|octets| core::str::from_utf8(&octets).ok().map(str::to_owned));
        Zeroizing::new(text.unwrap_or_default())
    }
}

impl<S: Shared> RingSource for Place<S> {
    async fn load(&self) -> Result<Option<Zeroizing<String>>, Fault> {
        self.load_at(Instant::now()).await
    }

    /// No two seals of a ring are the same: what is replaced is the one that was loaded last, or it is not there any more.
    async fn replace(&self, old: Option<&str>, new: &str) -> Result<bool, Fault> {
        let last = self.last.lock().clone();
        let last = match (&last, old) {
            (None, None) => None,
            (Some((sealed, text)), Some(old)) if **text == *old => Some(&sealed[..]),
            _ => return Ok(false),
        };
        self.shared.set(last, &self.seal(new)?).await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use keybound::nonce::{NonceSource as _, Purpose, Role, Verdict};
    use keybound::time::UnixTime;
    use keybound_tower::{RingFault, RingKeeper};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const HERE: Purpose<'static> = Purpose::new(Role::ResourceServer, "https://api.example.com", 9);

    /// In the memory of the test; somebody else sets it once, right after it was read.
    #[derive(Clone, Debug, Default)]
    struct Shelf {
        text: Arc<Mutex<Option<Vec<u8>>>>,
        by_another: Arc<Mutex<Option<Vec<u8>>>>,
    }

    impl Shared for Shelf {
        async fn get(&self) -> Result<Option<Vec<u8>>, Fault> {
            let text = self.text.lock().clone();
            if let Some(other) = self.by_another.lock().take() {
                *self.text.lock() = Some(other);
            }
            Ok(text)
        }

        async fn set(&self, old: Option<&[u8]>, new: &[u8]) -> Result<bool, Fault> {
            let mut text = self.text.lock();
            let is_old = text.as_deref() == old;
            if is_old {
                *text = Some(new.to_vec());
            }
            Ok(is_old)
        }
    }

    impl Shelf {
        async fn begin(&self, sealing: &SealingKeys) -> Result<RingKeeper<Place<Self>>, RingFault> {
            let place = Place::new(self.clone(), sealing.clone());
            RingKeeper::begin(place, Duration::from_secs(300), Duration::from_secs(3600), NOW).await
        }

        fn is_of(&self, sealing: &SealingKeys) -> bool {
            let text = self.text.lock().clone().unwrap();
            sealing.is_text_of_first(core::str::from_utf8(&text).unwrap())
        }
    }

    /// A, A with B below, B with A below, B.
    fn steps() -> [SealingKeys; 4] {
        let [a, b] = [(); 2].map(|()| SealingKeys::generate().unwrap().to_text());
        let both = |first: &str, second: &str| SealingKeys::parse(&format!("{first}{second}")).unwrap();
        [both(&a, ""), both(&a, &b), both(&b, &a), both(&b, "")]
    }

    // As it is documented, each step at two processes one after the other, which all go on with one ring.
    #[tokio::test]
    async fn the_sealing_key_is_changed_step_by_step() {
        let (shelf, steps) = (Shelf::default(), steps());
        let mut running = [shelf.begin(&steps[0]).await.unwrap(), shelf.begin(&steps[0]).await.unwrap()];
        for step in &steps[1..] {
            for at in 0..running.len() {
                running[at] = shelf.begin(step).await.unwrap();
                for maker in &running {
                    maker.look(NOW).await.unwrap();
                    let nonce = maker.nonces().issue(HERE, NOW);
                    for judge in &running {
                        let verdict = judge.nonces().judge(nonce.as_str(), HERE, NOW);
                        assert_eq!(verdict, Verdict::Current { issued: NOW });
                    }
                }
            }
            assert!(shelf.is_of(step));
        }
        assert!(matches!(shelf.begin(&steps[0]).await, Err(RingFault::Broken(_))));
        assert!(shelf.is_of(&steps[3]), "what does not open is left as it is");
    }

    // A process of the step before still turns it, on its way out.
    #[tokio::test]
    async fn a_turn_under_the_key_before_is_sealed_anew_within_a_minute() {
        let (shelf, [_, before, after, last]) = (Shelf::default(), steps());
        let leaving = shelf.begin(&before).await.unwrap();
        let place = Place::new(shelf.clone(), after.clone());
        let start = Instant::now();
        place.load_at(start).await.unwrap();
        assert!(shelf.is_of(&after));
        leaving.look(NOW.plus(Duration::from_secs(3600))).await.unwrap();
        assert!(shelf.is_of(&before));
        for (seconds, is_anew) in [(1, false), (59, false), (60, true), (61, true)] {
            place.load_at(start + Duration::from_secs(seconds)).await.unwrap();
            assert_eq!(shelf.is_of(&after), is_anew, "{seconds} s");
        }
        let begun = shelf.begin(&last).await.unwrap();
        assert_eq!(begun.nonces().ring().to_text(), leaving.nonces().ring().to_text());
    }

    #[tokio::test]
    async fn a_ring_that_another_turns_meanwhile_is_sealed_anew_as_it_is_then() {
        let (shelf, [_, before, after, _]) = (Shelf::default(), steps());
        let ring = shelf.begin(&before).await.unwrap().nonces().ring().turned([7; 32], NOW);
        let turned = Place::new(shelf.clone(), before).seal(&ring.to_text()).unwrap();
        *shelf.by_another.lock() = Some(turned);
        let begun = shelf.begin(&after).await.unwrap();
        assert_eq!(begun.nonces().ring().to_text(), ring.to_text());
        assert!(shelf.is_of(&after));
    }
}
