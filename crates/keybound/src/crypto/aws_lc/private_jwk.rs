//! Private keys as JWK (RFC 7518 section 6, RFC 8037 section 2), in and out.

use aws_lc_rs::encoding::{AsBigEndian as _, AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeyPairComponents;
use aws_lc_rs::signature::{EcdsaKeyPair, Ed25519KeyPair, RsaKeyPair, RsaPublicKeyComponents};
use data_encoding::BASE64URL_NOPAD;
use zeroize::Zeroizing;

use super::software_key::{KeyError, Pair, SoftwareKey, ecdsa};
use super::verify::{UNCOMPRESSED_MAX, uncompressed};
use crate::crypto::{Alg, Signer as _};
use crate::jwk::{KeyOctets, PublicJwk};
use crate::jws::decode_into;
use crate::jws::json::{Object, Value};

/// The longest private member: `d` of RSA with 4096 bits.
const MAX_MEMBER: usize = 512;

/// Room for an RSA key of 4096 bits, so that no growth leaves a copy of the key behind.
const TEXT_CAPACITY: usize = 4096;

impl SoftwareKey {
    /// Reads a private key of JWK text: EC, OKP, or RSA with all of `d`, `p`, `q`, `dp`, `dq`, `qi`.
    ///
    /// `alg` decides the algorithm; without it, ES256, ES384, ES512, Ed25519 or PS256, by the kind of key.
    ///
    /// # Errors
    ///
    /// [`KeyError`], also when the private half does not belong to the public half.
    pub fn from_jwk(text: &[u8]) -> Result<Self, KeyError> {
        let jwk = Object::parse(text).map_err(|_| KeyError::Json)?;
        let public = PublicJwk::parse_public_members(&jwk).map_err(KeyError::Public)?;
        let alg = match jwk.get("alg") {
            Some(alg) => Some(alg.as_str().and_then(Alg::from_name).ok_or(KeyError::AlgUnknown)?),
            None => None,
        };
        Self::new(pair(&jwk, &public)?, alg)
    }

    /// The private key as JWK text, with its `alg`. Whoever holds this text is the key's owner.
    ///
    /// # Errors
    ///
    /// [`KeyError::Library`].
    pub fn to_private_jwk(&self) -> Result<Zeroizing<String>, KeyError> {
        let mut text = Zeroizing::new(String::with_capacity(TEXT_CAPACITY));
        text.push_str(self.public_jwk().to_json().trim_end_matches('}'));
        text.push_str(r#","alg":""#);
        text.push_str(self.alg().name());
        text.push('"');
        match &self.pair {
            Pair::Ec(pair) => {
                let scalar = pair.private_key().as_be_bytes().map_err(|_| KeyError::Library)?;
                push_member(&mut text, "d", scalar.as_ref());
            }
            Pair::Ed25519(pair) => {
                let der: Pkcs8V1Der<'_> = pair.as_der().map_err(|_| KeyError::Library)?;
                let seed = pkcs8_key(der.as_ref()).and_then(|key| Der(key).next(OCTET_STRING));
                push_member(&mut text, "d", seed.ok_or(KeyError::Library)?);
            }
            Pair::Rsa(pair) => {
                let der = pair.as_der().map_err(|_| KeyError::Library)?;
                push_rsa_members(&mut text, der.as_ref()).ok_or(KeyError::Library)?;
            }
        }
        text.push('}');
        Ok(text)
    }
}

fn pair(jwk: &Object<'_>, public: &PublicJwk) -> Result<Pair, KeyError> {
    match public.octets() {
        KeyOctets::Ec { x, y } => {
            let curve = ecdsa(public.kind()).ok_or(KeyError::Library)?;
            let mut room = [0; UNCOMPRESSED_MAX];
            let d = PrivateMember::read(jwk, "d")?.of_length(x.len())?;
            EcdsaKeyPair::from_private_key_and_public_key(curve, d.as_ref(), uncompressed(x, y, &mut room))
                .map(Pair::Ec)
        }
        KeyOctets::Ed25519(x) => {
            let d = PrivateMember::read(jwk, "d")?.of_length(x.len())?;
            Ed25519KeyPair::from_seed_and_public_key(d.as_ref(), x).map(Pair::Ed25519)
        }
        KeyOctets::Rsa { n, e } => {
            if jwk.contains("oth") {
                return Err(KeyError::ManyPrimes);
            }
            RsaKeyPair::from_components(&KeyPairComponents {
                public_key: RsaPublicKeyComponents { n, e },
                d: PrivateMember::read(jwk, "d")?,
                p: PrivateMember::read(jwk, "p")?,
                q: PrivateMember::read(jwk, "q")?,
                dP: PrivateMember::read(jwk, "dp")?,
                dQ: PrivateMember::read(jwk, "dq")?,
                qInv: PrivateMember::read(jwk, "qi")?,
            })
            .map(Pair::Rsa)
        }
    }
    .map_err(|_| KeyError::Halves)
}

/// A decoded private member, wiped when dropped.
struct PrivateMember {
    name: &'static str,
    octets: Zeroizing<[u8; MAX_MEMBER]>,
    length: usize,
}

impl PrivateMember {
    fn read(jwk: &Object<'_>, name: &'static str) -> Result<Self, KeyError> {
        let text = jwk.get(name).and_then(Value::as_str).ok_or(KeyError::Member(name))?;
        let mut octets = Zeroizing::new([0; MAX_MEMBER]);
        match decode_into(text, octets.as_mut_slice()) {
            Ok(length) if length > 0 => Ok(Self { name, octets, length }),
            _ => Err(KeyError::Member(name)),
        }
    }

    /// At the full length of the curve (RFC 7518 section 6.2.2.1).
    fn of_length(self, length: usize) -> Result<Self, KeyError> {
        if self.length == length {
            Ok(self)
        } else {
            Err(KeyError::Member(self.name))
        }
    }
}

impl AsRef<[u8]> for PrivateMember {
    fn as_ref(&self) -> &[u8] {
        self.octets.get(..self.length).unwrap_or_default()
    }
}

fn push_member(text: &mut String, name: &str, octets: &[u8]) {
    text.push_str(",\"");
    text.push_str(name);
    text.push_str("\":\"");
    BASE64URL_NOPAD.encode_append(octets, text);
    text.push('"');
}

/// The private numbers of `RSAPrivateKey` (RFC 8017 appendix A.1.2): version, n and e come before them.
fn push_rsa_members(text: &mut String, pkcs8: &[u8]) -> Option<()> {
    let mut numbers = Der(Der(pkcs8_key(pkcs8)?).next(SEQUENCE)?);
    for _ in ["version", "n", "e"] {
        numbers.next(INTEGER)?;
    }
    for name in ["d", "p", "q", "dp", "dq", "qi"] {
        let number = numbers.next(INTEGER)?;
        push_member(text, name, number.strip_prefix(&[0]).unwrap_or(number));
    }
    Some(())
}

/// The octets of `privateKey` in `PrivateKeyInfo` (RFC 5958 section 2).
fn pkcs8_key(der: &[u8]) -> Option<&[u8]> {
    let mut info = Der(Der(der).next(SEQUENCE)?);
    info.next(INTEGER)?;
    info.next(SEQUENCE)?;
    info.next(OCTET_STRING)
}

const INTEGER: u8 = 0x02;
const OCTET_STRING: u8 = 0x04;
const SEQUENCE: u8 = 0x30;

/// DER as the library writes it; it reads nobody else's.
struct Der<'d>(&'d [u8]);

impl<'d> Der<'d> {
    /// The content of the next element, if it has this tag.
    fn next(&mut self, tag: u8) -> Option<&'d [u8]> {
        let (found, rest) = self.0.split_first()?;
        let (first, rest) = rest.split_first()?;
        let (length, rest) = match first {
            0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            0x82 => rest
                .split_first_chunk()
                .map(|(length, rest)| (usize::from(u16::from_be_bytes(*length)), rest))?,
            short => (usize::from(*short), rest),
        };
        let (content, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        (*found == tag).then_some(content)
    }
}
