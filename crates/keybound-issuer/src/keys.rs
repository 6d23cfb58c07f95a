//! The keys tokens are signed with, and the set that resource servers fetch.

use core::fmt;
use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use data_encoding::BASE64URL_NOPAD;
use keybound::crypto::aws_lc::{AwsLc, KeyError, SoftwareKey};
use keybound::crypto::{Alg, AlgSet, Signer, SigningFailed};
use keybound::jwk::PublicJwk;
use keybound::refusal::Fault;
use keybound::time::UnixTime;
use keybound::token::jwt::KeySet;
use keybound_tower::FixedKeys;
use parking_lot::Mutex;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::store::to_json;

pub use self::error::KeysError;
pub(crate) use self::error::KeysFault;
use self::kept::Kept;
use self::ring::{Policy, Ring, STALE, Slot};
pub use self::seal::{SealingKeyError, SealingKeys};
pub use self::settings::{KeySettings, SettingsError};
pub use self::stored::{KeyState, StoredKey};

mod error;
mod kept;
mod ring;
mod seal;
mod settings;
mod stored;
#[cfg(test)]
mod tests;

/// Room for a token of ordinary length.
const TOKEN: usize = 1024;

/// How long caches may keep the set, unless a key that is not in it may sign sooner.
const CACHE: Duration = Duration::from_secs(300);

/// The keys of an issuer. Clones share them.
///
/// Those of [`Keys::start`] are kept in a store, sealed, and follow each other on schedule. Otherwise there is one key, which
/// somebody else looks after: it signs until [`Keys::follow_with`] brings another one. A key is named by its thumbprint.
///
/// ```
/// use keybound::crypto::Alg;
/// use keybound::crypto::aws_lc::SoftwareKey;
/// use keybound_issuer::Keys;
///
/// let keys = Keys::new(SoftwareKey::generate(Alg::Ed25519)?);
/// # let _ = keys;
/// # Ok::<(), keybound::crypto::aws_lc::KeyError>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct Keys(Arc<Shared>);

struct Shared {
    now: ArcSwap<Snapshot>,
    /// The set, for verifying in this process; nothing if the first one could not be read.
    verifying: Option<FixedKeys>,
    /// One change at a time.
    changing: Mutex<()>,
    /// Keys that never sign here.
    also: Vec<Published>,
    kept: Option<Kept>,
}

/// What holds until the next change.
struct Snapshot {
    ring: Ring,
    signers: HashMap<Box<str>, Hand>,
    jwks: Bytes,
    algs: Vec<Alg>,
    /// When the schedule was read from the store; nothing where it is in this process alone.
    known: Option<UnixTime>,
    /// When a key goes.
    until: Option<u64>,
}

/// What makes signatures.
#[derive(Clone)]
struct Hand {
    signer: Arc<dyn Signer>,
    /// The thumbprint of its key.
    kid: Arc<str>,
    /// It signs where waiting is allowed.
    waits: bool,
}

#[derive(Clone, PartialEq)]
struct Published {
    alg: Alg,
    jwk: PublicJwk,
}

impl Keys {
    /// Signs with `current`.
    pub fn new(current: impl Signer + 'static) -> Self {
        Self::of(Hand::new(current, false))
    }

    /// Signs with `current`, which takes its time: a module of PKCS#11 for example. It is asked on threads where waiting is
    /// allowed.
    pub fn waiting(current: impl Signer + 'static) -> Self {
        Self::of(Hand::new(current, true))
    }

    /// Signs with a new ES256 key that lives as long as this process.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`].
    pub fn generate() -> Result<Self, KeyError> {
        SoftwareKey::generate(Alg::Es256).map(Self::new)
    }

    /// Publishes a key that does not sign, or not any more.
    pub fn publish(self, alg: Alg, jwk: PublicJwk) -> Self {
        let (added, now) = (Published { alg, jwk }, self.0.now.load_full());
        let mut also = self.0.also.clone();
        if !also.contains(&added) && now.ring.keys().iter().all(|key| key.jwk != added.jwk) {
            also.push(added);
        }
        Self(Arc::new(Shared::new(now.ring.clone(), now.signers.clone(), now.known, also, self.0.kept.clone())))
    }

    /// Signs with another key of somebody's own, once verifiers may be expected to know it: `ahead` from now. The key before stays
    /// published until its tokens have expired. Nothing happens if it is the same key; what waited to sign is not waited for.
    pub fn follow_with(&self, next: impl Signer + 'static, ahead: Duration, now: UnixTime) {
        let waits = self.0.now.load().signers.values().any(|hand| hand.waits);
        self.0.follow(Hand::new(next, waits), ahead, now);
    }

    /// The algorithms of what it signs, now and next.
    pub(crate) fn algs(&self) -> Vec<Alg> {
        self.0.now.load().algs.clone()
    }

    /// The set, for verifying tokens in this process; it follows every change. Nothing if a key of it must not be used.
    pub(crate) fn key_set(&self) -> Option<FixedKeys> {
        self.0.verifying.clone()
    }

    /// The JWK set (RFC 7517 section 5), and for how long it may be kept; at the end of that time, no key signs that is not in it.
    pub(crate) fn jwks(&self, now: UnixTime) -> Result<(Bytes, Duration), Fault> {
        self.0.prune(now);
        let held = self.0.now.load();
        let Some(known) = held.known else { return Ok((held.jwks.clone(), CACHE)) };
        match held.ring.fresh_for(known, now) {
            Duration::ZERO => Err(Fault::StoreUnavailable),
            fresh => Ok((held.jwks.clone(), fresh.min(CACHE))),
        }
    }

    /// A JWT of this type and these claims. The type keeps one kind from being taken for another (RFC 8725 section 3.11).
    pub(crate) async fn sign(&self, typ: &str, claims: &impl Serialize, now: UnixTime) -> Result<String, Fault> {
        self.0.prune(now);
        let hand = self.0.hand(now)?;
        let (alg, kid) = (hand.signer.alg(), Arc::clone(&hand.kid));
        let header = format!(r#"{{"typ":"{typ}","alg":"{alg}","kid":"{kid}"}}"#);
        let mut token = String::with_capacity(TOKEN);
        BASE64URL_NOPAD.encode_append(header.as_bytes(), &mut token);
        token.push('.');
        BASE64URL_NOPAD.encode_append(to_json(claims).as_bytes(), &mut token);
        let signature = hand.sign(token.as_bytes()).await.map_err(|error| {
            tracing::error!(%error, %kid, "the signing key could not be used");
            Fault::CryptoFailure
        })?;
        token.push('.');
        BASE64URL_NOPAD.encode_append(&signature, &mut token);
        Ok(token)
    }

    fn of(hand: Hand) -> Self {
        let policy = Policy::of_strangers(hand.signer.alg(), Duration::ZERO);
        let ring = Ring::of(&policy, hand.signer.alg(), hand.signer.public_jwk().clone());
        let signers = HashMap::from([(hand.kid(), hand)]);
        Self(Arc::new(Shared::new(ring, signers, None, Vec::new(), None)))
    }
}

impl Shared {
    fn new(
        ring: Ring,
        signers: HashMap<Box<str>, Hand>,
        known: Option<UnixTime>,
        also: Vec<Published>,
        kept: Option<Kept>,
    ) -> Self {
        let (snapshot, set) = Snapshot::new(ring, signers, known, &also);
        let verifying = set.map(FixedKeys::new);
        Self { now: ArcSwap::from_pointee(snapshot), verifying, changing: Mutex::new(()), also, kept }
    }

    /// Puts another schedule into force.
    fn install(&self, ring: Ring, signers: HashMap<Box<str>, Hand>, known: Option<UnixTime>) {
        let (snapshot, set) = Snapshot::new(ring, signers, known, &self.also);
        let is_another_set = snapshot.jwks != self.now.load().jwks;
        if let (Some(verifying), Some(set), true) = (&self.verifying, set, is_another_set) {
            verifying.replace(set);
        }
        self.now.store(Arc::new(snapshot));
    }

    /// Drops keys whose time is over. Where they are kept in a store, that is done there.
    fn prune(&self, now: UnixTime) {
        let is_due = |held: &Snapshot| held.known.is_none() && held.until.is_some_and(|until| until <= now.as_secs());
        if !is_due(&self.now.load()) {
            return;
        }
        let _one_at_a_time = self.changing.lock();
        let held = self.now.load_full();
        if is_due(&held) {
            let mut ring = held.ring.clone();
            ring.drop_gone(now);
            self.install(ring, held.signers.clone(), None);
        }
    }

    fn follow(&self, hand: Hand, ahead: Duration, now: UnixTime) {
        let _one_at_a_time = self.changing.lock();
        let held = self.now.load_full();
        let kid = hand.kid();
        if held.known.is_some() || held.ring.keys().last().is_some_and(|last| last.kid == kid) {
            return;
        }
        let mut ring = held.ring.clone();
        let alg = hand.signer.alg();
        let from = ring.follow(alg, hand.signer.public_jwk().clone(), &Policy::of_strangers(alg, ahead), now);
        tracing::info!(%kid, from, "another signing key is published, and signs from then on");
        let mut signers = held.signers.clone();
        signers.insert(kid, hand);
        self.install(ring, signers, None);
    }

    /// Who signs at this time.
    fn hand(&self, now: UnixTime) -> Result<Hand, Fault> {
        let held = self.now.load();
        // Others may have stopped signing with a key that this one still takes for the right one.
        if held.known.is_some_and(|known| known.as_secs().saturating_add(STALE) < now.as_secs()) {
            return Err(Fault::StoreUnavailable);
        }
        let hand = held.ring.signing(now).and_then(|key| held.signers.get(&key.kid));
        hand.cloned().ok_or(Fault::CryptoFailure)
    }
}

impl Snapshot {
    /// Together with the set, if it can be read.
    fn new(
        ring: Ring,
        mut signers: HashMap<Box<str>, Hand>,
        known: Option<UnixTime>,
        also: &[Published],
    ) -> (Self, Option<KeySet>) {
        signers.retain(|kid, _| ring.keys().iter().any(|key| key.is_kept && key.kid == *kid));
        let of_ring = |key: &Slot| Published { alg: key.alg, jwk: key.jwk.clone() };
        let published: Vec<_> = ring.keys().iter().map(of_ring).chain(also.iter().cloned()).collect();
        let keys: Vec<_> = published.iter().map(Published::jwk).collect();
        let jwks = json!({ "keys": keys }).to_string();
        let all: AlgSet = published.iter().map(|key| key.alg).collect();
        let set = KeySet::read_strictly(jwks.as_bytes(), &AwsLc, all).ok();
        let kept: AlgSet = ring.keys().iter().filter(|key| key.is_kept).map(|key| key.alg).collect();
        let until = ring.gone(0);
        (Self { ring, signers, jwks: jwks.into(), algs: kept.iter().collect(), known, until }, set)
    }
}

impl Hand {
    fn new(signer: impl Signer + 'static, waits: bool) -> Self {
        let kid = signer.public_jwk().thumbprint().to_string().into();
        Self { signer: Arc::new(signer), kid, waits }
    }

    fn kid(&self) -> Box<str> {
        (*self.kid).into()
    }

    async fn sign(self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        if !self.waits {
            return self.signer.sign(message);
        }
        let message = message.to_vec();
        let signing = tokio::task::spawn_blocking(move || self.signer.sign(&message));
        signing.await.map_err(|why| SigningFailed::new(why.to_string()))?
    }
}

impl Policy {
    /// For keys that somebody else looks after: no one follows by itself.
    fn of_strangers(alg: Alg, ahead: Duration) -> Self {
        let lifetime = crate::config::MAX_TOKEN_LIFETIME.as_secs();
        Self { alg, every: u64::MAX, lead: ahead.as_secs(), lifetime }
    }
}

impl Published {
    fn jwk(&self) -> Value {
        let mut jwk: Map<String, Value> = serde_json::from_str(&self.jwk.to_json()).unwrap_or_default();
        jwk.insert("kid".into(), self.jwk.thumbprint().to_string().into());
        jwk.insert("use".into(), "sig".into());
        jwk.insert("alg".into(), self.alg.name().into());
        jwk.into()
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = self.0.now.load();
        f.debug_list().entries(held.ring.keys().iter().map(|key| &key.jwk)).finish()
    }
}
