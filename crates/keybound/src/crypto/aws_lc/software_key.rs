//! A private key in the memory of this process, and why a text is none.

use core::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, ECDSA_P384_SHA384_FIXED_SIGNING, ECDSA_P521_SHA512_FIXED_SIGNING, EcdsaKeyPair,
    EcdsaSigningAlgorithm, Ed25519KeyPair, KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PKCS1_SHA512,
    RSA_PSS_SHA256, RSA_PSS_SHA384, RSA_PSS_SHA512, RsaKeyPair, RsaPublicKeyComponents, RsaSignatureEncoding,
};

use crate::crypto::{Alg, KeyKind, Signer, SigningFailed};
use crate::jwk::{PublicJwk, Thumbprint};
use crate::jws::encode_base64url;
use crate::refusal::{Reason, Refusal};

/// A private key that lives in this process and signs for one algorithm.
///
/// The library wipes the key when this is dropped; `Debug` prints the algorithm and the thumbprint.
///
/// ```
/// use keybound::crypto::aws_lc::SoftwareKey;
/// use keybound::crypto::{Alg, Signer};
///
/// let key = SoftwareKey::generate(Alg::Es256)?;
/// let stored = key.to_private_jwk()?;
/// assert_eq!(SoftwareKey::from_jwk(stored.as_bytes())?.public_jwk(), key.public_jwk());
/// # Ok::<(), keybound::crypto::aws_lc::KeyError>(())
/// ```
pub struct SoftwareKey {
    alg: Alg,
    pub(super) pair: Pair,
    public: PublicJwk,
    thumbprint: Thumbprint,
}

impl SoftwareKey {
    /// A new key for `alg`; RSA of 2048 bits.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`].
    pub fn generate(alg: Alg) -> Result<Self, KeyError> {
        let pair = match ecdsa(alg.key_kind()) {
            Some(curve) => Pair::Ec(EcdsaKeyPair::generate(curve).map_err(|_| KeyError::Library)?),
            None if alg.key_kind() == KeyKind::Rsa => return Self::generate_rsa(alg, 2048),
            None => Pair::Ed25519(Ed25519KeyPair::generate().map_err(|_| KeyError::Library)?),
        };
        Self::new(pair, Some(alg))
    }

    /// A new RSA key of 2048, 3072 or 4096 bits for `alg`. It takes the time of finding two primes: seconds at 4096.
    ///
    /// # Errors
    ///
    /// [`KeyError::Size`] for other sizes, [`KeyError::AlgMismatch`] if `alg` is not RSA, [`KeyError::Library`].
    pub fn generate_rsa(alg: Alg, bits: u32) -> Result<Self, KeyError> {
        let size = match bits {
            2048 => KeySize::Rsa2048,
            3072 => KeySize::Rsa3072,
            4096 => KeySize::Rsa4096,
            _ => return Err(KeyError::Size),
        };
        if alg.key_kind() != KeyKind::Rsa {
            return Err(KeyError::AlgMismatch { alg, kind: KeyKind::Rsa });
        }
        Self::new(Pair::Rsa(RsaKeyPair::generate(size).map_err(|_| KeyError::Library)?), Some(alg))
    }

    /// `pair`, for `alg` or the usual algorithm of its kind.
    pub(super) fn new(pair: Pair, alg: Option<Alg>) -> Result<Self, KeyError> {
        let public = pair.public_jwk()?;
        let kind = public.kind();
        let alg = alg.unwrap_or(match kind {
            KeyKind::P256 => Alg::Es256,
            KeyKind::P384 => Alg::Es384,
            KeyKind::P521 => Alg::Es512,
            KeyKind::Ed25519 => Alg::Ed25519,
            KeyKind::Rsa => Alg::Ps256,
        });
        if !public.fits(alg) {
            return Err(KeyError::AlgMismatch { alg, kind });
        }
        Ok(Self { alg, pair, thumbprint: public.thumbprint(), public })
    }

    /// The same key, for signatures by `alg`.
    ///
    /// # Errors
    ///
    /// [`KeyError::AlgMismatch`].
    pub fn with_alg(self, alg: Alg) -> Result<Self, KeyError> {
        Self::new(self.pair, Some(alg))
    }

    /// The thumbprint of the public half.
    pub const fn thumbprint(&self) -> Thumbprint {
        self.thumbprint
    }
}

impl Signer for SoftwareKey {
    fn alg(&self) -> Alg {
        self.alg
    }

    fn public_jwk(&self) -> &PublicJwk {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let failed = |_| SigningFailed::new("the cryptography library could not use the key");
        match &self.pair {
            Pair::Ec(pair) => Ok(pair.sign(&SystemRandom::new(), message).map_err(failed)?.as_ref().to_vec()),
            Pair::Ed25519(pair) => Ok(pair.try_sign(message).map_err(failed)?.as_ref().to_vec()),
            Pair::Rsa(pair) => {
                let padding = padding(self.alg).ok_or_else(|| SigningFailed::new("the algorithm is not one of RSA"))?;
                let mut signature = vec![0; pair.public_modulus_len()];
                pair.sign(padding, &SystemRandom::new(), message, &mut signature).map_err(failed)?;
                Ok(signature)
            }
        }
    }
}

impl fmt::Debug for SoftwareKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SoftwareKey({}, {})", self.alg, self.thumbprint)
    }
}

/// Both halves, as the library keeps them.
pub(super) enum Pair {
    Ec(EcdsaKeyPair),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
}

impl Pair {
    /// The public half, through the importer that everybody's keys go through.
    fn public_jwk(&self) -> Result<PublicJwk, KeyError> {
        let text = match self {
            Self::Ec(pair) => {
                let point = pair.public_key().as_ref();
                let (crv, size) = match point.len() {
                    65 => ("P-256", 32),
                    97 => ("P-384", 48),
                    _ => ("P-521", 66),
                };
                let (x, y) = point
                    .split_first()
                    .and_then(|(_, coordinates)| coordinates.split_at_checked(size))
                    .ok_or(KeyError::Library)?;
                let (x, y) = (encode_base64url(x), encode_base64url(y));
                format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}"}}"#)
            }
            Self::Ed25519(pair) => {
                format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, encode_base64url(pair.public_key().as_ref()))
            }
            Self::Rsa(pair) => {
                let RsaPublicKeyComponents { n, e } = pair.public_key().into();
                format!(r#"{{"kty":"RSA","n":"{}","e":"{}"}}"#, encode_base64url(&n), encode_base64url(&e))
            }
        };
        PublicJwk::from_json(text.as_bytes()).map_err(KeyError::Public)
    }
}

/// Every curve's way of signing: R and S at full length.
pub(super) fn ecdsa(kind: KeyKind) -> Option<&'static EcdsaSigningAlgorithm> {
    match kind {
        KeyKind::P256 => Some(&ECDSA_P256_SHA256_FIXED_SIGNING),
        KeyKind::P384 => Some(&ECDSA_P384_SHA384_FIXED_SIGNING),
        KeyKind::P521 => Some(&ECDSA_P521_SHA512_FIXED_SIGNING),
        KeyKind::Ed25519 | KeyKind::Rsa => None,
    }
}

fn padding(alg: Alg) -> Option<&'static RsaSignatureEncoding> {
    match alg {
        Alg::Rs256 => Some(&RSA_PKCS1_SHA256),
        Alg::Rs384 => Some(&RSA_PKCS1_SHA384),
        Alg::Rs512 => Some(&RSA_PKCS1_SHA512),
        Alg::Ps256 => Some(&RSA_PSS_SHA256),
        Alg::Ps384 => Some(&RSA_PSS_SHA384),
        Alg::Ps512 => Some(&RSA_PSS_SHA512),
        _ => None,
    }
}

/// Why there is no private key. It names members and kinds, never their values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyError {
    /// Not one strict JSON object.
    Json,
    /// The public half is refused, for this reason.
    Public(Reason),
    /// A private member is missing or is not base64url of the right length.
    Member(&'static str),
    /// `oth`: RSA of more than two primes.
    ManyPrimes,
    /// The private half does not belong to the public half, or the public half is not on its curve.
    Halves,
    /// `alg` names no algorithm of ours.
    AlgUnknown,
    /// The algorithm is not one of this kind of key.
    AlgMismatch {
        /// The algorithm asked for.
        alg: Alg,
        /// The kind of key that is there.
        kind: KeyKind,
    },
    /// An RSA key of this size is not made here.
    Size,
    /// No PEM block with a private key.
    Pem,
    /// The key is encrypted under a passphrase.
    Encrypted,
    /// The octets are not a private key of a supported kind.
    Der,
    /// The library failed at something that cannot fail.
    Library,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("not a JWK: the text is not one JSON object, or names a member twice"),
            Self::Public(reason) => write!(f, "the public half is refused: {}", Refusal::from(*reason)),
            Self::Member(name) => write!(f, "{name} is missing, or is not base64url of the right length"),
            Self::ManyPrimes => f.write_str("RSA keys of more than two primes are not supported"),
            Self::Halves => f.write_str("the private half does not belong to the public half"),
            Self::AlgUnknown => f.write_str("alg is not the name of a signature algorithm for proofs"),
            Self::AlgMismatch { alg, kind } => write!(f, "{alg} does not work with a key of the kind {kind:?}"),
            Self::Size => f.write_str("RSA keys are made of 2048, 3072 or 4096 bits"),
            Self::Pem => f.write_str(
                "no PEM block with a private key, or its base64 is damaged; and no JWK, which begins with {",
            ),
            Self::Encrypted => f.write_str("the key is encrypted; decrypt it first (openssl pkey)"),
            Self::Der => f.write_str(
                "not a private key of a supported kind: P-256, P-384, P-521, Ed25519, RSA of 2048 to 4096 bits",
            ),
            Self::Library => f.write_str("the cryptography library failed at something that cannot fail"),
        }
    }
}

impl core::error::Error for KeyError {}
