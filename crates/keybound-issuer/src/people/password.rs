//! Passwords of local users, as argon2id hashes in the PHC format. Nothing here blocks an async thread.

use core::fmt;
use core::str::FromStr;
use std::sync::{Arc, LazyLock};

use argon2::password_hash::phc;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{Algorithm, Argon2, Params, Version};
use keybound::refusal::Fault;
use tokio::sync::Semaphore;
use unicode_normalization::UnicodeNormalization as _;
use zeroize::Zeroizing;

/// Longer ones are refused before they are hashed.
pub(super) const MAX_PASSWORD: usize = 1024;

/// More memory or passes than this in a stored hash would be a way to stop the issuer.
const MOST: (u32, u32) = (256 * 1024, 16);

/// Hashes at once: each takes 19 MiB for some 20 ms.
const AT_ONCE: usize = 2;

static ROOM: Semaphore = Semaphore::const_new(AT_ONCE);

/// What is verified for a name that nobody has, so that it takes as long.
static NOBODY: LazyLock<Option<PasswordHash>> = LazyLock::new(|| PasswordHash::of("nobody's").ok());

/// The argon2id hash of a password.
///
/// ```
/// use keybound_issuer::PasswordHash;
///
/// let hash = PasswordHash::of("correct horse battery staple")?;
/// assert!(hash.to_string().starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
/// let read: PasswordHash = hash.to_string().parse()?;
/// # let _ = read;
/// # Ok::<(), keybound_issuer::PasswordHashError>(())
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordHash(Arc<str>);

impl PasswordHash {
    /// Hashes a password with 19 MiB, two passes and one lane (the first choice of OWASP), and a salt of its own. It takes a while.
    ///
    /// # Errors
    ///
    /// [`PasswordHashError`] for an empty password, one of more than 1024 octets, or without randomness.
    pub fn of(password: &str) -> Result<Self, PasswordHashError> {
        if password.is_empty() || password.len() > MAX_PASSWORD {
            return Err(PasswordHashError);
        }
        let password = composed(password);
        let hash: phc::PasswordHash = argon2id().hash_password(password.as_bytes()).map_err(|_| PasswordHashError)?;
        Ok(Self(hash.to_string().into()))
    }

    /// The same on a thread where it holds nobody up, at most two at once.
    ///
    /// # Errors
    ///
    /// As [`PasswordHash::of`].
    pub async fn off_thread(password: &str) -> Result<Self, PasswordHashError> {
        let password = Zeroizing::new(password.to_owned());
        let _room = ROOM.acquire().await.map_err(|_| PasswordHashError)?;
        let hashed = tokio::task::spawn_blocking(move || Self::of(&password)).await;
        hashed.map_err(|_| PasswordHashError)?
    }

    fn verifies(&self, password: &str) -> bool {
        let (hash, password) = (phc::PasswordHash::new(&self.0), composed(password));
        hash.is_ok_and(|hash| argon2id().verify_password(password.as_bytes(), &hash).is_ok())
    }

    /// Whether this is the password of `hash`; of nobody it never is, and takes as long.
    pub(super) async fn check(hash: Option<&Self>, password: &str) -> Result<bool, Fault> {
        let is_somebody = hash.is_some();
        let hash = hash.cloned().or_else(|| NOBODY.clone()).ok_or(Fault::StoreUnavailable)?;
        let password = Zeroizing::new(password.to_owned());
        if password.len() > MAX_PASSWORD {
            return Ok(false);
        }
        let _room = ROOM.acquire().await.map_err(|_| Fault::StoreUnavailable)?;
        let verified = tokio::task::spawn_blocking(move || hash.verifies(&password)).await;
        Ok(verified.map_err(|_| Fault::StoreUnavailable)? && is_somebody)
    }
}

/// One form for whatever a keyboard composes letters of (RFC 8265 section 4.2.1).
fn composed(password: &str) -> Zeroizing<String> {
    let mut composed = Zeroizing::new(String::with_capacity(3 * password.len()));
    composed.extend(password.nfc());
    composed
}

fn argon2id() -> Argon2<'static> {
    Argon2::new(Algorithm::Argon2id, Version::V0x13, Params::DEFAULT)
}

impl FromStr for PasswordHash {
    type Err = PasswordHashError;

    fn from_str(text: &str) -> Result<Self, PasswordHashError> {
        let hash = phc::PasswordHash::new(text).map_err(|_| PasswordHashError)?;
        let params = Params::try_from(&hash).map_err(|_| PasswordHashError)?;
        let fits = params.m_cost() <= MOST.0 && params.t_cost() <= MOST.1 && hash.hash.is_some();
        if hash.algorithm.as_str() == "argon2id" && fits { Ok(Self(text.into())) } else { Err(PasswordHashError) }
    }
}

impl fmt::Display for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for PasswordHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordHash(..)")
    }
}

/// No password that can be hashed, or no argon2id hash of sensible cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PasswordHashError;

impl fmt::Display for PasswordHashError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("is no argon2id hash in the PHC format, of at most 256 MiB and 16 passes, or the password is empty or too long for one")
    }
}

impl core::error::Error for PasswordHashError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn verifies_its_password_alone() {
        let hash = PasswordHash::of("right").unwrap();
        for (who, password, expected) in [
            (Some(&hash), "right", true),
            (Some(&hash), "wrong", false),
            (Some(&hash), "", false),
            (None, "right", false),
        ] {
            assert_eq!(PasswordHash::check(who, password).await, Ok(expected), "{password}");
        }
        assert_eq!(PasswordHash::check(None, "nobody's").await, Ok(false));
        let hash = PasswordHash::off_thread("m\u{fc}ller").await.unwrap();
        assert_eq!(PasswordHash::check(Some(&hash), "mu\u{308}ller").await, Ok(true));
    }

    #[test]
    fn reads_argon2id_of_sensible_cost() {
        let good = PasswordHash::of("right").unwrap().to_string();
        assert_eq!(good.parse::<PasswordHash>().unwrap().to_string(), good);
        for text in [
            "",
            "right",
            &good.replace("argon2id", "argon2i"),
            &good.replace("m=19456", "m=4194304"),
            &good.replace("t=2", "t=1000"),
            &good[..good.rfind('$').unwrap()],
        ] {
            assert_eq!(text.parse::<PasswordHash>(), Err(PasswordHashError), "{text}");
        }
        assert!(PasswordHash::of("").is_err() && PasswordHash::of(&"a".repeat(1025)).is_err());
    }
}
