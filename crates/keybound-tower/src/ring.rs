//! Nonce keys that change while nonces are made, and where several nodes have them from.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::Instant;

use arc_swap::ArcSwap;
use keybound::crypto::aws_lc::random_array;
use keybound::nonce::{Nonce, NonceRing, NonceSource, Purpose, Verdict};
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use parking_lot::Mutex;
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
///
/// Clocks of nodes may differ by any amount: a node that has seen a turn does not turn before `every` has passed since by a clock that
/// nobody sets. One that has just begun goes by what the ring says.
#[derive(Debug)]
pub struct RingKeeper<R> {
    source: R,
    nonces: RingNonces,
    every: Duration,
    turn_seen: Mutex<Option<Instant>>,
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
        Ok(Self { source, nonces: RingNonces::new(ring).lives(lifetime), every, turn_seen: Mutex::default() })
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
        self.look_at(now, Instant::now()).await
    }

    async fn look_at(&self, now: UnixTime, tick: Instant) -> Result<(), RingFault> {
        let Some(text) = self.source.load().await? else {
            // Somebody has taken it away. This one is as good as a new one, and known.
            self.source.replace(None, &self.nonces.ring().to_text()).await?;
            return Ok(());
        };
        let ring = NonceRing::parse(&text)?;
        // What is in force from now on is known to all who have looked since the turn before.
        self.take_over(ring.clone(), tick);
        if self.is_due(&ring, now, tick) {
            let turned = ring.turned(random_array()?, now);
            if self.source.replace(Some(&text), &turned.to_text()).await? {
                self.take_over(turned, tick);
            }
        }
        Ok(())
    }

    fn take_over(&self, ring: NonceRing, tick: Instant) {
        let turn = |ring: &NonceRing| (ring.current_id(), ring.last_turn());
        if turn(&ring) != turn(&self.nonces.ring()) {
            *self.turn_seen.lock() = Some(tick);
        }
        self.nonces.replace(ring);
    }

    fn is_due(&self, ring: &NonceRing, now: UnixTime, tick: Instant) -> bool {
        // Two nodes, each of whose clocks finds the turn of the other wrong, would turn in turns.
        if self.turn_seen.lock().is_some_and(|seen| tick.saturating_duration_since(seen) < self.every) {
            return false;
        }
        // One from so far ahead was made by a clock that was wrong, and would stay for as long as that was.
        let is_of_later = ring.last_turn() > now.plus(Duration::from_secs(LEAST));
        is_of_later || now.since(ring.last_turn()) >= self.every
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

    /// A node whose clock is so much ahead.
    struct Node {
        keeper: RingKeeper<Shelf>,
        ahead: Duration,
        start: Instant,
    }

    impl Node {
        async fn begin(shelf: &Shelf, start: Instant, ahead: u64) -> Self {
            let ahead = Duration::from_secs(ahead);
            let keeper = RingKeeper::begin(shelf.clone(), LIFE, Duration::from_secs(3600), NOW.plus(ahead));
            Self { keeper: keeper.await.unwrap(), ahead, start }
        }

        async fn try_look(&self, second: u64) -> Result<(), RingFault> {
            let after = Duration::from_secs(second);
            self.keeper.look_at(NOW.plus(self.ahead + after), self.start + after).await
        }

        async fn look(&self, second: u64) {
            self.try_look(second).await.unwrap();
        }

        fn nonces(&self) -> &RingNonces {
            self.keeper.nonces()
        }

        fn id(&self) -> u8 {
            self.nonces().ring().current_id()
        }
    }

    // R-NONCE-14: nodes that look every ten seconds, not all at once, over a day of turns.
    #[tokio::test]
    async fn all_nodes_know_all_nonces_all_the_time() {
        let (shelf, start) = (Shelf::default(), Instant::now());
        let begin = || Node::begin(&shelf, start, 0);
        let nodes = [begin().await, begin().await, begin().await];
        let mut ids = std::collections::BTreeSet::new();
        for second in 0..86_400_u64 {
            let now = NOW.plus(Duration::from_secs(second));
            let node = &nodes[usize::try_from(second % 3).unwrap()];
            if second % 10 < 3 {
                node.look(second).await;
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
            ids.insert(node.id());
        }
        assert_eq!(ids.len(), 24, "turned every hour: {ids:?}");
    }

    // Each finds what the other has done wrong, at every look.
    #[tokio::test]
    async fn nodes_whose_clocks_differ_turn_no_more_often_than_one() {
        for ahead in [61, 1800, 3600, 7200, 365 * 86_400] {
            let (shelf, start) = (Shelf::default(), Instant::now());
            let nodes = [Node::begin(&shelf, start, 0).await, Node::begin(&shelf, start, ahead).await];
            let (mut turns, mut id) = (Vec::new(), nodes[0].id());
            for second in 0..86_400_u64 {
                nodes[usize::try_from(second % 2).unwrap()].look(second).await;
                let there = nodes[usize::try_from(second % 2).unwrap()].id();
                if there != id {
                    turns.push(second);
                    id = there;
                }
            }
            assert!(turns.windows(2).all(|pair| pair[1] - pair[0] >= 3600), "{ahead} s ahead: {turns:?}");
            assert!(turns.len() >= 23, "{ahead} s ahead: {turns:?}");
        }
    }

    // Made by a node whose clock is a year ahead.
    #[tokio::test]
    async fn a_ring_of_later_is_turned_at_once_and_from_then_on_in_time() {
        let (shelf, start) = (Shelf::default(), Instant::now());
        let year = NOW.plus(Duration::from_secs(365 * 86_400));
        *shelf.0.lock() = Some(NonceRing::generate([1; 32], [2; 32], year).to_text().to_string());
        let node = Node::begin(&shelf, start, 0).await;
        for (second, id) in [(0, 2), (3599, 2), (3600, 3)] {
            node.look(second).await;
            assert_eq!(node.id(), id, "{second}");
        }
        // Clocks of nodes differ by a little.
        let ahead = Node::begin(&shelf, start, 5).await;
        ahead.look(7200).await;
        node.look(7200).await;
        assert_eq!(node.id(), 4);
    }

    #[tokio::test]
    async fn one_of_several_makes_the_ring_and_one_turns_it() {
        let (shelf, start) = (Shelf::default(), Instant::now());
        let nodes = [Node::begin(&shelf, start, 0).await, Node::begin(&shelf, start, 0).await];
        assert_eq!(nodes[0].nonces().ring().to_text(), nodes[1].nonces().ring().to_text());
        for node in &nodes {
            node.look(3600).await;
        }
        assert!(nodes.iter().all(|node| node.id() == 2));
        // It is put back where somebody took it away.
        *shelf.0.lock() = None;
        nodes[0].look(3600).await;
        assert_eq!(shelf.0.lock().as_deref(), Some(&**nodes[0].nonces().ring().to_text()));
        *shelf.0.lock() = Some("{}".to_owned());
        assert!(matches!(nodes[0].try_look(3600).await, Err(RingFault::Broken(_))));
        assert_eq!(nodes[0].id(), 2, "the one before stays in force");
    }
}
