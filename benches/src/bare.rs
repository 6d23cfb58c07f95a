//! The yardstick of everything that checks ES256: the bare signature check, with the key already parsed.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use keybound::jwk::{KeyOctets, PublicJwk};
use keybound::jws::decode_base64url;

/// A parsed key, signed octets and the signature.
#[derive(Debug)]
pub struct Bare {
    key: ParsedPublicKey,
    signed: String,
    signature: Vec<u8>,
}

impl Bare {
    /// What is bare of this proof by this key.
    pub fn of(key: &PublicJwk, proof: &str) -> Self {
        let KeyOctets::Ec { x, y } = key.octets() else { panic!("ES256 has an EC key") };
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).expect("a point on the curve");
        let (signed, signature) = proof.rsplit_once('.').expect("three segments");
        Self { key, signed: signed.to_owned(), signature: decode_base64url(signature).expect("base64url") }
    }

    /// Checks the signature.
    pub fn check(&self) {
        self.key.verify_sig(self.signed.as_bytes(), &self.signature).expect("a good signature");
    }
}
