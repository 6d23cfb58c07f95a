//! Public keys as COSE (RFC 9052 section 7, RFC 9053), of which there is one form (section 6.5.1.1): what does not come out again
//! octet by octet when written down canonically is no key.

use keybound::crypto::Alg;
use keybound::jwk::PublicJwk;
use keybound::jws::encode_base64url;
use minicbor::data::Type;
use minicbor::{Decoder, Encoder};
use serde_json::{Value, json};

use super::Flaw;

/// The algorithms a passkey may have, by their numbers of COSE, the preferred first.
pub(crate) const ALGS: [(i64, Alg); 3] = [(-7, Alg::Es256), (-8, Alg::Ed25519), (-257, Alg::Rs256)];

/// The most members of a key; an elliptic curve has five.
const MAX_MEMBERS: u64 = 5;

/// What a member is.
enum Member<'k> {
    Number(i64),
    Octets(&'k [u8]),
}

/// Reads a key and leaves the decoder behind it.
pub(super) fn key(decoder: &mut Decoder<'_>) -> Result<(PublicJwk, Alg), Flaw> {
    let start = decoder.position();
    let members = members(decoder).ok_or(Flaw::Key)?;
    let read = decoder.input().get(start..decoder.position()).ok_or(Flaw::Key)?;
    let number = |label| match find(&members, label) {
        Some(Member::Number(number)) => Some(*number),
        _ => None,
    };
    let octets = |label| match find(&members, label) {
        Some(Member::Octets(octets)) => Some(encode_base64url(octets)),
        _ => None,
    };
    // kty, alg; then crv, x, y, or n, e.
    let (jwk, length): (Value, usize) = match (number(1), number(3), number(-1)) {
        (Some(2), Some(-7), Some(1)) => (json!({"kty": "EC", "crv": "P-256", "x": octets(-2), "y": octets(-3)}), 5),
        (Some(1), Some(-8), Some(6)) => (json!({"kty": "OKP", "crv": "Ed25519", "x": octets(-2)}), 4),
        (Some(3), Some(-257), None) => (json!({"kty": "RSA", "n": octets(-1), "e": octets(-2)}), 4),
        _ => return Err(Flaw::Key),
    };
    if members.len() != length || canonical(&members).as_deref() != Some(read) {
        return Err(Flaw::Key);
    }
    let alg = ALGS.into_iter().find(|(label, _)| Some(*label) == number(3)).ok_or(Flaw::Key)?.1;
    let jwk = PublicJwk::from_json(jwk.to_string().as_bytes()).map_err(|_| Flaw::Key)?;
    Ok((jwk, alg))
}

fn members<'k>(decoder: &mut Decoder<'k>) -> Option<Vec<(i64, Member<'k>)>> {
    let count = decoder.map().ok()?.filter(|count| *count <= MAX_MEMBERS)?;
    let mut members = Vec::new();
    for _ in 0..count {
        let label = decoder.i64().ok()?;
        let member = match decoder.datatype().ok()? {
            Type::Bytes => Member::Octets(decoder.bytes().ok()?),
            _ => Member::Number(decoder.i64().ok()?),
        };
        members.push((label, member));
    }
    Some(members)
}

fn find<'m, 'k>(members: &'m [(i64, Member<'k>)], label: i64) -> Option<&'m Member<'k>> {
    members.iter().find(|(known, _)| *known == label).map(|(_, member)| member)
}

/// The members as CTAP2 writes them down: each length in its shortest form, in this order.
fn canonical(members: &[(i64, Member<'_>)]) -> Option<Vec<u8>> {
    let mut encoder = Encoder::new(Vec::new());
    encoder.map(u64::try_from(members.len()).ok()?).ok()?;
    for label in [1, 3, -1, -2, -3] {
        match find(members, label) {
            Some(Member::Number(number)) => encoder.i64(label).ok()?.i64(*number).ok()?,
            Some(Member::Octets(octets)) => encoder.i64(label).ok()?.bytes(octets).ok()?,
            None => continue,
        };
    }
    Some(encoder.into_writer())
}
