//! Keys in the store: made there once for all replicas, sealed, followed by one another, erased.
//!
//! The schedule is one record, which every change replaces under the version that was read: so of two replicas that find a key due
//! at once, one makes it. It is sealed as well, or whoever writes to the database could publish a key of theirs. Each private key is
//! a record of its own, sealed under its own name, and deleted once nobody signs with it any more.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::{Arc, mpsc};

use keybound::crypto::aws_lc::{KeyError, SoftwareKey};
use keybound::crypto::{Alg, Signer as _};
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};

use super::error::KeysError;
use super::ring::{MOST, Policy, Ring, Slot};
use super::seal::{Sealed, SealingKeys, Unsealable};
use super::stored::{StoredKey, listed};
use super::{Hand, KeySettings, Keys, Shared};
use crate::Clock;
use crate::audit::{Audit, Entry, Event};
use crate::store::{Change, Kind, NEVER, Record, Store, Written};

/// How often a replica looks at the schedule, and with that learns what others did.
const POLL: Duration = Duration::from_secs(10);

/// How often a change is tried that another one got in the way of.
const TRIES: usize = 8;

/// The name of the one schedule of a store.
const RING: &str = "ring";

/// Where keys are kept.
#[derive(Clone)]
pub(super) struct Kept {
    store: Arc<dyn Store>,
    sealing: SealingKeys,
    policy: Policy,
    clock: Clock,
    turning: Arc<tokio::sync::Mutex<()>>,
    audit: Option<Audit>,
}

/// Who changes the schedule, and which key is taken out at once.
#[derive(Clone, Copy, Debug)]
struct Cause<'c> {
    by: Option<&'static str>,
    revoked: Option<&'c str>,
}

impl Cause<'_> {
    /// Time has gone by.
    const SCHEDULE: Self = Self { by: Some("schedule"), revoked: None };
}

/// A private key as it is stored.
#[derive(Deserialize, Serialize)]
struct Row {
    sealed: Sealed,
}

/// The schedule as it is stored.
#[derive(Deserialize, Serialize)]
struct Schedule {
    ring: Box<str>,
    seal: Sealed,
}

/// A schedule with who signs, as of when it was read.
type Settled = (Ring, HashMap<Box<str>, Hand>, UnixTime);

impl Keys {
    /// The keys of a store, which makes the first ones if it has none. They are brought up to date by [`Keys::tend`], which has to be
    /// called every few seconds: [`Keys::start`] sees to that.
    ///
    /// # Errors
    ///
    /// [`KeysError`]: what is in the store does not open, for example. Nothing was changed then.
    pub async fn open(
        store: Arc<dyn Store>,
        sealing: SealingKeys,
        settings: &KeySettings,
        clock: Clock,
    ) -> Result<Self, KeysError> {
        Self::open_noted(store, sealing, settings, clock, None).await
    }

    async fn open_noted(
        store: Arc<dyn Store>,
        sealing: SealingKeys,
        settings: &KeySettings,
        clock: Clock,
        audit: Option<Audit>,
    ) -> Result<Self, KeysError> {
        settings.check().map_err(|error| KeysError::new(&error))?;
        let kept = Kept { store, sealing, policy: settings.policy(), clock, turning: Arc::default(), audit };
        let start = |ring: &mut Ring, now| ring.adopt(&kept.policy, now);
        let (ring, signers, known) = kept.settle(HashMap::new(), &start, Cause::SCHEDULE).await?;
        Ok(Self(Arc::new(Shared::new(ring, signers, Some(known), Vec::new(), Some(kept)))))
    }

    /// As [`Keys::open`], on a thread of its own that goes on looking after them until the last clone is dropped. `sealing` is asked
    /// there for what they are sealed under, and told whether the store has keys already; it may block. What is done to keys is noted in
    /// `audit`, in the write that does it.
    ///
    /// # Errors
    ///
    /// [`KeysError`].
    pub fn start(
        store: Arc<dyn Store>,
        sealing: impl FnOnce(bool) -> Result<SealingKeys, String> + Send + 'static,
        settings: &KeySettings,
        clock: Clock,
        audit: Option<Audit>,
    ) -> Result<Self, KeysError> {
        let (ready, opened) = mpsc::channel();
        let settings = settings.clone();
        let begin = async move {
            let there = store.read(Kind::KEY_RING, RING, clock.now()).await.map_err(KeysError::of_store)?.is_some();
            let sealing = sealing(there).map_err(|error| KeysError::new(&error))?;
            Self::open_noted(store, sealing, &settings, clock, audit).await
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let runtime = runtime.map_err(|error| KeysError::new(&error))?;
        let run = move || {
            runtime.block_on(async move {
                let keys = begin.await;
                let shared = keys.as_ref().map(|keys| Arc::downgrade(&keys.0)).ok();
                // Whoever asked waits for it.
                drop(ready.send(keys));
                let Some(shared) = shared else { return };
                loop {
                    tokio::time::sleep(POLL).await;
                    let Some(shared) = shared.upgrade() else { return };
                    if let Err(error) = Self(shared).tend().await {
                        tracing::error!(%error, "the schedule of signing keys could not be read");
                    }
                }
            });
        };
        let thread = std::thread::Builder::new().name("keybound-keys".to_owned());
        thread.spawn(run).map_err(|error| KeysError::new(&error))?;
        opened.recv().map_err(|_| KeysError::new(&"the thread that looks after them ended"))?
    }

    /// Does what is due: makes the next key, erases one that is over, learns what other replicas did. Nothing for keys that are in no
    /// store.
    ///
    /// # Errors
    ///
    /// [`KeysError`]; the keys are as they were. After five minutes of that nothing is signed, for others may have gone on.
    pub async fn tend(&self) -> Result<(), KeysError> {
        self.change(Cause::SCHEDULE, |_, _| ()).await
    }

    /// Has the next key sign: at once, if it has been published for long enough. For keys in a store.
    ///
    /// # Errors
    ///
    /// [`KeysError`].
    pub async fn rotate(&self) -> Result<(), KeysError> {
        self.rotate_by(None).await
    }

    pub(crate) async fn rotate_by(&self, by: Option<&'static str>) -> Result<(), KeysError> {
        self.kept()?;
        if self.0.now.load().ring.keys().len() + 2 > MOST {
            return Err(KeysError::refused("there are too many keys whose tokens have not expired; wait for that"));
        }
        self.change(Cause { by, revoked: None }, |ring, now| ring.rotate(now)).await
    }

    /// Takes this key out at once, whatever it signed: verifiers refuse that as soon as they look at the set again. If it is the one
    /// that signs, the next one takes over. For keys in a store.
    ///
    /// # Errors
    ///
    /// [`KeysError`]: there is no such key, for example.
    pub async fn revoke(&self, kid: &str) -> Result<(), KeysError> {
        self.revoke_by(kid, None).await
    }

    pub(crate) async fn revoke_by(&self, kid: &str, by: Option<&'static str>) -> Result<(), KeysError> {
        self.kept()?;
        self.tend().await?;
        if self.0.now.load().ring.keys().iter().all(|key| *key.kid != *kid) {
            return Err(KeysError::unknown());
        }
        self.change(Cause { by, revoked: Some(kid) }, |ring, now| {
            ring.revoke(kid, now);
        })
        .await
    }

    /// What keys there are, in the order in which they sign.
    pub fn list(&self, now: UnixTime) -> Vec<StoredKey> {
        listed(&self.0.now.load().ring, now)
    }

    /// What keys a store has as they are: nothing is made or changed, and of a store that has none `sealing` is not asked for.
    ///
    /// # Errors
    ///
    /// [`KeysError`].
    pub async fn stored(
        store: Arc<dyn Store>,
        sealing: impl FnOnce() -> Result<SealingKeys, String>,
        settings: &KeySettings,
        clock: Clock,
    ) -> Result<Vec<StoredKey>, KeysError> {
        let now = clock.now();
        let record = store.read(Kind::KEY_RING, RING, now).await.map_err(KeysError::of_store)?;
        let Some(record) = record else { return Ok(Vec::new()) };
        let sealing = sealing().map_err(|error| KeysError::new(&error))?;
        let kept = Kept { store, sealing, policy: settings.policy(), clock, turning: Arc::default(), audit: None };
        Ok(listed(&kept.open_ring(&record)?.0, now))
    }

    /// Whether keys stay published until tokens of this life have expired.
    pub(crate) fn outlast(&self, lifetime: Duration) -> bool {
        self.0.kept.as_ref().is_none_or(|kept| kept.policy.lifetime >= lifetime.as_secs())
    }

    fn kept(&self) -> Result<&Kept, KeysError> {
        self.0.kept.as_ref().ok_or_else(|| KeysError::refused("the key is in no store: whoever has it looks after it"))
    }

    async fn change(
        &self,
        cause: Cause<'_>,
        edit: impl Fn(&mut Ring, UnixTime) + Send + Sync,
    ) -> Result<(), KeysError> {
        let Some(kept) = &self.0.kept else { return Ok(()) };
        let _one_at_a_time = kept.turning.lock().await;
        let signers = self.0.now.load().signers.clone();
        let (ring, signers, known) = kept.settle(signers, &edit, cause).await?;
        self.0.install(ring, signers, Some(known));
        Ok(())
    }
}

impl Kept {
    /// Reads the schedule, changes it and does what is due; whoever else changes it meanwhile goes first.
    async fn settle(
        &self,
        mut signers: HashMap<Box<str>, Hand>,
        edit: &(dyn Fn(&mut Ring, UnixTime) + Send + Sync),
        cause: Cause<'_>,
    ) -> Result<Settled, KeysError> {
        for _ in 0..TRIES {
            // Before it is read: what is known is as of then.
            let now = self.clock.now();
            let record = self.store.read(Kind::KEY_RING, RING, now).await.map_err(KeysError::of_store)?;
            let (found, resealing) = match &record {
                Some(record) => self.open_ring(record)?,
                None => (self.first(now).await?, false),
            };
            // All that signs opens, or nothing is changed.
            if !self.load(&found, &mut signers, now).await? {
                continue;
            }
            let (mut ring, mut made) = (found.clone(), Vec::new());
            edit(&mut ring, now);
            let turned = ring.turn(&self.policy, now, |alg| {
                let key = SoftwareKey::generate(alg)?;
                let jwk = key.public_jwk().clone();
                made.push(key);
                Ok(jwk)
            });
            turned.map_err(|error: KeyError| KeysError::new(&error))?;
            if ring == found && record.is_some() && !resealing {
                return Ok((ring, signers, now));
            }
            let mut changes = vec![self.seal_ring(&ring, record.as_ref())?];
            changes.extend(erased(&found, &ring));
            if resealing {
                changes.extend(self.reseal(&found, &ring, now).await?);
            }
            for key in &made {
                changes.push(self.seal_key(&key.thumbprint().to_string(), key.alg(), &key.to_private_jwk()?)?);
            }
            let entries = entries(&found, &ring, cause, now);
            changes.extend(entries.iter().filter_map(|entry| self.audit.as_ref()?.change(entry)));
            match self.store.write(changes, now).await.map_err(KeysError::of_store)? {
                Written::Done => {
                    tell(&found, &ring);
                    if let Some(audit) = &self.audit {
                        for entry in &entries {
                            audit.tell(entry).await;
                        }
                    }
                    let hand = |key| Hand::new(key, false);
                    signers.extend(made.into_iter().map(hand).map(|hand| (hand.kid(), hand)));
                    return Ok((ring, signers, now));
                }
                Written::Conflict(_) => {}
            }
        }
        Err(KeysError::new(&"the schedule of signing keys changes all the time, or a private key of it is missing"))
    }

    /// The schedule of a store that has none; keys without one are a sign of something else.
    async fn first(&self, now: UnixTime) -> Result<Ring, KeysError> {
        let orphans = self.store.list(Kind::KEY, "", 1, now).await.map_err(KeysError::of_store)?;
        if orphans.is_empty() {
            return Ok(Ring::new(&self.policy));
        }
        Err(KeysError::new(&"the store has signing keys and lacks their schedule: restore it from a backup"))
    }

    fn open_ring(&self, record: &Record) -> Result<(Ring, bool), KeysError> {
        let damaged = |_| KeysError::damaged("the schedule of signing keys");
        let schedule: Schedule = serde_json::from_str(&record.body).map_err(damaged)?;
        let opened = self.sealing.open(&name_of_ring(&schedule.ring), &schedule.seal);
        opened.map_err(|why| self.unsealable("the schedule of signing keys", why))?;
        let ring = serde_json::from_str(&schedule.ring).map_err(damaged)?;
        Ok((ring, !self.sealing.is_of_first(&schedule.seal)))
    }

    fn seal_ring(&self, ring: &Ring, before: Option<&Record>) -> Result<Change, KeysError> {
        let ring: Box<str> = json(ring)?;
        let seal = self.sealing.seal(&name_of_ring(&ring), b"")?;
        let body = json(&Schedule { ring, seal })?;
        let (kind, id, expires) = (Kind::KEY_RING, RING.into(), NEVER);
        Ok(match before {
            Some(Record { version, .. }) => Change::Replace { kind, id, version: *version, expires, body },
            None => Change::Insert { kind, id, family: "".into(), expires, body },
        })
    }

    fn seal_key(&self, kid: &str, alg: Alg, text: &str) -> Result<Change, KeysError> {
        let body = json(&Row { sealed: self.sealing.seal(&name_of_key(kid, alg), text.as_bytes())? })?;
        Ok(Change::Insert { kind: Kind::KEY, id: kid.into(), family: "".into(), expires: NEVER, body })
    }

    /// Reads the private keys that are not at hand; whether all are there. One that is not was erased by another replica meanwhile,
    /// as a rule.
    async fn load(&self, ring: &Ring, signers: &mut HashMap<Box<str>, Hand>, now: UnixTime) -> Result<bool, KeysError> {
        for slot in ring.keys().iter().filter(|slot| slot.is_kept) {
            if signers.contains_key(&slot.kid) {
                continue;
            }
            let Some(text) = self.private(slot, now).await? else { return Ok(false) };
            let key = SoftwareKey::from_jwk(&text).and_then(|key| key.with_alg(slot.alg))?;
            if key.thumbprint() != slot.jwk.thumbprint() {
                return Err(KeysError::damaged(&format!("the signing key {}", slot.kid)));
            }
            signers.insert(slot.kid.clone(), Hand::new(key, false));
        }
        Ok(true)
    }

    async fn private(&self, slot: &Slot, now: UnixTime) -> Result<Option<zeroize::Zeroizing<Vec<u8>>>, KeysError> {
        let what = || format!("the signing key {}", slot.kid);
        let record = self.store.read(Kind::KEY, &slot.kid, now).await.map_err(KeysError::of_store)?;
        let Some(record) = record else { return Ok(None) };
        let row: Row = serde_json::from_str(&record.body).map_err(|_| KeysError::damaged(&what()))?;
        let opened = self.sealing.open(&name_of_key(&slot.kid, slot.alg), &row.sealed);
        opened.map(Some).map_err(|why| self.unsealable(&what(), why))
    }

    /// The private keys that stay, under the sealing key that seals now.
    async fn reseal(&self, found: &Ring, ring: &Ring, now: UnixTime) -> Result<Vec<Change>, KeysError> {
        let mut changes = Vec::new();
        for slot in found.keys().iter().filter(|slot| slot.is_kept && ring.keeps(&slot.kid)) {
            if let Some(text) = self.private(slot, now).await? {
                let text = std::str::from_utf8(&text).map_err(|_| KeysError::damaged("a signing key"))?;
                changes.push(Change::Take { kind: Kind::KEY, id: slot.kid.clone() });
                changes.push(self.seal_key(&slot.kid, slot.alg, text)?);
            }
        }
        tracing::info!(by = self.sealing.name(), "the signing keys are sealed anew");
        Ok(changes)
    }

    fn unsealable(&self, what: &str, why: Unsealable) -> KeysError {
        match why {
            Unsealable::Changed => KeysError::damaged(what),
            Unsealable::OtherKey(by) => KeysError::new(&format_args!(
                "{what} was sealed under another key, {by}; the one that is set is {}. Nothing was changed: set the other one, or both, \
                 the new one first",
                self.sealing.name()
            )),
        }
    }
}

/// A schedule is its own name: it is sealed so that nobody else can write it, not to be hidden.
const fn name_of_ring(text: &str) -> [&str; 2] {
    ["keybound key ring 1", text]
}

const fn name_of_key(kid: &str, alg: Alg) -> [&str; 3] {
    ["keybound signing key 1", kid, alg.name()]
}

/// The private keys that are of no use any more.
fn erased(before: &Ring, after: &Ring) -> Vec<Change> {
    let over = before.keys().iter().filter(|slot| slot.is_kept && !after.keeps(&slot.kid));
    over.map(|slot| Change::Delete { kind: Kind::KEY, id: slot.kid.clone() }).collect()
}

fn tell(before: &Ring, after: &Ring) {
    let has = |ring: &Ring, kid: &str| ring.keys().iter().any(|key| *key.kid == *kid);
    for key in after.keys().iter().filter(|key| !has(before, &key.kid)) {
        tracing::info!(kid = &*key.kid, alg = %key.alg, from = key.from, "a signing key was made");
    }
    for key in before.keys().iter().filter(|key| !has(after, &key.kid)) {
        tracing::info!(kid = &*key.kid, "a signing key was taken out");
    }
}

/// What is different: who was made, who signs sooner, who went.
fn entries(before: &Ring, after: &Ring, cause: Cause<'_>, now: UnixTime) -> Vec<Entry> {
    let find = |ring: &Ring, kid: &str| ring.keys().iter().find(|key| *key.kid == *kid).map(|key| key.from);
    let entry = |event, key: &Slot| Entry { by: cause.by.map(Box::from), ..Entry::new(event, now).kid(&key.kid) };
    let came = after.keys().iter().filter_map(|key| match find(before, &key.kid) {
        None => Some(entry(Event::KeyMade, key)),
        Some(from) => (key.from < from).then(|| entry(Event::KeyRotated, key)),
    });
    let went = before.keys().iter().filter(|key| find(after, &key.kid).is_none()).map(|key| {
        let is_revoked = cause.revoked == Some(&*key.kid);
        entry(if is_revoked { Event::KeyRevoked } else { Event::KeyGone }, key)
    });
    went.chain(came).collect()
}

fn json(value: &impl Serialize) -> Result<Box<str>, KeysError> {
    serde_json::to_string(value).map(Into::into).map_err(|error| KeysError::new(&error))
}
