//! Signature checks by AWS-LC.

use core::fmt;
use std::sync::Arc;

use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ECDSA_P521_SHA512_FIXED, ED25519, EcdsaVerificationAlgorithm,
    ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_2048_8192_SHA384, RSA_PKCS1_2048_8192_SHA512,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_2048_8192_SHA384, RSA_PSS_2048_8192_SHA512, RsaParameters,
    RsaPublicKeyComponents,
};

use crate::crypto::{Alg, BadSignature, Crypto, PreparedKey};
use crate::jwk::{KeyOctets, PublicJwk};
use crate::refusal::Reason;

/// Checks signatures of every [`Alg`] with AWS-LC.
///
/// ```
/// use keybound::crypto::aws_lc::{AwsLc, SoftwareKey};
/// use keybound::crypto::{Alg, Crypto, Signer};
/// use keybound::refusal::Refusal;
///
/// let key = SoftwareKey::generate(Alg::Es256)?;
/// let signature = key.sign(b"message")?;
/// let prepared = AwsLc.prepare(key.public_jwk(), Alg::Es256).map_err(Refusal::from)?;
/// assert!(prepared.verify(b"message", &signature).is_ok());
/// assert!(prepared.verify(b"massage", &signature).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::exhaustive_structs, reason = "it holds nothing, and whoever needs it writes its name")]
pub struct AwsLc;

impl Crypto for AwsLc {
    fn prepare(&self, key: &PublicJwk, alg: Alg) -> Result<Arc<dyn PreparedKey>, Reason> {
        if !key.fits(alg) {
            return Err(Reason::AlgMismatch);
        }
        let parsed = match key.octets() {
            KeyOctets::Ec { x, y } => {
                let (algorithm, prefix) = ecdsa(alg).ok_or(Reason::AlgMismatch)?;
                let mut room = [0; SPKI_MAX];
                let spki = spki(prefix, x, y, &mut room);
                ParsedPublicKey::new(algorithm, spki).map_err(|_| Reason::KeyInvalid)?
            }
            KeyOctets::Ed25519(x) => ParsedPublicKey::new(&ED25519, x).map_err(|_| Reason::KeyInvalid)?,
            KeyOctets::Rsa { n, e } => RsaPublicKeyComponents { n, e }
                .to_parsed_public_key(rsa(alg).ok_or(Reason::AlgMismatch)?)
                .map_err(|_| Reason::KeyWeak)?,
        };
        Ok(Arc::new(Prepared(parsed)))
    }
}

struct Prepared(ParsedPublicKey);

impl PreparedKey for Prepared {
    fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), BadSignature> {
        self.0.verify_sig(message, signature).map_err(|_| BadSignature)
    }
}

impl fmt::Debug for Prepared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Prepared({:?})", self.0.algorithm())
    }
}

/// One octet of form and two coordinates of P-521.
pub(super) const UNCOMPRESSED_MAX: usize = 1 + 2 * 66;

/// The uncompressed point `04 || x || y` (SEC 1 section 2.3.3). The library would also take a compressed point and a whole
/// SubjectPublicKeyInfo where it expects this; from coordinates of fixed length neither can arise.
pub(super) fn uncompressed<'r>(x: &[u8], y: &[u8], room: &'r mut [u8; UNCOMPRESSED_MAX]) -> &'r [u8] {
    let octets = [4].iter().chain(x).chain(y);
    room.iter_mut().zip(octets).for_each(|(place, octet)| *place = *octet);
    room.get(..x.len().saturating_add(y.len()).saturating_add(1)).unwrap_or_default()
}

/// The algorithm, and what stands before the point in a SubjectPublicKeyInfo of its curve (RFC 5480 section 2).
fn ecdsa(alg: Alg) -> Option<(&'static EcdsaVerificationAlgorithm, &'static [u8])> {
    match alg {
        Alg::Es256 => Some((
            &ECDSA_P256_SHA256_FIXED,
            b"\x30\x59\x30\x13\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x08\x2a\x86\x48\xce\x3d\x03\x01\x07\x03\x42\x00",
        )),
        Alg::Es384 => Some((
            &ECDSA_P384_SHA384_FIXED,
            b"\x30\x76\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x22\x03\x62\x00",
        )),
        Alg::Es512 => Some((
            &ECDSA_P521_SHA512_FIXED,
            b"\x30\x81\x9b\x30\x10\x06\x07\x2a\x86\x48\xce\x3d\x02\x01\x06\x05\x2b\x81\x04\x00\x23\x03\x81\x86\x00",
        )),
        _ => None,
    }
}

/// The longest prefix and a point of P-521.
const SPKI_MAX: usize = 26 + UNCOMPRESSED_MAX;

/// The key as a SubjectPublicKeyInfo. The library tries that form first and always the bare point as well, so that the point
/// alone would be decoded once and checked twice; this way it is both once.
fn spki<'r>(prefix: &[u8], x: &[u8], y: &[u8], room: &'r mut [u8; SPKI_MAX]) -> &'r [u8] {
    let octets = prefix.iter().chain(&[4]).chain(x).chain(y);
    let mut length = 0_usize;
    for (place, octet) in room.iter_mut().zip(octets) {
        *place = *octet;
        length = length.saturating_add(1);
    }
    room.get(..length).unwrap_or_default()
}

/// The salt of PSS is as long as the hash, which is what the library expects of these (RFC 7518 section 3.5).
fn rsa(alg: Alg) -> Option<&'static RsaParameters> {
    match alg {
        Alg::Rs256 => Some(&RSA_PKCS1_2048_8192_SHA256),
        Alg::Rs384 => Some(&RSA_PKCS1_2048_8192_SHA384),
        Alg::Rs512 => Some(&RSA_PKCS1_2048_8192_SHA512),
        Alg::Ps256 => Some(&RSA_PSS_2048_8192_SHA256),
        Alg::Ps384 => Some(&RSA_PSS_2048_8192_SHA384),
        Alg::Ps512 => Some(&RSA_PSS_2048_8192_SHA512),
        _ => None,
    }
}
