//! What to remember of an accepted proof and until when; the trait of a store, and one in memory. This crate never calls
//! a store by itself: whoever admits a request does, last of all.

use core::fmt;
use core::future::Future;

use crate::jwk::Thumbprint;
use crate::refusal::Fault;
use crate::time::UnixTime;

pub mod memory;
#[cfg(any(test, feature = "store-suite"))]
pub mod suite;

pub use memory::MemoryStore;

/// One unbroken life of a replay store, and when it began.
///
/// A store has a new epoch whenever it opens or may have forgotten. A proof that might have been accepted under an earlier
/// epoch is not accepted under a later one: see [`Verifier`](crate::verify::Verifier).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Epoch {
    id: u64,
    opened: UnixTime,
}

impl Epoch {
    /// The epoch with this random identifier, which began at `opened`.
    pub const fn new(id: u64, opened: UnixTime) -> Self {
        Self { id, opened }
    }

    /// An epoch in which a nonce of it is all that counts: its barrier stands as long as it lasts. For a memory beside which
    /// others accept proofs that it does not know of.
    pub const fn of_nonces_alone(id: u64) -> Self {
        Self { id, opened: UnixTime::MAX }
    }

    /// The same epoch, whose barrier is counted from `barrier` if that is later than its beginning.
    #[must_use]
    pub fn raised(self, barrier: UnixTime) -> Self {
        Self { opened: self.opened.max(barrier), ..self }
    }

    /// 64 random bits. Two epochs with the same ones are the same epoch.
    pub const fn id(self) -> u64 {
        self.id
    }

    /// When it began, by the clock of the one who opened it; never, if nonces alone count in it.
    pub const fn opened(self) -> UnixTime {
        self.opened
    }
}

/// What a store keeps of one proof: never the text that was sent, whose length is the sender's to choose.
#[derive(Clone, Copy)]
pub struct ReplayEntry<'p> {
    pub(crate) jkt: Thumbprint,
    pub(crate) jti: &'p str,
    pub(crate) htu: &'p str,
    pub(crate) epoch: Epoch,
    pub(crate) expires: UnixTime,
}

impl<'p> ReplayEntry<'p> {
    /// An entry for a proof that was verified elsewhere. `htu` is in normal form; `expires` is the last second in which the
    /// proof could be accepted, and the allowance for skew.
    pub const fn new(jkt: Thumbprint, jti: &'p str, htu: &'p str, epoch: Epoch, expires: UnixTime) -> Self {
        Self { jkt, jti, htu, epoch, expires }
    }

    /// The key that signed; quotas count by it.
    pub const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// The epoch under which the proof was judged.
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Until when, this second included, the entry must be kept (R-SEC-03).
    pub const fn expires(&self) -> UnixTime {
        self.expires
    }

    /// Hands the octets to digest to `write`: `jkt`, `jti` and the normal form of `htu`, each text behind its length, so
    /// that no two entries run together (R-SEC-04).
    pub fn digest_input(&self, mut write: impl FnMut(&[u8])) {
        write(self.jkt.as_bytes());
        for text in [self.jti, self.htu] {
            write(&u64::try_from(text.len()).unwrap_or(u64::MAX).to_be_bytes());
            write(text.as_bytes());
        }
    }
}

impl fmt::Debug for ReplayEntry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayEntry").field("jkt", &self.jkt).field("expires", &self.expires).finish_non_exhaustive()
    }
}

/// What a store says of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Seen {
    /// It was not there, and now it is. One caller is told so, ever.
    Never,
    /// It was there already.
    Before,
    /// The epoch under which the proof was judged is over; nothing was written.
    Forgotten,
    /// Its key has as many live entries as it may have; nothing was written.
    OverQuota {
        /// In how many seconds the oldest of them goes.
        retry_after: u32,
    },
}

/// Remembers proofs.
///
/// `record` is one atomic step: of two equal entries at once, one is told [`Seen::Never`] (R-SEC-02). An entry is kept at
/// least until the end of its `expires` second. A store that is full answers [`Fault::ReplayFull`]; it never drops a live
/// entry to make room. `Before` for an unseen proof costs its client one refusal; `Never` for a seen one lets an attacker in.
pub trait ReplayStore: Send + Sync + fmt::Debug {
    /// The epoch in force. Judge a proof under it and hand it back in the entry.
    fn epoch(&self) -> Epoch;

    /// Inserts the entry if it is absent and the epoch is still the one in it.
    fn record(&self, entry: &ReplayEntry<'_>, now: UnixTime) -> impl Future<Output = Result<Seen, Fault>> + Send;
}
