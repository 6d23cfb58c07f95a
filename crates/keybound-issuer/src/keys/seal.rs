//! What private keys are sealed under before they are stored: AES-256-GCM, with the name of what is sealed as its associated
//! data, so that nothing opens in another's place.

use core::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use data_encoding::{BASE64, BASE64URL_NOPAD};
use keybound::crypto::aws_lc::random_array;
use keybound::jws::{decode_base64url, encode_base64url};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// A text of more keys is something else.
const MOST: usize = 8;

/// The keys that private keys are sealed under: the first one seals, any of them opens.
///
/// ```
/// use keybound_issuer::keys::SealingKeys;
///
/// let made = SealingKeys::generate()?;
/// let text = made.to_text();
/// assert!(SealingKeys::parse(&text).is_ok());
/// assert!(SealingKeys::parse("too short").is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct SealingKeys(Vec<SealingKey>);

#[derive(Clone)]
struct SealingKey {
    /// What it is called where something is sealed under it: says which key is missing, and nothing about it.
    id: Box<str>,
    octets: Zeroizing<[u8; 32]>,
}

/// Something sealed, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The name of the sealing key.
    by: Box<str>,
    /// Nonce, ciphertext and tag, in base64url.
    text: Box<str>,
}

/// Why something sealed does not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unsealable {
    /// It was sealed under a key that is not here: this one.
    OtherKey(Box<str>),
    /// It is not what was sealed, or not in its place.
    Changed,
}

impl SealingKeys {
    /// A new one.
    ///
    /// # Errors
    ///
    /// If there are no random numbers.
    pub fn generate() -> Result<Self, SealingKeyError> {
        let octets = random_array().map_err(|_| SealingKeyError::Random)?;
        Ok(Self(vec![SealingKey::new(Zeroizing::new(octets))]))
    }

    /// Keys of 256 bits in base64 or base64url, one a line. The first seals; those below it open what was sealed under them, and
    /// are out of use once an issuer has started with them: it seals all anew.
    ///
    /// # Errors
    ///
    /// For any other text.
    pub fn parse(text: &str) -> Result<Self, SealingKeyError> {
        let mut keys = Vec::new();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let url = line.trim_end_matches('=').replace('+', "-").replace('/', "_");
            let octets = Zeroizing::new(BASE64URL_NOPAD.decode(url.as_bytes()).unwrap_or_default());
            drop(Zeroizing::new(url));
            let octets = <[u8; 32]>::try_from(&**octets).map_err(|_| SealingKeyError::Malformed)?;
            keys.push(SealingKey::new(Zeroizing::new(octets)));
        }
        match keys.len() {
            0 => Err(SealingKeyError::Malformed),
            1..=MOST => Ok(Self(keys)),
            _ => Err(SealingKeyError::TooMany),
        }
    }

    /// As [`SealingKeys::parse`] reads them. Whoever holds this text opens what was sealed.
    pub fn to_text(&self) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(self.0.len() * 45));
        for key in &self.0 {
            BASE64.encode_append(&*key.octets, &mut text);
            text.push('\n');
        }
        text
    }

    /// Seals `secret` for the place that `name` describes.
    pub(super) fn seal(&self, name: &[&str], secret: &[u8]) -> Result<Sealed, SealingKeyError> {
        let key = self.0.first().ok_or(SealingKeyError::Malformed)?;
        let mut octets = Zeroizing::new(Vec::with_capacity(secret.len() + 16));
        octets.extend_from_slice(secret);
        let nonce = key.aead()?.seal_in_place_append_tag(Aad::from(associated(name)), &mut *octets);
        let nonce = nonce.map_err(|_| SealingKeyError::Random)?;
        let text = encode_base64url(&[&nonce.as_ref()[..], &octets].concat());
        Ok(Sealed { by: key.id.clone(), text: text.into() })
    }

    /// Opens what was sealed for that place.
    pub(super) fn open(&self, name: &[&str], sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, Unsealable> {
        let found = self.0.iter().find(|key| key.id == sealed.by);
        let key = found.ok_or_else(|| Unsealable::OtherKey(sealed.by.clone()))?;
        let octets = decode_base64url(&sealed.text).map_err(|_| Unsealable::Changed)?;
        let (nonce, text) = octets.split_at_checked(NONCE_LEN).ok_or(Unsealable::Changed)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| Unsealable::Changed)?;
        let mut text = Zeroizing::new(text.to_vec());
        let aead = key.aead().map_err(|_| Unsealable::Changed)?;
        let opened = aead.open_in_place(nonce, Aad::from(associated(name)), &mut text);
        let length = opened.map_err(|_| Unsealable::Changed)?.len();
        text.truncate(length);
        Ok(text)
    }

    /// Seals something else than a signing key for the place that `name` describes, as a text: what processes share, say. Choose a
    /// name that nothing else has.
    ///
    /// # Errors
    ///
    /// If there are no random numbers.
    pub fn seal_text(&self, name: &[&str], secret: &[u8]) -> Result<String, SealingKeyError> {
        let Sealed { by, text } = self.seal(&[&["text"], name].concat(), secret)?;
        Ok(format!("{by}.{text}"))
    }

    /// What [`SealingKeys::seal_text`] sealed for that place under one of these keys; `None` if it did not.
    pub fn open_text(&self, name: &[&str], text: &str) -> Option<Zeroizing<Vec<u8>>> {
        let (by, text) = text.split_once('.')?;
        self.open(&[&["text"], name].concat(), &Sealed { by: by.into(), text: text.into() }).ok()
    }

    /// Whether [`SealingKeys::seal_text`] sealed it under the key that seals now. What was not is lost with the key below.
    pub fn is_text_of_first(&self, text: &str) -> bool {
        text.split_once('.').is_some_and(|(by, _)| by == self.name())
    }

    /// Whether it was sealed under the key that seals now.
    pub(super) fn is_of_first(&self, sealed: &Sealed) -> bool {
        self.0.first().is_some_and(|key| key.id == sealed.by)
    }

    /// What the key that seals is called.
    pub(super) fn name(&self) -> &str {
        self.0.first().map_or("", |key| &key.id)
    }
}

impl PartialEq for SealingKeys {
    /// By their names, which are digests.
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().map(|key| &key.id).eq(other.0.iter().map(|key| &key.id))
    }
}

impl Eq for SealingKeys {}

impl SealingKey {
    fn new(octets: Zeroizing<[u8; 32]>) -> Self {
        let digest = Sha256::new().chain_update(b"keybound sealing key\0").chain_update(*octets).finalize();
        let (id, _) = digest.split_at(6);
        Self { id: encode_base64url(id).into(), octets }
    }

    fn aead(&self) -> Result<RandomizedNonceKey, SealingKeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, &*self.octets).map_err(|_| SealingKeyError::Malformed)
    }
}

/// Each part with its length before it, so that no two names read the same.
fn associated(name: &[&str]) -> Vec<u8> {
    let mut octets = Vec::new();
    for part in name {
        octets.extend_from_slice(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        octets.extend_from_slice(part.as_bytes());
    }
    octets
}

impl fmt::Debug for SealingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SealingKeys").field(&self.name()).finish()
    }
}

/// Not keys to seal with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SealingKeyError {
    /// Another text than keys of 256 bits.
    Malformed,
    /// More than eight.
    TooMany,
    /// The system has no random numbers.
    Random,
}

impl fmt::Display for SealingKeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Malformed => "not a key of 256 bits in base64, one a line; openssl rand -base64 32 makes one",
            Self::TooMany => {
                "more than 8 keys; those below the first are out of use once an issuer has started with them"
            }
            Self::Random => "there are no random numbers",
        })
    }
}

impl core::error::Error for SealingKeyError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn opens_in_its_place_alone() {
        let keys = SealingKeys::generate().unwrap();
        let sealed = keys.seal(&["key", "a"], b"secret").unwrap();
        assert_eq!(**keys.open(&["key", "a"], &sealed).unwrap(), *b"secret");
        for other in [&["key", "b"][..], &["keya"], &["", "keya"], &["key", "a", ""], &[]] {
            assert_eq!(keys.open(other, &sealed), Err(Unsealable::Changed), "{other:?}");
        }
        assert_ne!(keys.seal(&["key", "a"], b"secret").unwrap(), sealed, "no nonce comes twice");
    }

    #[test]
    fn a_text_opens_under_its_key_and_name_alone() {
        let (keys, others) = (SealingKeys::generate().unwrap(), SealingKeys::generate().unwrap());
        let text = keys.seal_text(&["ring"], b"secret").unwrap();
        assert_eq!(keys.open_text(&["ring"], &text).as_deref().map(Vec::as_slice), Some(&b"secret"[..]));
        assert_eq!(keys.open_text(&["other"], &text), None);
        assert_eq!(others.open_text(&["ring"], &text), None);
        let (_, alone) = text.split_once('.').unwrap();
        for broken in ["", ".", alone, &text[..text.len() - 1], &format!("{}.{alone}", others.name())] {
            assert_eq!(keys.open_text(&["ring"], broken), None, "{broken}");
        }
    }

    #[test]
    fn every_octet_counts() {
        let keys = SealingKeys::generate().unwrap();
        let sealed = keys.seal(&["key"], b"secret").unwrap();
        let octets = decode_base64url(&sealed.text).unwrap();
        for position in 0..octets.len() {
            let mut octets = octets.clone();
            octets[position] ^= 1;
            let changed = Sealed { text: encode_base64url(&octets).into(), ..sealed.clone() };
            assert_eq!(keys.open(&["key"], &changed), Err(Unsealable::Changed), "{position}");
            let short = Sealed { text: encode_base64url(&octets[..position]).into(), ..sealed.clone() };
            assert_eq!(keys.open(&["key"], &short), Err(Unsealable::Changed), "{position}");
        }
    }

    #[test]
    fn an_earlier_key_opens_what_it_sealed() {
        let (old, new) = (SealingKeys::generate().unwrap(), SealingKeys::generate().unwrap());
        let sealed = old.seal(&["key"], b"secret").unwrap();
        assert_eq!(new.open(&["key"], &sealed), Err(Unsealable::OtherKey(old.name().into())));
        let both = SealingKeys::parse(&[&**new.to_text(), &old.to_text()].concat()).unwrap();
        assert_eq!(**both.open(&["key"], &sealed).unwrap(), *b"secret");
        assert!(!both.is_of_first(&sealed));
        assert!(both.is_of_first(&both.seal(&["key"], b"secret").unwrap()));
    }

    #[test]
    fn is_read_in_either_alphabet_and_shown_to_nobody() {
        let octets = [0xfb; 32];
        let [plain, url] = [BASE64.encode(&octets), encode_base64url(&octets)];
        let keys = [&plain, &url].map(|text| SealingKeys::parse(text).unwrap());
        assert_eq!(keys[0].name(), keys[1].name());
        assert_eq!(&**keys[0].to_text(), format!("{plain}\n"));
        assert!(!format!("{keys:?}").contains(&plain[..8]));
        for wrong in ["", "\n", &plain[1..], &url[..42], "key = \"…\"", &format!("{plain} {plain}")] {
            assert_eq!(SealingKeys::parse(wrong).err(), Some(SealingKeyError::Malformed), "{wrong}");
        }
        assert_eq!(SealingKeys::parse(&format!("{plain}\n").repeat(9)).err(), Some(SealingKeyError::TooMany));
    }
}
