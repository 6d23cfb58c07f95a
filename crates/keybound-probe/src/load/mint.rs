//! Proofs, signed ahead. Signers fill a shelf of bounded length and keep it fresh; workers take from it.
//!
//! A proof has the nonce that was the newest when it was signed. A newer one from the server is used from then on, and the
//! proofs on the shelf stay: a server accepts more than its last nonce. When it refuses one, all of that time are thrown away.

use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::collections::VecDeque;
use std::time::{Duration, Instant, SystemTime};

use http::{HeaderMap, Method};
use keybound::client::ServerMemory;
use keybound::crypto::SigningFailed;
use keybound::nonce::Role;
use keybound::request::TargetUri;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use super::caller::{Caller, Signed};

/// How many proofs are put on the shelf at once, so that its lock is taken seldom.
const BATCH: usize = 32;

/// How many batches the shelf holds: about 4 MiB, and more than a tenth of a second at the pace of one signer.
const SHELF: usize = 128;

/// Proofs on the shelf are replaced at this age, so that a slow pace does not send old ones.
const STALE: Duration = Duration::from_secs(5);

/// No proof is sent at this age: the narrowest windows in use are a minute.
const SPOILT: Duration = Duration::from_secs(10);

/// How often signers look at the age of the shelf.
const LOOK: Duration = Duration::from_millis(250);

/// Proofs signed one after the other.
pub(crate) struct Batch {
    pub(crate) proofs: VecDeque<Signed>,
    /// Which demand for a nonce they come after.
    pub(crate) generation: u64,
    signed: Instant,
}

impl Batch {
    fn is_older(&self, age: Duration) -> bool {
        self.signed.elapsed() >= age
    }
}

pub(crate) struct Mint {
    callers: Vec<Caller>,
    method: Method,
    target: TargetUri,
    servers: ServerMemory,
    turn: AtomicUsize,
    /// That of the shelf, for those who do not want its lock.
    generation: AtomicU64,
    shelf: Mutex<Shelf>,
    /// Tells signers that there is room.
    room: Condvar,
    /// Tells workers that there are proofs, or will be none.
    filled: Notify,
    closed: AtomicBool,
}

#[derive(Default)]
struct Shelf {
    batches: VecDeque<Batch>,
    /// Batches that are being signed.
    coming: usize,
    generation: u64,
    failure: Option<SigningFailed>,
}

impl Mint {
    /// For requests of these callers, who take turns.
    pub(crate) fn new(callers: Vec<Caller>, method: Method, target: TargetUri) -> Self {
        Self {
            callers,
            method,
            target,
            servers: ServerMemory::new(),
            turn: AtomicUsize::new(0),
            generation: AtomicU64::new(0),
            shelf: Mutex::default(),
            room: Condvar::new(),
            filled: Notify::new(),
            closed: AtomicBool::new(false),
        }
    }

    /// The work of one signer, until the mint is closed.
    pub(crate) fn work(&self) {
        while let Some(generation) = self.wanted() {
            let batch = self.batch(generation);
            let mut shelf = self.shelf.lock();
            shelf.coming -= 1;
            match batch {
                Ok(batch) if batch.generation == shelf.generation => shelf.batches.push_back(batch),
                Ok(_) => continue,
                Err(failure) => {
                    shelf.failure = Some(failure);
                    drop(shelf);
                    return self.close();
                }
            }
            drop(shelf);
            self.filled.notify_one();
        }
    }

    /// Waits until a batch is wanted.
    fn wanted(&self) -> Option<u64> {
        let mut shelf = self.shelf.lock();
        while !self.closed.load(Relaxed) {
            while shelf.batches.front().is_some_and(|batch| batch.is_older(STALE)) {
                shelf.batches.pop_front();
            }
            if shelf.batches.len() + shelf.coming < SHELF {
                shelf.coming += 1;
                return Some(shelf.generation);
            }
            self.room.wait_for(&mut shelf, LOOK);
        }
        None
    }

    fn batch(&self, generation: u64) -> Result<Batch, SigningFailed> {
        let origin = self.target.origin();
        let nonce = self.servers.newest(origin, Role::ResourceServer);
        let now = self.servers.time_at(origin, SystemTime::now().into());
        let first = self.turn.fetch_add(BATCH, Relaxed);
        let sign = |number: usize| {
            let caller = &self.callers[number % self.callers.len()];
            caller.sign(&self.method, &self.target, nonce.as_ref(), now)
        };
        let proofs = (0..BATCH).map(|number| sign(first.wrapping_add(number))).collect::<Result<_, _>>()?;
        Ok(Batch { proofs, generation, signed: Instant::now() })
    }

    /// The oldest batch, as soon as there is one; `None` if there will be none.
    pub(crate) async fn take(&self) -> Option<Batch> {
        loop {
            if let Some(batch) = self.try_take() {
                return Some(batch);
            }
            if self.closed.load(Relaxed) {
                // Others wait as well, and one of them is told at a time.
                self.filled.notify_one();
                return None;
            }
            self.filled.notified().await;
        }
    }

    fn try_take(&self) -> Option<Batch> {
        let mut shelf = self.shelf.lock();
        let batch = shelf.batches.pop_front()?;
        let more = !shelf.batches.is_empty();
        drop(shelf);
        self.room.notify_one();
        if more {
            // Somebody may have missed that it came.
            self.filled.notify_one();
        }
        Some(batch)
    }

    /// Whether proofs of this batch can still be sent.
    pub(crate) fn is_good(&self, batch: &Batch) -> bool {
        batch.generation == self.generation.load(Relaxed) && !batch.is_older(SPOILT)
    }

    /// Keeps what a response says about nonces and the clock.
    pub(crate) fn learn(&self, fields: &HeaderMap) {
        let now = SystemTime::now().into();
        self.servers.learn(self.target.origin(), Role::ResourceServer, fields, now);
    }

    /// A proof of this generation was refused for its nonce: whatever was signed before is thrown away.
    pub(crate) fn renew(&self, refused: u64) {
        let mut shelf = self.shelf.lock();
        if shelf.generation == refused {
            shelf.generation += 1;
            self.generation.store(shelf.generation, Relaxed);
            shelf.batches.clear();
            drop(shelf);
            self.room.notify_all();
        }
    }

    /// Signers end, and who waits gets nothing.
    pub(crate) fn close(&self) {
        self.closed.store(true, Relaxed);
        self.room.notify_all();
        self.filled.notify_one();
    }

    /// Why there are no more proofs, if it was for the key.
    pub(crate) fn failure(&self) -> Option<SigningFailed> {
        self.shelf.lock().failure.clone()
    }
}
