//! Public keys as JWK and their thumbprints (RFC 7517, RFC 7518 section 6, RFC 8037, RFC 7638). A key with a private or
//! symmetric member never becomes a value of these types.

use core::fmt;
use core::hash::{Hash, Hasher};
use core::str::FromStr;

use curve25519_dalek::edwards::CompressedEdwardsY;
use data_encoding::BASE64URL_NOPAD;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

use crate::crypto::{Alg, KeyKind};
use crate::jws::json::{Object, Value};
use crate::jws::{decode_base64url, decode_exact};
use crate::refusal::Reason;

/// Members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1). Presence alone refuses.
const PRIVATE_MEMBERS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// RSA below this is broken (RFC 7518 section 3.3).
const MIN_RSA_BITS: usize = 2048;

/// RSA above this costs a verifier more than a stranger should be able to make it spend.
const MAX_RSA_BITS: usize = 4096;

/// A public key in its one spelling, so that one key has one thumbprint (R-TOK-03).
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct PublicJwk {
    material: Material,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Material {
    P256 { x: [u8; 32], y: [u8; 32] },
    P384 { x: [u8; 48], y: [u8; 48] },
    P521 { x: [u8; 66], y: [u8; 66] },
    Ed25519 { x: [u8; 32] },
    Rsa { n: Box<[u8]>, e: Box<[u8]> },
}

/// The octets of a public key, for those who hand them to a cryptography library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyOctets<'k> {
    /// Affine coordinates, big-endian, at the full length of the curve's field.
    Ec {
        /// The x coordinate.
        x: &'k [u8],
        /// The y coordinate.
        y: &'k [u8],
    },
    /// The encoded point of RFC 8032.
    Ed25519(&'k [u8; 32]),
    /// Modulus and exponent, big-endian, without leading zeros.
    Rsa {
        /// The modulus.
        n: &'k [u8],
        /// The public exponent.
        e: &'k [u8],
    },
}

impl PublicJwk {
    /// Reads a public key of a JSON object that was parsed strictly.
    ///
    /// Unknown members are ignored. Whether a P-curve point lies on its curve is seen when the key is prepared
    /// ([`Crypto::prepare`](crate::crypto::Crypto::prepare)).
    ///
    /// # Errors
    ///
    /// [`Reason::KeyPrivate`], [`Reason::KeyUnsupported`], [`Reason::KeyInvalid`], [`Reason::KeyWeak`].
    pub fn parse(jwk: &Object<'_>) -> Result<Self, Reason> {
        if PRIVATE_MEMBERS.iter().any(|member| jwk.contains(member)) {
            return Err(Reason::KeyPrivate);
        }
        Self::parse_public_members(jwk)
    }

    /// As [`PublicJwk::parse`], for a key file that may hold the private half as well.
    pub(crate) fn parse_public_members(jwk: &Object<'_>) -> Result<Self, Reason> {
        let member = |name| jwk.get(name).and_then(Value::as_str);
        let material = match (member("kty").ok_or(Reason::KeyUnsupported)?, member("crv")) {
            ("EC", Some("P-256")) => Material::P256 {
                x: coordinate(member("x"))?,
                y: coordinate(member("y"))?,
            },
            ("EC", Some("P-384")) => Material::P384 {
                x: coordinate(member("x"))?,
                y: coordinate(member("y"))?,
            },
            ("EC", Some("P-521")) => Material::P521 {
                x: coordinate(member("x"))?,
                y: coordinate(member("y"))?,
            },
            ("OKP", Some("Ed25519")) => ed25519(coordinate(member("x"))?)?,
            ("RSA", _) => rsa(integer(member("n"))?, integer(member("e"))?)?,
            _ => return Err(Reason::KeyUnsupported),
        };
        Ok(Self { material })
    }

    /// Reads a public key of JSON text.
    ///
    /// ```
    /// use keybound::jwk::PublicJwk;
    ///
    /// let jwk = PublicJwk::from_json(br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#)?;
    /// assert_eq!(jwk.thumbprint().to_string(), "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k");
    /// # Ok::<(), keybound::refusal::Reason>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`Reason::KeyMissing`] if it is no strict JSON object, and those of [`PublicJwk::parse`].
    pub fn from_json(text: &[u8]) -> Result<Self, Reason> {
        Self::parse(&Object::parse(text).map_err(|_| Reason::KeyMissing)?)
    }

    /// The kind of key.
    pub const fn kind(&self) -> KeyKind {
        match self.material {
            Material::P256 { .. } => KeyKind::P256,
            Material::P384 { .. } => KeyKind::P384,
            Material::P521 { .. } => KeyKind::P521,
            Material::Ed25519 { .. } => KeyKind::Ed25519,
            Material::Rsa { .. } => KeyKind::Rsa,
        }
    }

    /// Whether signatures of `alg` are made with this kind of key.
    pub fn fits(&self, alg: Alg) -> bool {
        alg.key_kind() == self.kind()
    }

    /// The octets, for a cryptography library.
    pub fn octets(&self) -> KeyOctets<'_> {
        match &self.material {
            Material::P256 { x, y } => KeyOctets::Ec { x, y },
            Material::P384 { x, y } => KeyOctets::Ec { x, y },
            Material::P521 { x, y } => KeyOctets::Ec { x, y },
            Material::Ed25519 { x } => KeyOctets::Ed25519(x),
            Material::Rsa { n, e } => KeyOctets::Rsa { n, e },
        }
    }

    /// The SHA-256 thumbprint: required members only, in lexicographic order, no white space (RFC 7638 section 3).
    pub fn thumbprint(&self) -> Thumbprint {
        let mut hash = Sha256::new();
        self.write_canonical(|piece| hash.update(piece));
        Thumbprint(hash.finalize().into())
    }

    /// The required members as JSON, in the order that a thumbprint is taken of.
    pub fn to_json(&self) -> String {
        let mut text = String::with_capacity(256);
        self.write_canonical(|piece| text.push_str(core::str::from_utf8(piece).unwrap_or_default()));
        text
    }

    fn write_canonical(&self, mut write: impl FnMut(&[u8])) {
        match (&self.material, self.octets()) {
            (Material::Rsa { .. }, KeyOctets::Rsa { n, e }) => {
                write(br#"{"e":""#);
                write_base64url(e, &mut write);
                write(br#"","kty":"RSA","n":""#);
                write_base64url(n, &mut write);
            }
            (_, KeyOctets::Ed25519(x)) => {
                write(br#"{"crv":"Ed25519","kty":"OKP","x":""#);
                write_base64url(x, &mut write);
            }
            (material, KeyOctets::Ec { x, y }) => {
                write(match material {
                    Material::P256 { .. } => br#"{"crv":"P-256","kty":"EC","x":""#,
                    Material::P384 { .. } => br#"{"crv":"P-384","kty":"EC","x":""#,
                    _ => br#"{"crv":"P-521","kty":"EC","x":""#,
                });
                write_base64url(x, &mut write);
                write(br#"","y":""#);
                write_base64url(y, &mut write);
            }
            (_, KeyOctets::Rsa { .. }) => {}
        }
        write(br#""}"#);
    }
}

/// In blocks of 48 octets, which are 64 characters without a remainder.
fn write_base64url(octets: &[u8], write: &mut impl FnMut(&[u8])) {
    let mut text = [0; 64];
    for block in octets.chunks(48) {
        if let Some(room) = text.get_mut(..BASE64URL_NOPAD.encode_len(block.len())) {
            BASE64URL_NOPAD.encode_mut(block, room);
            write(room);
        }
    }
}

fn coordinate<const N: usize>(text: Option<&str>) -> Result<[u8; N], Reason> {
    text.and_then(|text| decode_exact(text).ok()).ok_or(Reason::KeyInvalid)
}

/// A Base64urlUInt in its shortest form (RFC 7518 section 2).
fn integer(text: Option<&str>) -> Result<Box<[u8]>, Reason> {
    let octets = text
        .and_then(|text| decode_base64url(text).ok())
        .ok_or(Reason::KeyInvalid)?;
    if octets.first().is_none_or(|first| *first == 0) {
        return Err(Reason::KeyInvalid);
    }
    Ok(octets.into())
}

fn ed25519(x: [u8; 32]) -> Result<Material, Reason> {
    let point = CompressedEdwardsY(x).decompress().ok_or(Reason::KeyInvalid)?;
    if point.is_small_order() {
        return Err(Reason::KeyWeak);
    }
    if !is_reduced(&x) {
        return Err(Reason::KeyInvalid);
    }
    Ok(Material::Ed25519 { x })
}

/// Whether y is below 2^255 - 19 (RFC 8032 section 5.1.3). The two points with a second spelling beyond that, by the sign of
/// x = 0, are of small order; so this says what encoding the point again would say, without the inversion.
fn is_reduced(encoded: &[u8; 32]) -> bool {
    let [lowest, middle @ .., highest] = encoded;
    *lowest < 0xed || highest & 0x7f != 0x7f || middle.iter().any(|octet| *octet != 0xff)
}

/// The modulus bounds, odd as every product of odd primes, and an exponent that is odd, at least 3 and at most 32 bits, so
/// that a check costs little.
fn rsa(n: Box<[u8]>, e: Box<[u8]>) -> Result<Material, Reason> {
    let leading = n.first().map_or(0, |first| first.leading_zeros());
    let bits = n
        .len()
        .saturating_mul(8)
        .saturating_sub(usize::try_from(leading).unwrap_or(0));
    let exponent = e.iter().try_fold(0_u64, |value, octet| {
        value
            .checked_mul(256)
            .and_then(|value| value.checked_add(u64::from(*octet)))
            .filter(|value| *value <= 1 << 32)
    });
    let odd = n.last().is_some_and(|last| last & 1 == 1);
    match exponent {
        Some(exponent)
            if odd && (MIN_RSA_BITS..=MAX_RSA_BITS).contains(&bits) && exponent >= 3 && exponent & 1 == 1 =>
        {
            Ok(Material::Rsa { n, e })
        }
        _ => Err(Reason::KeyWeak),
    }
}

impl fmt::Debug for PublicJwk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PublicJwk({:?}, {})", self.kind(), self.thumbprint())
    }
}

/// A JWK thumbprint with SHA-256: the `jkt` of a token and the `dpop_jkt` of an authorization request (RFC 9449 section 6.1).
#[derive(Clone, Copy)]
pub struct Thumbprint([u8; 32]);

impl Thumbprint {
    /// The 32 octets.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// These 32 octets as a thumbprint.
    pub const fn from_bytes(octets: [u8; 32]) -> Self {
        Self(octets)
    }
}

impl PartialEq for Thumbprint {
    /// In constant time (R-TOK-06).
    fn eq(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

impl Eq for Thumbprint {}

impl Hash for Thumbprint {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl FromStr for Thumbprint {
    type Err = MalformedThumbprint;

    /// 43 characters of canonical base64url (R-RS-09, R-AS-15).
    fn from_str(text: &str) -> Result<Self, MalformedThumbprint> {
        decode_exact(text).map(Self).map_err(|_| MalformedThumbprint)
    }
}

impl fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        BASE64URL_NOPAD.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Thumbprint({self})")
    }
}

/// Not 43 characters of base64url.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MalformedThumbprint;

impl fmt::Display for MalformedThumbprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a SHA-256 thumbprint of 43 base64url characters")
    }
}

impl core::error::Error for MalformedThumbprint {}
