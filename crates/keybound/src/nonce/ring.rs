//! The keys by which several nodes know each other's nonces, and how they are turned without a moment in which they do not.

use core::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize as _, Zeroizing};

use super::NonceKey;
use crate::jws::{decode_exact, encode_base64url};
use crate::time::UnixTime;

/// The current key, by which nonces are made, the one before it, and the one that comes next: nonces of all three are known.
///
/// Turning makes the next key the current one. Every node that has the ring from before the turn knows that key already, and every
/// node that has it from after still knows the key from before. So nodes may be one turn apart, for as long as it takes to hand
/// the ring around, and each knows the nonces of all (R-NONCE-09, R-NONCE-14).
///
/// ```
/// use keybound::nonce::{NonceRing, NonceSource, Purpose, Role, StatelessNonces, Verdict};
/// use keybound::time::UnixTime;
///
/// let now = UnixTime::from_secs(1_700_000_000);
/// let before = NonceRing::generate([1; 32], [2; 32], now); // of random octets
/// let after = before.turned([3; 32], now);
///
/// let purpose = Purpose::new(Role::ResourceServer, "https://api.example.com", 42);
/// let [one, other] = [before, after].map(|ring| StatelessNonces::of(ring));
/// assert_eq!(one.judge(other.issue(purpose, now).as_str(), purpose, now), Verdict::Current { issued: now });
/// assert_eq!(other.judge(one.issue(purpose, now).as_str(), purpose, now), Verdict::Current { issued: now });
/// ```
#[derive(Clone)]
pub struct NonceRing {
    pub(super) current: NonceKey,
    pub(super) previous: Option<NonceKey>,
    pub(super) next: Option<NonceKey>,
    turned: UnixTime,
}

/// What is wrong with the text of a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RingError {
    /// Not the JSON of a ring: a member is missing, unknown, of another type or there twice.
    Form,
    /// A secret is not the base64url of 32 octets.
    Secret,
    /// Two keys have the same number or the same secret.
    Repeated,
}

impl fmt::Display for RingError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Form => "this is not a nonce ring: an object with turned, current, and perhaps previous and next",
            Self::Secret => "a secret is not the base64url of 32 octets",
            Self::Repeated => "two keys have the same id or the same secret",
        })
    }
}

impl core::error::Error for RingError {}

/// As it is written down.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    turned: u64,
    current: WrittenKey,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<WrittenKey>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    next: Option<WrittenKey>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WrittenKey {
    id: u8,
    secret: String,
}

impl Drop for WrittenKey {
    fn drop(&mut self) {
        self.secret.zeroize();
    }
}

impl NonceRing {
    /// A ring of one key.
    pub const fn new(current: NonceKey) -> Self {
        Self { current, previous: None, next: None, turned: UnixTime::from_secs(0) }
    }

    /// A new ring of two secrets from a cryptographic generator, one for now and one for the time after the first turn.
    pub const fn generate(current: [u8; 32], next: [u8; 32], now: UnixTime) -> Self {
        Self { current: NonceKey::new(1, current), previous: None, next: Some(NonceKey::new(2, next)), turned: now }
    }

    /// The ring after the turn, with a new secret for the turn after that. A ring without a next key gets one first, and nothing
    /// else changes.
    #[must_use]
    pub fn turned(&self, secret: [u8; 32], now: UnixTime) -> Self {
        let mut id = self.newest().id.wrapping_add(1);
        while self.keys().any(|key| key.id == id) {
            id = id.wrapping_add(1);
        }
        let next = Some(NonceKey::new(id, secret));
        match &self.next {
            None => Self { next, turned: now, ..self.clone() },
            Some(current) => Self { current: current.clone(), previous: Some(self.current.clone()), next, turned: now },
        }
    }

    /// When it was turned last, or made.
    pub const fn last_turn(&self) -> UnixTime {
        self.turned
    }

    /// The number of the key by which nonces are made.
    pub const fn current_id(&self) -> u8 {
        self.current.id
    }

    /// From its text.
    ///
    /// # Errors
    ///
    /// [`RingError`].
    pub fn parse(text: &str) -> Result<Self, RingError> {
        let written: Written = serde_json::from_str(text).map_err(|_| RingError::Form)?;
        let ring = Self {
            current: read(&written.current)?,
            previous: written.previous.as_ref().map(read).transpose()?,
            next: written.next.as_ref().map(read).transpose()?,
            turned: UnixTime::from_secs(written.turned),
        };
        let same = |one: &NonceKey, other: &NonceKey| one.id == other.id || one.secret == other.secret;
        let repeated = ring
            .keys()
            .enumerate()
            .any(|(at, key)| ring.keys().skip(at.saturating_add(1)).any(|other| same(key, other)));
        if repeated { Err(RingError::Repeated) } else { Ok(ring) }
    }

    /// Its text, with its secrets: one line of JSON.
    pub fn to_text(&self) -> Zeroizing<String> {
        let written = Written {
            turned: self.turned.as_secs(),
            current: write(&self.current),
            previous: self.previous.as_ref().map(write),
            next: self.next.as_ref().map(write),
        };
        Zeroizing::new(serde_json::to_string(&written).unwrap_or_default())
    }

    pub(super) fn key(&self, id: u8) -> Option<&NonceKey> {
        self.keys().find(|key| key.id == id)
    }

    fn keys(&self) -> impl Iterator<Item = &NonceKey> {
        core::iter::once(&self.current).chain(&self.previous).chain(&self.next)
    }

    fn newest(&self) -> &NonceKey {
        self.next.as_ref().unwrap_or(&self.current)
    }
}

impl fmt::Debug for NonceRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NonceRing")
            .field("current", &self.current)
            .field("previous", &self.previous)
            .field("next", &self.next)
            .finish_non_exhaustive()
    }
}

fn read(key: &WrittenKey) -> Result<NonceKey, RingError> {
    let mut secret: [u8; 32] = decode_exact(&key.secret).map_err(|_| RingError::Secret)?;
    let read = NonceKey::new(key.id, secret);
    secret.zeroize();
    Ok(read)
}

fn write(key: &NonceKey) -> WrittenKey {
    WrittenKey { id: key.id, secret: encode_base64url(&key.secret) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nonce::{NonceSource as _, Purpose, Role, StatelessNonces, Verdict};

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const HERE: Purpose<'static> = Purpose::new(Role::ResourceServer, "https://api.example.com", 9);

    /// Rings of a long life, each turned once more than the one before.
    fn turns() -> Vec<NonceRing> {
        let first = NonceRing::generate([0; 32], [1; 32], NOW);
        core::iter::successors(Some((first, 2_u16)), |(ring, number)| {
            let mut secret = [0xaa; 32];
            secret[..2].copy_from_slice(&number.to_be_bytes());
            Some((ring.turned(secret, NOW), number + 1))
        })
        .take(600)
        .map(|(ring, _)| ring)
        .collect()
    }

    // R-NONCE-09, R-NONCE-14: nodes one turn apart know each other's nonces, in both directions; also when numbers begin anew.
    #[test]
    fn nodes_may_be_a_turn_apart() {
        for pair in turns().windows(2) {
            let [before, after] = [0, 1].map(|at| StatelessNonces::of(pair[at].clone()));
            for (maker, judge) in [(&before, &before), (&before, &after), (&after, &before), (&after, &after)] {
                let nonce = maker.issue(HERE, NOW);
                assert_eq!(judge.judge(nonce.as_str(), HERE, NOW), Verdict::Current { issued: NOW }, "{pair:?}");
            }
        }
    }

    #[test]
    fn a_key_goes_with_the_second_turn() {
        let turns = turns();
        let nonce = StatelessNonces::of(turns[0].clone()).issue(HERE, NOW);
        assert_eq!(StatelessNonces::of(turns[2].clone()).judge(nonce.as_str(), HERE, NOW), Verdict::Unknown);
    }

    // R-NONCE-13
    #[test]
    fn a_ring_keeps_purposes_apart() {
        let nonces = StatelessNonces::of(turns()[1].clone());
        let nonce = nonces.issue(HERE, NOW);
        for elsewhere in [
            Purpose::new(Role::AuthorizationServer, "https://api.example.com", 9),
            Purpose::new(Role::ResourceServer, "https://api.example.org", 9),
        ] {
            assert_eq!(nonces.judge(nonce.as_str(), elsewhere, NOW), Verdict::Unknown);
        }
    }

    #[test]
    fn a_ring_without_a_next_key_gets_one_before_it_turns() {
        let alone = NonceRing::new(NonceKey::new(7, [1; 32]));
        let once = alone.turned([2; 32], NOW);
        assert_eq!((once.current_id(), once.turned([3; 32], NOW).current_id()), (7, 8));
    }

    #[test]
    fn its_text_is_read_as_it_was_written() {
        let turns = turns();
        for ring in &turns[..3] {
            let text = ring.to_text();
            let again = NonceRing::parse(&text).unwrap();
            assert_eq!(*again.to_text(), *text);
            let nonce = StatelessNonces::of(ring.clone()).issue(HERE, NOW);
            let verdict = StatelessNonces::of(again).judge(nonce.as_str(), HERE, NOW);
            assert_eq!(verdict, Verdict::Current { issued: NOW });
        }
    }

    #[test]
    fn what_is_no_ring_is_told() {
        let key = |id: u8, octet: u8| format!(r#"{{"id":{id},"secret":"{}"}}"#, encode_base64url(&[octet; 32]));
        let one = key(1, 1);
        for (text, expected) in [
            (String::new(), RingError::Form),
            ("{}".to_owned(), RingError::Form),
            (format!(r#"{{"turned":0,"current":{one}"#), RingError::Form),
            (format!(r#"{{"turned":-1,"current":{one}}}"#), RingError::Form),
            (format!(r#"{{"turned":0,"current":{one},"current":{one}}}"#), RingError::Form),
            (format!(r#"{{"turned":0,"current":{one},"nxt":{one}}}"#), RingError::Form),
            (r#"{"turned":0,"current":{"id":256,"secret":""}}"#.to_owned(), RingError::Form),
            (r#"{"turned":0,"current":{"id":1,"secret":"AAAA"}}"#.to_owned(), RingError::Secret),
            (format!(r#"{{"turned":0,"current":{one},"next":{}}}"#, key(1, 2)), RingError::Repeated),
            (format!(r#"{{"turned":0,"current":{one},"previous":{}}}"#, key(2, 1)), RingError::Repeated),
        ] {
            assert_eq!(NonceRing::parse(&text).err(), Some(expected), "{text}");
        }
    }

    #[test]
    fn says_nothing_of_its_secrets() {
        let shown = format!("{:?}", NonceRing::generate([0xab; 32], [0xab; 32], NOW));
        assert!(!shown.contains("171") && !shown.contains("q6ur"), "{shown}");
    }
}
