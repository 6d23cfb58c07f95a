//! What verifies and what does not.

use super::{generate, spec};
use crate::crypto::aws_lc::{AwsLc, SoftwareKey};
use crate::crypto::{Alg, BadSignature, Crypto as _, KeyKind, Signer as _};
use crate::jwk::PublicJwk;
use crate::jws::Compact;
use crate::refusal::Reason;

#[test]
fn every_algorithm_verifies_what_it_signs_and_nothing_else() {
    for alg in Alg::ALL {
        let key = generate(alg);
        let prepared = AwsLc.prepare(key.public_jwk(), alg).unwrap();
        let signature = key.sign(b"message").unwrap();
        let length = match alg.key_kind() {
            KeyKind::P256 | KeyKind::Ed25519 => 64,
            KeyKind::P384 => 96,
            KeyKind::P521 => 132,
            KeyKind::Rsa => 256,
        };
        assert_eq!(signature.len(), length, "{alg}");
        assert_eq!(prepared.verify(b"message", &signature), Ok(()), "{alg}");

        let refused = |what: &str, message: &[u8], signature: &[u8]| {
            assert_eq!(prepared.verify(message, signature), Err(BadSignature), "{alg}: {what}");
        };
        refused("other message", b"massage", &signature);
        refused("no signature", b"message", b"");
        refused("zeros", b"message", &vec![0; length]);
        refused("short by one", b"message", &signature[1..]);
        refused("long by one", b"message", &[&signature[..], &[0]].concat());
        refused("zero in front", b"message", &[&[0], &signature[..]].concat());
        for octet in [0, length / 2, length - 1] {
            let mut changed = signature.clone();
            changed[octet] ^= 1;
            refused("one bit", b"message", &changed);
        }
        assert!(
            AwsLc
                .prepare(generate(alg).public_jwk(), alg)
                .unwrap()
                .verify(b"message", &signature)
                .is_err(),
            "{alg}"
        );
    }
}

/// R-PRF-14: also a library that is asked wrongly does not mix families or hashes.
#[test]
fn algorithms_do_not_stand_in_for_each_other() {
    for signed in Alg::ALL {
        let key = generate(signed);
        let signature = key.sign(b"message").unwrap();
        for asked in Alg::ALL {
            match AwsLc.prepare(key.public_jwk(), asked) {
                Err(reason) => assert_eq!((reason, key.public_jwk().fits(asked)), (Reason::AlgMismatch, false)),
                Ok(prepared) => {
                    let same = signed == asked || signed.key_kind() == KeyKind::Ed25519;
                    assert_eq!(
                        prepared.verify(b"message", &signature).is_ok(),
                        same,
                        "{signed} as {asked}"
                    );
                }
            }
        }
    }
}

#[test]
fn larger_rsa_keys_sign_too() {
    for bits in [3072, 4096] {
        let key = SoftwareKey::generate_rsa(Alg::Ps512, bits).unwrap();
        let signature = key.sign(b"message").unwrap();
        assert_eq!(signature.len() * 8, usize::try_from(bits).unwrap());
        assert_eq!(
            AwsLc
                .prepare(key.public_jwk(), Alg::Ps512)
                .unwrap()
                .verify(b"message", &signature),
            Ok(())
        );
        let again = SoftwareKey::from_jwk(key.to_private_jwk().unwrap().as_bytes()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk());
    }
}

/// R-PRF-23 with the examples of RFC 7515 appendix A and RFC 8037 appendix A.
#[test]
fn the_examples_of_the_rfcs_verify() {
    let file = spec!("jws-signatures.json");
    for case in file["cases"].as_array().unwrap() {
        let id = &case["id"];
        let alg = Alg::from_name(case["alg"].as_str().unwrap());
        if case["valid"] == false {
            assert_eq!(alg, None, "{id}");
            continue;
        }
        let alg = alg.unwrap();
        let key = PublicJwk::from_json(case["jwk"].to_string().as_bytes()).unwrap();
        let prepared = AwsLc.prepare(&key, alg).unwrap();
        let jws = Compact::split(case["jws"].as_str().unwrap()).unwrap();
        let signature = jws.signature().unwrap();
        let signature = signature.as_slice();
        assert_eq!(signature.len(), case["signature_octets"], "{id}");
        assert_eq!(prepared.verify(jws.signing_input.as_bytes(), signature), Ok(()), "{id}");
        assert!(prepared.verify(jws.payload.as_bytes(), signature).is_err(), "{id}");
    }
}
