//! Nonce keys that change while nonces are made, and where several nodes have them from.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwap;
use keybound::crypto::aws_lc::random_array;
use keybound::nonce::{Nonce, NonceRing, NonceSource, Purpose, Verdict};
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use zeroize::Zeroizing;

/// Nonces under a ring that may be replaced at any time. Clones share the ring.
///
/// ```
/// use core::time::Duration;
/// use keybound::nonce::{NonceRing, NonceSource, Purpose, Role, Verdict};
/// use keybound::time::UnixTime;
/// use keybound_tower::RingNonces;
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let ring = NonceRing::generate([1; 32], [2; 32], now); // of random octets
/// let nonces = RingNonces::new(ring.clone());
///
/// let purpose = Purpose::new(Role::ResourceServer, "https://api.example.com", 42);
/// let nonce = nonces.issue(purpose, now);
/// nonces.replace(ring.turned([3; 32], now));
/// assert_eq!(nonces.judge(nonce.as_str(), purpose, now), Verdict::Current { issued: now });
/// ```
#[derive(Clone, Debug)]
pub struct RingNonces {
    ring: Arc<ArcSwap<NonceRing>>,
    lifetime: Duration,
}

impl RingNonces {
    /// Nonces under this ring, which live [`DEFAULT_LIFETIME`](keybound::nonce::DEFAULT_LIFETIME).
    pub fn new(ring: NonceRing) -> Self {
        Self { ring: Arc::new(ArcSwap::from_pointee(ring)), lifetime: keybound::nonce::DEFAULT_LIFETIME }
    }

    /// Nonces under the same ring that live this long, in whole seconds.
    #[must_use]
    pub fn lives(&self, lifetime: Duration) -> Self {
        Self { ring: Arc::clone(&self.ring), lifetime }
    }

    /// Goes on with this ring, for all that share it.
    pub fn replace(&self, ring: NonceRing) {
        self.ring.store(Arc::new(ring));
    }

    /// The ring in force.
    pub fn ring(&self) -> Arc<NonceRing> {
        self.ring.load_full()
    }
}

impl NonceSource for RingNonces {
    fn issue(&self, purpose: Purpose<'_>, now: UnixTime) -> Nonce {
        self.ring.load().issue(purpose, now)
    }

    fn judge(&self, nonce: &str, purpose: Purpose<'_>, now: UnixTime) -> Verdict {
        self.ring.load().judge(nonce, purpose, self.lifetime, now)
    }

    fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

/// A place where nodes that share a ring keep its text: a database that compares and sets.
pub trait RingSource: Send + Sync + fmt::Debug {
    /// What is there; `None` if nothing is.
    fn load(&self) -> impl Future<Output = Result<Option<Zeroizing<String>>, Fault>> + Send;

    /// Puts `new` there, in one step, if what is there is `old`; whether it was.
    fn replace(&self, old: Option<&str>, new: &str) -> impl Future<Output = Result<bool, Fault>> + Send;
}

/// Keeps [`RingNonces`] as they are at a [`RingSource`], and turns the ring there in time.
///
/// All nodes look every few seconds ([`RingKeeper::look`]) and any of them may turn: one succeeds. Nodes are never more than one turn
/// apart as long as each looks at least once between two turns; one that cannot goes on with what it has, and at worst its clients
/// are asked for a nonce once more.
#[derive(Debug)]
pub struct RingKeeper<R> {
    source: R,
    nonces: RingNonces,
    every: Duration,
}

/// The least time between turns, in seconds: a nonce of the key before is good for a while, and nodes need time to look.
const LEAST: u64 = 60;

impl<R: RingSource> RingKeeper<R> {
    /// Takes the ring that is at `source`, or makes one there. It is turned once it is `every` old, at least a minute and twice the
    /// life of a nonce.
    ///
    /// # Errors
    ///
    /// If the source is away, or holds something else.
    pub async fn begin(source: R, lifetime: Duration, every: Duration, now: UnixTime) -> Result<Self, RingFault> {
        let ring = loop {
            if let Some(text) = source.load().await? {
                break NonceRing::parse(&text)?;
            }
            let new = NonceRing::generate(random_array()?, random_array()?, now);
            if source.replace(None, &new.to_text()).await? {
                break new;
            }
        };
        let every = every.max(lifetime.saturating_mul(2)).max(Duration::from_secs(LEAST));
        Ok(Self { source, nonces: RingNonces::new(ring).lives(lifetime), every })
    }

    /// The nonces under the ring. They change with it.
    pub const fn nonces(&self) -> &RingNonces {
        &self.nonces
    }

    /// Takes over what is at the source, and turns it there if it is old.
    ///
    /// # Errors
    ///
    /// If the source is away, or holds something else. The ring before stays in force.
    pub async fn look(&self, now: UnixTime) -> Result<(), RingFault> {
        let Some(text) = self.source.load().await? else {
            // Somebody has taken it away. This one is as good as a new one, and known.
            self.source.replace(None, &self.nonces.ring().to_text()).await?;
            return Ok(());
        };
        let ring = NonceRing::parse(&text)?;
        // What is in force from now on is known to all who have looked since the turn before.
        self.nonces.replace(ring.clone());
        // One from so far ahead was made by a clock that was wrong, and would stay for as long as that was.
        let is_of_later = ring.last_turn() > now.plus(Duration::from_secs(LEAST));
        if is_of_later || now.since(ring.last_turn()) >= self.every {
            let turned = ring.turned(random_array()?, now);
            if self.source.replace(Some(&text), &turned.to_text()).await? {
                self.nonces.replace(turned);
            }
        }
        Ok(())
    }
}

/// Why the ring of a source could not be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingFault {
    /// The source is away, or there are no random numbers.
    Away(Fault),
    /// What is there is no ring.
    Broken(keybound::nonce::RingError),
}

impl fmt::Display for RingFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away(fault) => write!(f, "the nonce ring cannot be had: {fault}"),
            Self::Broken(error) => write!(f, "the nonce ring cannot be used: {error}"),
        }
    }
}

impl core::error::Error for RingFault {}

impl From<Fault> for RingFault {
    fn from(fault: Fault) -> Self {
        Self::Away(fault)
    }
}

impl From<keybound::nonce::RingError> for RingFault {
    fn from(error: keybound::nonce::RingError) -> Self {
        Self::Broken(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use keybound::nonce::Role;
    use parking_lot::Mutex;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const HERE: Purpose<'static> = Purpose::new(Role::ResourceServer, "https://api.example.com", 9);
    const LIFE: Duration = Duration::from_secs(300);

    #[derive(Clone, Debug, Default)]
    struct Shelf(Arc<Mutex<Option<String>>>);

    impl RingSource for Shelf {
        async fn load(&self) -> Result<Option<Zeroizing<String>>, Fault> {
            Ok(self.0.lock().clone().map(Zeroizing::new))
        }

        async fn replace(&self, old: Option<&str>, new: &str) -> Result<bool, Fault> {
            let mut there = self.0.lock();
            let is_old = there.as_deref() == old;
            if is_old {
                *there = Some(new.to_owned());
            }
            Ok(is_old)
        }
    }

    async fn keeper(shelf: &Shelf) -> RingKeeper<Shelf> {
        RingKeeper::begin(shelf.clone(), LIFE, Duration::from_secs(3600), NOW).await.unwrap()
    }

    // R-NONCE-14: nodes that look every ten seconds, not all at once, over a day of turns.
    #[tokio::test]
    async fn all_nodes_know_all_nonces_all_the_time() {
        let shelf = Shelf::default();
        let nodes = [keeper(&shelf).await, keeper(&shelf).await, keeper(&shelf).await];
        let mut ids = std::collections::BTreeSet::new();
        for second in 0..86_400_u64 {
            let now = NOW.plus(Duration::from_secs(second));
            let node = &nodes[usize::try_from(second % 3).unwrap()];
            if second % 10 < 3 {
                node.look(now).await.unwrap();
            }
            if second % 60 == 0 || now.since(node.nonces().ring().last_turn()) < Duration::from_secs(12) {
                for maker in &nodes {
                    let nonce = maker.nonces().issue(HERE, now);
                    for judge in &nodes {
                        let verdict = judge.nonces().judge(nonce.as_str(), HERE, now);
                        assert_eq!(verdict, Verdict::Current { issued: now }, "second {second}");
                    }
                }
            }
            ids.insert(node.nonces().ring().current_id());
        }
        assert_eq!(ids.len(), 24, "turned every hour: {ids:?}");
    }

    // Made by a node whose clock is a year ahead.
    #[tokio::test]
    async fn a_ring_of_later_is_turned_at_once_and_from_then_on_in_time() {
        let shelf = Shelf::default();
        let year = NOW.plus(Duration::from_secs(365 * 86_400));
        *shelf.0.lock() = Some(NonceRing::generate([1; 32], [2; 32], year).to_text().to_string());
        let node = keeper(&shelf).await;
        for (seconds, id) in [(0, 2), (3599, 2), (3600, 3)] {
            node.look(NOW.plus(Duration::from_secs(seconds))).await.unwrap();
            assert_eq!(node.nonces().ring().current_id(), id, "{seconds}");
        }
        // Clocks of nodes differ by a little.
        let ahead = keeper(&shelf).await;
        ahead.look(NOW.plus(Duration::from_secs(7205))).await.unwrap();
        node.look(NOW.plus(Duration::from_secs(7200))).await.unwrap();
        assert_eq!(node.nonces().ring().current_id(), 4);
    }

    #[tokio::test]
    async fn one_of_several_makes_the_ring_and_one_turns_it() {
        let shelf = Shelf::default();
        let nodes = [keeper(&shelf).await, keeper(&shelf).await];
        assert_eq!(nodes[0].nonces().ring().to_text(), nodes[1].nonces().ring().to_text());
        let later = NOW.plus(Duration::from_secs(3600));
        for node in &nodes {
            node.look(later).await.unwrap();
        }
        assert!(nodes.iter().all(|node| node.nonces().ring().current_id() == 2));
        // It is put back where somebody took it away.
        *shelf.0.lock() = None;
        nodes[0].look(later).await.unwrap();
        assert_eq!(shelf.0.lock().as_deref(), Some(&**nodes[0].nonces().ring().to_text()));
        *shelf.0.lock() = Some("{}".to_owned());
        assert!(matches!(nodes[0].look(later).await, Err(RingFault::Broken(_))));
        assert_eq!(nodes[0].nonces().ring().current_id(), 2, "the one before stays in force");
    }
}
