//! Round trips of every algorithm.
use super::*;
use crate::crypto::{Alg, Crypto as _, Signer as _};

#[test]
fn every_algorithm_signs_what_it_verifies() {
    for alg in Alg::ALL {
        let key = SoftwareKey::generate(alg).unwrap();
        let stored = key.to_private_jwk().unwrap();
        let again = SoftwareKey::from_jwk(stored.as_bytes()).unwrap();
        let signature = again.sign(b"message").unwrap();
        let prepared = AwsLc.prepare(key.public_jwk(), alg).unwrap();
        assert_eq!(prepared.verify(b"message", &signature), Ok(()), "{alg}");
        assert!(prepared.verify(b"massage", &signature).is_err(), "{alg}");
    }
}
