//! Private keys as other programs write them: PKCS#8, and in PEM also SEC 1 and PKCS#1.

use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair};
use data_encoding::BASE64;
use zeroize::Zeroizing;

use super::software_key::{KeyError, Pair, SoftwareKey, ecdsa};
use crate::crypto::{Alg, KeyKind};

const CURVES: [KeyKind; 3] = [KeyKind::P256, KeyKind::P384, KeyKind::P521];

impl SoftwareKey {
    /// Reads a private key of unencrypted PKCS#8 (RFC 5958), for `alg` or the usual algorithm of its kind.
    ///
    /// # Errors
    ///
    /// [`KeyError::Der`], [`KeyError::AlgMismatch`], [`KeyError::Public`].
    pub fn from_pkcs8_der(der: &[u8], alg: Option<Alg>) -> Result<Self, KeyError> {
        let pair = ec(|curve| EcdsaKeyPair::from_pkcs8(curve, der).ok())
            .or_else(|| Ed25519KeyPair::from_pkcs8(der).ok().map(Pair::Ed25519))
            .or_else(|| RsaKeyPair::from_pkcs8(der).ok().map(Pair::Rsa));
        Self::new(pair.ok_or(KeyError::Der)?, alg)
    }

    /// Reads the private key of a PEM text (RFC 7468): PKCS#8, `EC PRIVATE KEY` or `RSA PRIVATE KEY`, unencrypted. Other
    /// blocks and text around it are passed over.
    ///
    /// # Errors
    ///
    /// [`KeyError::Pem`], [`KeyError::Encrypted`], and those of [`SoftwareKey::from_pkcs8_der`].
    pub fn from_pem(text: &str, alg: Option<Alg>) -> Result<Self, KeyError> {
        if text.contains("BEGIN ENCRYPTED") || text.contains(",ENCRYPTED") {
            return Err(KeyError::Encrypted);
        }
        if let Some(der) = block(text, "PRIVATE KEY")? {
            return Self::from_pkcs8_der(&der, alg);
        }
        let pair = if let Some(der) = block(text, "EC PRIVATE KEY")? {
            ec(|curve| EcdsaKeyPair::from_private_key_der(curve, &der).ok())
        } else if let Some(der) = block(text, "RSA PRIVATE KEY")? {
            RsaKeyPair::from_der(&der).ok().map(Pair::Rsa)
        } else {
            return Err(KeyError::Pem);
        };
        Self::new(pair.ok_or(KeyError::Der)?, alg)
    }
}

/// The first curve that takes the key.
fn ec(read: impl Fn(&'static aws_lc_rs::signature::EcdsaSigningAlgorithm) -> Option<EcdsaKeyPair>) -> Option<Pair> {
    CURVES.into_iter().filter_map(ecdsa).find_map(read).map(Pair::Ec)
}

/// The octets of the first block of this label.
fn block(text: &str, label: &str) -> Result<Option<Zeroizing<Vec<u8>>>, KeyError> {
    let Some((_, rest)) = text.split_once(&format!("-----BEGIN {label}-----")) else {
        return Ok(None);
    };
    let (body, _) = rest
        .split_once(&format!("-----END {label}-----"))
        .ok_or(KeyError::Pem)?;
    let mut base64 = Zeroizing::new(Vec::with_capacity(body.len()));
    base64.extend(body.bytes().filter(|octet| !octet.is_ascii_whitespace()));
    let mut octets = Zeroizing::new(vec![0; BASE64.decode_len(base64.len()).map_err(|_| KeyError::Pem)?]);
    let length = BASE64.decode_mut(&base64, &mut octets).map_err(|_| KeyError::Pem)?;
    octets.truncate(length);
    Ok(Some(octets))
}
