//! Nonces a server hands out and knows again (RFC 9449 sections 8 and 9): time, purpose and epoch, authenticated by a
//! secret key. Nothing is stored, and nobody without the key can make one.

use core::fmt;
use core::time::Duration;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;
use subtle::ConstantTimeEq as _;
use zeroize::{Zeroize as _, ZeroizeOnDrop};

use crate::jws::{decode_exact, encode_base64url};
use crate::time::UnixTime;

mod ring;

pub use self::ring::{NonceRing, RingError};

/// How long a nonce lives unless set otherwise.
pub const DEFAULT_LIFETIME: Duration = Duration::from_secs(300);

/// What clocks of nodes that share a key ring may differ by.
pub const NODE_SKEW: Duration = Duration::from_secs(5);

/// The longest nonce a client keeps and a server looks at, in octets.
pub const MAX_NONCE: usize = 512;

const TAG: usize = 16;
const BODY: usize = 1 + 8 + 8;

/// A nonce as it goes over the wire: one or more of %x21 / %x23-5B / %x5D-7E (RFC 9449 section 8.1).
///
/// ```
/// use keybound::nonce::Nonce;
///
/// assert!(Nonce::parse("eyJ7S_zG.eyJH0-Z.HX4w-7v").is_some());
/// assert!(Nonce::parse("a b").is_none());
/// assert!(Nonce::parse("").is_none());
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Nonce(Box<str>);

impl Nonce {
    /// The value of a `DPoP-Nonce` field; `None` if it is ill-formed or longer than [`MAX_NONCE`].
    pub fn parse(value: &str) -> Option<Self> {
        let fine = |octet| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        ((1..=MAX_NONCE).contains(&value.len()) && value.bytes().all(fine)).then(|| Self(value.into()))
    }

    /// The value, as it goes into the field or the claim.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Nonce {
    /// A nonce is no secret, but it opens a window of minutes to whoever holds the client's key: eight characters will do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Nonce({}..)", self.0.get(..8).unwrap_or_default())
    }
}

/// Which role of a server a nonce is for. Nonces of one are worthless at the other (R-NONCE-13).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Role {
    /// The authorization server: token endpoint, pushed authorization requests.
    AuthorizationServer,
    /// A protected resource.
    ResourceServer,
}

/// What a nonce is good for: one role of one origin, under one epoch of the replay store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Purpose<'o> {
    role: Role,
    origin: &'o str,
    epoch: u64,
}

impl<'o> Purpose<'o> {
    /// For this role of the server at `origin`, while the epoch with this identifier lasts.
    pub const fn new(role: Role, origin: &'o str, epoch: u64) -> Self {
        Self { role, origin, epoch }
    }
}

/// What a server thinks of a nonce that was sent to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// Ours, for this purpose and alive.
    Current {
        /// When we issued it.
        issued: UnixTime,
    },
    /// As `Current`, and past half its life: give a new one (R-NONCE-10).
    Aging {
        /// When we issued it.
        issued: UnixTime,
    },
    /// Ours, but its life or its epoch is over.
    Stale,
    /// Not ours, or not for this purpose.
    Unknown,
}

/// Makes nonces and knows them again, from a key and the time alone.
pub trait NonceSource: Send + Sync + fmt::Debug {
    /// A new nonce.
    fn issue(&self, purpose: Purpose<'_>, now: UnixTime) -> Nonce;

    /// Whether `nonce` is one of ours that is good for `purpose` now. Comparison takes constant time (R-NONCE-05).
    fn judge(&self, nonce: &str, purpose: Purpose<'_>, now: UnixTime) -> Verdict;

    /// How long a nonce lives.
    fn lifetime(&self) -> Duration;
}

/// The secret that authenticates nonces, and a number to find it by.
#[derive(Clone, ZeroizeOnDrop)]
pub struct NonceKey {
    #[zeroize(skip)]
    id: u8,
    secret: [u8; 32],
}

impl NonceKey {
    /// `secret` comes from a cryptographic generator.
    pub const fn new(id: u8, secret: [u8; 32]) -> Self {
        Self { id, secret }
    }

    fn tag(&self, body: &[u8; BODY], purpose: Purpose<'_>) -> [u8; TAG] {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.secret) else {
            return [0; TAG];
        };
        mac.update(match purpose.role {
            Role::AuthorizationServer => b"keybound nonce 1 as\0",
            Role::ResourceServer => b"keybound nonce 1 rs\0",
        });
        mac.update(body);
        mac.update(purpose.origin.as_bytes());
        let mut whole: [u8; 32] = mac.finalize().into_bytes().into();
        let mut tag = [0; TAG];
        tag.iter_mut().zip(whole).for_each(|(to, from)| *to = from);
        whole.zeroize();
        tag
    }
}

impl fmt::Debug for NonceKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NonceKey({}, ..)", self.id)
    }
}

/// Stateless nonces under a ring of keys: new ones are made with the current key, those of the previous and of the next one are
/// known. Nodes that share the ring know each other's nonces (R-NONCE-14).
///
/// ```
/// use keybound::nonce::{NonceKey, NonceSource, Purpose, Role, StatelessNonces, Verdict};
/// use keybound::time::UnixTime;
///
/// let nonces = StatelessNonces::new(NonceKey::new(1, [7; 32]));
/// let purpose = Purpose::new(Role::ResourceServer, "https://api.example.com", 42);
/// let now = UnixTime::from_secs(1_700_000_000);
/// let nonce = nonces.issue(purpose, now);
/// assert_eq!(nonces.judge(nonce.as_str(), purpose, now), Verdict::Current { issued: now });
///
/// let elsewhere = Purpose::new(Role::ResourceServer, "https://evil.example", 42);
/// assert_eq!(nonces.judge(nonce.as_str(), elsewhere, now), Verdict::Unknown);
/// ```
#[derive(Clone, Debug)]
pub struct StatelessNonces {
    ring: NonceRing,
    lifetime: Duration,
}

impl StatelessNonces {
    /// Nonces that live [`DEFAULT_LIFETIME`], under one key.
    pub const fn new(current: NonceKey) -> Self {
        Self::of(NonceRing::new(current))
    }

    /// The same, under the keys of a ring.
    pub const fn of(ring: NonceRing) -> Self {
        Self { ring, lifetime: DEFAULT_LIFETIME }
    }

    /// Knows the nonces of an earlier key as well.
    #[must_use]
    pub fn previous(mut self, previous: NonceKey) -> Self {
        self.ring.previous = Some(previous);
        self
    }

    /// Nonces that live this long, in whole seconds.
    #[must_use]
    pub const fn lives(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }
}

/// A nonce of ours: the body is key number, time and epoch, big-endian; the tag covers it, the role and the origin.
struct Opened {
    id: u8,
    issued: UnixTime,
    epoch: u64,
    body: [u8; BODY],
    tag: [u8; TAG],
}

impl Opened {
    fn read(nonce: &str) -> Option<Self> {
        let octets: [u8; BODY + TAG] = decode_exact(nonce).ok()?;
        let (body, tag) = octets.split_first_chunk::<BODY>()?;
        let ([id], rest) = body.split_first_chunk::<1>()?;
        let (issued, epoch) = rest.split_first_chunk::<8>()?;
        Some(Self {
            id: *id,
            issued: UnixTime::from_secs(u64::from_be_bytes(*issued)),
            epoch: u64::from_be_bytes(epoch.try_into().ok()?),
            body: *body,
            tag: tag.try_into().ok()?,
        })
    }
}

impl NonceRing {
    /// A new nonce, by the current key.
    pub fn issue(&self, purpose: Purpose<'_>, now: UnixTime) -> Nonce {
        let mut body = [0; BODY];
        let parts = [self.current.id].into_iter().chain(now.as_secs().to_be_bytes()).chain(purpose.epoch.to_be_bytes());
        body.iter_mut().zip(parts).for_each(|(to, from)| *to = from);
        let tag = self.current.tag(&body, purpose);
        Nonce(encode_base64url(&[&body[..], &tag[..]].concat()).into())
    }

    /// Whether `nonce` was made by one of the keys, for `purpose`, and not longer ago than `lifetime`.
    pub fn judge(&self, nonce: &str, purpose: Purpose<'_>, lifetime: Duration, now: UnixTime) -> Verdict {
        let Some(opened) = Opened::read(nonce) else {
            return Verdict::Unknown;
        };
        let Some(key) = self.key(opened.id) else {
            return Verdict::Unknown;
        };
        if !bool::from(key.tag(&opened.body, purpose).ct_eq(&opened.tag)) {
            return Verdict::Unknown;
        }
        let issued = opened.issued;
        let age = now.since(issued);
        if opened.epoch != purpose.epoch || age > lifetime || issued > now.plus(NODE_SKEW) {
            Verdict::Stale
        } else if age.saturating_mul(2) > lifetime {
            Verdict::Aging { issued }
        } else {
            Verdict::Current { issued }
        }
    }
}

impl NonceSource for StatelessNonces {
    fn issue(&self, purpose: Purpose<'_>, now: UnixTime) -> Nonce {
        self.ring.issue(purpose, now)
    }

    fn judge(&self, nonce: &str, purpose: Purpose<'_>, now: UnixTime) -> Verdict {
        self.ring.judge(nonce, purpose, self.lifetime, now)
    }

    fn lifetime(&self) -> Duration {
        self.lifetime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixTime = UnixTime::from_secs(1_700_000_000);
    const HERE: Purpose<'static> = Purpose::new(Role::ResourceServer, "https://api.example.com", 9);

    fn after(seconds: u64) -> UnixTime {
        NOW.plus(Duration::from_secs(seconds))
    }

    #[test]
    fn lives_its_life_and_not_a_second_more() {
        let nonces = StatelessNonces::new(NonceKey::new(1, [1; 32]));
        let nonce = nonces.issue(HERE, NOW);
        for (seconds, expected) in [
            (0, Verdict::Current { issued: NOW }),
            (150, Verdict::Current { issued: NOW }),
            (151, Verdict::Aging { issued: NOW }),
            (300, Verdict::Aging { issued: NOW }),
            (301, Verdict::Stale),
        ] {
            assert_eq!(nonces.judge(nonce.as_str(), HERE, after(seconds)), expected, "{seconds} s");
        }
        assert_eq!(nonces.judge(nonce.as_str(), HERE, NOW.minus(Duration::from_secs(6))), Verdict::Stale);
    }

    // R-NONCE-13: role, origin and epoch are inside the authenticated value.
    #[test]
    fn is_good_for_one_purpose() {
        let nonces = StatelessNonces::new(NonceKey::new(1, [1; 32]));
        let nonce = nonces.issue(HERE, NOW);
        for (elsewhere, expected) in [
            (Purpose::new(Role::AuthorizationServer, "https://api.example.com", 9), Verdict::Unknown),
            (Purpose::new(Role::ResourceServer, "https://api.example.org", 9), Verdict::Unknown),
            (Purpose::new(Role::ResourceServer, "https://api.example.com", 10), Verdict::Stale),
        ] {
            assert_eq!(nonces.judge(nonce.as_str(), elsewhere, NOW), expected, "{elsewhere:?}");
        }
    }

    // R-NONCE-04, R-NONCE-05: nobody without the key makes or alters one.
    #[test]
    fn one_changed_character_is_unknown() {
        let nonces = StatelessNonces::new(NonceKey::new(1, [1; 32]));
        let nonce = nonces.issue(HERE, NOW);
        for position in 0..nonce.as_str().len() {
            for other in ['A', 'B', '-', '.', '='] {
                let mut forged: Vec<char> = nonce.as_str().chars().collect();
                if forged[position] != other {
                    forged[position] = other;
                    let forged: String = forged.into_iter().collect();
                    assert_eq!(nonces.judge(&forged, HERE, NOW), Verdict::Unknown, "{forged}");
                }
            }
        }
        let foreign = StatelessNonces::new(NonceKey::new(1, [2; 32])).issue(HERE, NOW);
        assert_eq!(nonces.judge(foreign.as_str(), HERE, NOW), Verdict::Unknown);
    }

    // R-NONCE-09, R-NONCE-14: a key that was turned is known until its nonces have expired.
    #[test]
    fn turning_the_key_keeps_what_was_given() {
        let before = StatelessNonces::new(NonceKey::new(1, [1; 32]));
        let after = StatelessNonces::new(NonceKey::new(2, [2; 32])).previous(NonceKey::new(1, [1; 32]));
        let nonce = before.issue(HERE, NOW);
        assert_eq!(after.judge(nonce.as_str(), HERE, NOW), Verdict::Current { issued: NOW });
        assert_eq!(before.judge(after.issue(HERE, NOW).as_str(), HERE, NOW), Verdict::Unknown);
    }

    #[test]
    fn says_nothing_of_its_secret() {
        let shown = format!("{:?}", StatelessNonces::new(NonceKey::new(1, [0xab; 32])));
        assert!(!shown.contains("171") && !shown.contains("ab, ab"), "{shown}");
    }
}
