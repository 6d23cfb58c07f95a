//! Which key signs when, and how long each is published: a schedule, with no private key in it.
//!
//! ```text
//!            made        from                    until                                  gone
//!              |  next    |  signs                 |  retired: its tokens are about       |
//!              |  ... published ................................................ published |
//! ```
//!
//! A key's `until` is the next one's `from`. There is always a next one, made when its predecessor begins to sign: so whoever takes
//! over, on schedule or because a key was revoked, has been in every key set that a verifier may still hold.

use core::time::Duration;

use keybound::crypto::Alg;
use keybound::jwk::PublicJwk;
use keybound::time::UnixTime;
use serde::{Deserialize, Serialize};

/// The clocks of two replicas, or of one before and after, differ by so many seconds from the true time at most.
pub(super) const SKEW: u64 = 60;

/// What a store may take until a write that was begun is there, in seconds.
const WRITING: u64 = 30;

/// A replica that has not read the schedule for so many seconds signs no more.
pub(super) const STALE: u64 = 300;

/// From the moment a replica stops to sign with a key until nobody does, in seconds.
const SETTLED: u64 = 2 * SKEW + STALE;

/// More keys are never published at once: verifiers refuse sets that are too long.
pub(super) const MOST: usize = 32;

/// What a schedule follows, in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Policy {
    pub(super) alg: Alg,
    /// How long a key signs.
    pub(super) every: u64,
    /// How long it is published before.
    pub(super) lead: u64,
    /// How long what it signed is good for.
    pub(super) lifetime: u64,
}

/// The schedule, as all replicas share it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ring {
    /// Of the next key that is made. The replica that started last has the word, or two would undo each other's.
    #[serde(with = "alg_by_name")]
    alg: Alg,
    /// No key signs sooner after it was made: what key sets may be kept by. Also of the replica that started last.
    lead: u64,
    /// Nor does any that is made from now on sign before this: the lead was longer once.
    floor: u64,
    /// In the order in which they sign.
    keys: Vec<Slot>,
}

/// One key of the schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Slot {
    pub(super) kid: Box<str>,
    #[serde(with = "alg_by_name")]
    pub(super) alg: Alg,
    #[serde(with = "jwk_as_text")]
    pub(super) jwk: PublicJwk,
    /// Published since.
    pub(super) made: u64,
    /// Signs from then on.
    pub(super) from: u64,
    /// The longest life of what it signed.
    lifetime: u64,
    /// Whether the private key is still kept.
    pub(super) is_kept: bool,
}

impl Ring {
    /// Without a key.
    pub(super) const fn new(policy: &Policy) -> Self {
        Self { alg: policy.alg, lead: policy.lead, floor: 0, keys: Vec::new() }
    }

    /// One key that signs and is never followed by another one of itself.
    pub(super) fn of(policy: &Policy, alg: Alg, jwk: PublicJwk) -> Self {
        let mut ring = Self::new(policy);
        ring.push(alg, jwk, policy, 0, 0);
        ring
    }

    /// The keys, in the order in which they sign.
    pub(super) fn keys(&self) -> &[Slot] {
        &self.keys
    }

    /// The key that signs. A clock that was set back finds none that signs already: then it is the first.
    pub(super) fn signing(&self, now: UnixTime) -> Option<&Slot> {
        let kept = || self.keys.iter().filter(|key| key.is_kept);
        kept().rev().find(|key| key.from <= now.as_secs()).or_else(|| kept().next())
    }

    /// Whether the private half of this key is kept.
    pub(super) fn keeps(&self, kid: &str) -> bool {
        self.keys.iter().any(|key| key.is_kept && *key.kid == *kid)
    }

    /// When the key at this position stops signing.
    pub(super) fn until(&self, position: usize) -> Option<u64> {
        self.keys.get(position + 1).map(|next| next.from)
    }

    /// When the key at this position is published no more.
    pub(super) fn gone(&self, position: usize) -> Option<u64> {
        let key = self.keys.get(position)?;
        self.until(position).map(|until| until.saturating_add(key.lifetime).saturating_add(SETTLED))
    }

    /// Takes what a replica that starts was told.
    pub(super) fn adopt(&mut self, policy: &Policy, now: UnixTime) {
        let now = now.as_secs();
        if policy.lead < self.lead {
            // Somebody may have allowed to keep key sets for so long until this moment.
            self.floor = self.floor.max(now.saturating_add(self.lead));
        }
        self.lead = policy.lead;
        if self.alg != policy.alg {
            self.alg = policy.alg;
            // Those that are far from signing never will. One that is about to is let, and followed.
            let soon = now.saturating_add(policy.lead);
            self.keys.retain(|key| key.alg == policy.alg || key.from <= soon);
        }
        for position in 0..self.keys.len() {
            let alive = self.until(position).is_none_or(|until| until.saturating_add(SETTLED) > now);
            if alive && let Some(key) = self.keys.get_mut(position) {
                key.lifetime = key.lifetime.max(policy.lifetime);
            }
        }
        if let [.., current, next] = &mut *self.keys {
            let known = next.made.saturating_add(policy.lead).max(self.floor);
            next.from = next.from.min(current.from.saturating_add(policy.every).max(known).max(now));
        }
    }

    /// Brings the schedule to `now`: keys whose tokens have all expired go, those that will not sign any more lose their private
    /// half, and there is a next one, for which `make` is asked.
    pub(super) fn turn<E>(
        &mut self,
        policy: &Policy,
        now: UnixTime,
        mut make: impl FnMut(Alg) -> Result<PublicJwk, E>,
    ) -> Result<(), E> {
        let seconds = now.as_secs();
        self.drop_gone(now);
        for position in 0..self.keys.len() {
            let is_over = self.until(position).is_some_and(|until| until.saturating_add(SETTLED) <= seconds);
            if let Some(key) = self.keys.get_mut(position).filter(|_| is_over) {
                key.is_kept = false;
            }
        }
        if !self.keys.iter().any(|key| key.is_kept) {
            let jwk = make(self.alg)?;
            self.push(self.alg, jwk, policy, seconds, seconds);
        }
        let Some(Slot { alg, from, .. }) = self.keys.last() else { return Ok(()) };
        let due = match *from {
            // Not of the algorithm that is wanted: it is followed as soon as it may be.
            from if *alg != self.alg => from.saturating_add(1),
            from if from <= seconds => from.saturating_add(policy.every),
            _ => return Ok(()),
        };
        if self.keys.len() < MOST {
            let soonest = seconds.saturating_add(self.lead).max(self.floor);
            let jwk = make(self.alg)?;
            self.push(self.alg, jwk, policy, seconds, due.max(soonest));
        }
        Ok(())
    }

    /// Drops the keys whose tokens have all expired.
    pub(super) fn drop_gone(&mut self, now: UnixTime) {
        while self.gone(0).is_some_and(|gone| gone <= now.as_secs()) {
            self.keys.remove(0);
        }
    }

    /// Has the next key sign as soon as every verifier may be expected to know it: at once, as a rule.
    pub(super) fn rotate(&mut self, now: UnixTime) {
        let (lead, floor) = (self.lead, self.floor);
        if let Some(next) = self.keys.iter_mut().find(|key| key.from > now.as_secs()) {
            next.from = next.from.min(next.made.saturating_add(lead).max(floor).max(now.as_secs()));
        }
    }

    /// Another key of somebody's own takes over once verifiers may know it. One that waits for that already is not waited for.
    /// When it does.
    pub(super) fn follow(&mut self, alg: Alg, jwk: PublicJwk, policy: &Policy, now: UnixTime) -> u64 {
        self.keys.retain(|key| key.from <= now.as_secs() && key.jwk != jwk);
        let from = now.as_secs().saturating_add(policy.lead);
        self.push(alg, jwk, policy, now.as_secs(), from);
        from
    }

    /// Takes a key out, whatever it signed; whether it was there. If it was the one that signs, the next one does from now on.
    pub(super) fn revoke(&mut self, kid: &str, now: UnixTime) -> bool {
        let was_signing = self.signing(now).is_some_and(|key| *key.kid == *kid);
        let before = self.keys.len();
        self.keys.retain(|key| *key.kid != *kid);
        if was_signing && let Some(next) = self.keys.iter_mut().find(|key| key.from > now.as_secs()) {
            next.from = now.as_secs();
        }
        self.keys.len() < before
    }

    /// How long a key set may be kept that was read at `known` and leaves at `now`: by then, no key signs that is not in it.
    pub(super) fn fresh_for(&self, known: UnixTime, now: UnixTime) -> Duration {
        let last = known.as_secs().saturating_add(self.lead).saturating_sub(2 * SKEW + WRITING);
        Duration::from_secs(last.saturating_sub(now.as_secs()))
    }

    fn push(&mut self, alg: Alg, jwk: PublicJwk, policy: &Policy, made: u64, from: u64) {
        let kid = jwk.thumbprint().to_string().into();
        self.keys.push(Slot { kid, alg, jwk, made, from, lifetime: policy.lifetime, is_kept: true });
    }
}

/// The shortest lead with which a key set may be kept for `cache` by everybody who gets it from a replica that is as it should be.
pub(super) const fn lead_for(cache: Duration) -> Duration {
    Duration::from_secs(cache.as_secs() + 2 * SKEW + WRITING + 60)
}

mod alg_by_name {
    use keybound::crypto::Alg;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(alg: &Alg, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(alg.name())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Alg, D::Error> {
        let name = Box::<str>::deserialize(deserializer)?;
        Alg::from_name(&name).ok_or_else(|| de::Error::custom("no algorithm of this program"))
    }
}

mod jwk_as_text {
    use keybound::jwk::PublicJwk;
    use serde::{Deserialize as _, Deserializer, Serializer, de};

    pub(super) fn serialize<S: Serializer>(jwk: &PublicJwk, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&jwk.to_json())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PublicJwk, D::Error> {
        let text = Box::<str>::deserialize(deserializer)?;
        PublicJwk::from_json(text.as_bytes()).map_err(|_| de::Error::custom("no public key"))
    }
}
