//! What we ask of a cryptography library: two traits, and the closed list of algorithms.

use core::fmt;
use core::str::FromStr;
use std::sync::Arc;

use crate::jwk::PublicJwk;
use crate::refusal::Reason;

#[cfg(feature = "aws-lc-rs")]
pub mod aws_lc;

/// A signature algorithm a proof or token may use. There is no variant for `none` or a MAC: they cannot be configured in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Alg {
    /// ECDSA over P-256 with SHA-256.
    Es256,
    /// EdDSA over Ed25519 under its fully specified name (RFC 9864).
    Ed25519,
    /// ECDSA over P-384 with SHA-384.
    Es384,
    /// ECDSA over P-521 with SHA-512.
    Es512,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// RSASSA-PSS with SHA-384.
    Ps384,
    /// RSASSA-PSS with SHA-512.
    Ps512,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PKCS1-v1_5 with SHA-384.
    Rs384,
    /// RSASSA-PKCS1-v1_5 with SHA-512.
    Rs512,
    /// EdDSA with an Ed25519 key, under its older name.
    EdDsa,
}

/// What kind of key an algorithm works with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum KeyKind {
    /// EC on P-256.
    P256,
    /// EC on P-384.
    P384,
    /// EC on P-521.
    P521,
    /// OKP on Ed25519.
    Ed25519,
    /// RSA.
    Rsa,
}

impl Alg {
    /// Every algorithm, the preferred first.
    pub const ALL: [Self; 11] = [
        Self::Es256,
        Self::Ed25519,
        Self::Es384,
        Self::Es512,
        Self::Ps256,
        Self::Ps384,
        Self::Ps512,
        Self::Rs256,
        Self::Rs384,
        Self::Rs512,
        Self::EdDsa,
    ];

    /// The registered name, as it stands in `alg`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::Ed25519 => "Ed25519",
            Self::Es384 => "ES384",
            Self::Es512 => "ES512",
            Self::Ps256 => "PS256",
            Self::Ps384 => "PS384",
            Self::Ps512 => "PS512",
            Self::Rs256 => "RS256",
            Self::Rs384 => "RS384",
            Self::Rs512 => "RS512",
            Self::EdDsa => "EdDSA",
        }
    }

    /// The algorithm of this registered name, in exactly this letter case (RFC 7515 section 4.1.1).
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|alg| alg.name() == name)
    }

    /// The kind of key it works with.
    pub const fn key_kind(self) -> KeyKind {
        match self {
            Self::Es256 => KeyKind::P256,
            Self::Es384 => KeyKind::P384,
            Self::Es512 => KeyKind::P521,
            Self::Ed25519 | Self::EdDsa => KeyKind::Ed25519,
            Self::Ps256 | Self::Ps384 | Self::Ps512 | Self::Rs256 | Self::Rs384 | Self::Rs512 => KeyKind::Rsa,
        }
    }

    const fn bit(self) -> u16 {
        match self {
            Self::Es256 => 1,
            Self::Ed25519 => 1 << 1,
            Self::Es384 => 1 << 2,
            Self::Es512 => 1 << 3,
            Self::Ps256 => 1 << 4,
            Self::Ps384 => 1 << 5,
            Self::Ps512 => 1 << 6,
            Self::Rs256 => 1 << 7,
            Self::Rs384 => 1 << 8,
            Self::Rs512 => 1 << 9,
            Self::EdDsa => 1 << 10,
        }
    }
}

impl fmt::Display for Alg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Alg {
    type Err = UnknownAlg;

    fn from_str(name: &str) -> Result<Self, UnknownAlg> {
        Self::from_name(name).ok_or_else(|| UnknownAlg(name.chars().take(32).collect()))
    }
}

/// A name that is no algorithm of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownAlg(Box<str>);

impl fmt::Display for UnknownAlg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} is not a signature algorithm for proofs; known are {}", self.0, AlgSet::ALL)
    }
}

impl core::error::Error for UnknownAlg {}

/// The algorithms a server accepts. The accepted list and the advertised list are this one value (R-RS-27).
///
/// ```
/// use keybound::crypto::{Alg, AlgSet};
///
/// let fapi: AlgSet = [Alg::Ps256, Alg::Es256, Alg::Ed25519].into_iter().collect();
/// assert!(fapi.contains(Alg::Es256) && !fapi.contains(Alg::Rs256));
/// assert_eq!(fapi.to_string(), "ES256 Ed25519 PS256");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AlgSet(u16);

impl AlgSet {
    /// Every algorithm of [`Alg`].
    pub const ALL: Self = Self((1 << 11) - 1);

    /// What the FAPI 2.0 Security Profile allows (section 5.4).
    pub const FAPI: Self = Self(Alg::Ps256.bit() | Alg::Es256.bit() | Alg::Ed25519.bit() | Alg::EdDsa.bit());

    /// Whether `alg` is in it.
    pub const fn contains(self, alg: Alg) -> bool {
        self.0 & alg.bit() != 0
    }

    /// Whether there is nothing in it.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The algorithms in it, the preferred first.
    pub fn iter(self) -> impl Iterator<Item = Alg> {
        Alg::ALL.into_iter().filter(move |alg| self.contains(*alg))
    }
}

impl FromIterator<Alg> for AlgSet {
    fn from_iter<I: IntoIterator<Item = Alg>>(algs: I) -> Self {
        Self(algs.into_iter().fold(0, |set, alg| set | alg.bit()))
    }
}

impl fmt::Display for AlgSet {
    /// The names with spaces between, as they stand in `algs` (RFC 9449 section 7.1).
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, alg) in self.iter().enumerate() {
            if position > 0 {
                f.write_str(" ")?;
            }
            f.write_str(alg.name())?;
        }
        Ok(())
    }
}

/// Checks signatures. One implementation is [`aws_lc::AwsLc`].
pub trait Crypto: Send + Sync + fmt::Debug {
    /// Makes `key` ready for checking signatures of `alg`; what comes back may be kept and reused.
    ///
    /// The caller has seen to it that `alg` fits the kind of key.
    ///
    /// # Errors
    ///
    /// [`Reason::KeyInvalid`] if the point is not on its curve, [`Reason::KeyWeak`] if the library refuses the key.
    fn prepare(&self, key: &PublicJwk, alg: Alg) -> Result<Arc<dyn PreparedKey>, Reason>;
}

/// A public key, parsed, for one algorithm.
pub trait PreparedKey: Send + Sync + fmt::Debug {
    /// Whether `signature` is this key's over `message`. ECDSA signatures are R and S at full length (RFC 7518 section 3.4).
    ///
    /// # Errors
    ///
    /// [`BadSignature`], and nothing about why.
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature>;
}

/// The signature is not this key's over this message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "implementations of PreparedKey make it, and it never says more")]
pub struct BadSignature;

/// Holds a private key and signs with it. For a key that answers slowly (an HSM, a cloud KMS) take the two halves of
/// [`client::Attempt`](crate::client::Attempt) instead: signing input out, signature in.
pub trait Signer: Send + Sync + fmt::Debug {
    /// The algorithm of its signatures.
    fn alg(&self) -> Alg;

    /// The public half.
    fn public_jwk(&self) -> &PublicJwk;

    /// Signs `message`, in the form JWS wants.
    ///
    /// # Errors
    ///
    /// [`SigningFailed`] if the key could not be used.
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed>;
}

/// The key could not be used for signing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SigningFailed(Box<str>);

impl SigningFailed {
    /// Failed, for this reason; never put key material there.
    pub fn new(why: impl Into<Box<str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for SigningFailed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "signing failed: {}", self.0)
    }
}

impl core::error::Error for SigningFailed {}
