//! The yardstick of everything that checks ES256: the bare signature check, with the key already parsed.

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED, ParsedPublicKey};
use keybound::crypto::Signer as _;
use keybound::jwk::KeyOctets;
use keybound::jws::decode_base64url;

use crate::CpuTime;
use crate::subject::Subject;

const BATCH: u64 = 1_000;

/// Signed octets and signatures of proofs, and the key of all of them.
#[derive(Debug)]
pub struct Bare {
    key: ParsedPublicKey,
    signed: Vec<(String, Vec<u8>)>,
}

impl Bare {
    /// With proofs of this subject.
    pub fn new(subject: &mut Subject) -> Self {
        let KeyOctets::Ec { x, y } = subject.key().public_jwk().octets() else { panic!("ES256 has an EC key") };
        let point = [&[4], x, y].concat();
        let key = ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).expect("a point on the curve");
        let signed = (0..BATCH).map(|_| {
            let proof = subject.prove();
            let (input, signature) = proof.rsplit_once('.').expect("three segments");
            (input.to_owned(), decode_base64url(signature).expect("base64url"))
        });
        Self { key, signed: signed.collect() }
    }

    /// Checks them all.
    pub fn measure(&self) -> CpuTime {
        CpuTime::measure(BATCH, || {
            for (input, signature) in &self.signed {
                self.key.verify_sig(input.as_bytes(), signature).expect("a good signature");
            }
        })
    }
}
