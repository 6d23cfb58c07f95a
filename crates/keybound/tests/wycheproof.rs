//! Project Wycheproof's signature vectors, each key through the JWK importer. Of RSA PKCS#1 v1.5 the vectors called
//! acceptable (a missing NULL in the padding) are refused; of keys, RSA with 8192 bits and curves that are not ours.
#![cfg(feature = "aws-lc-rs")]

use data_encoding::{BASE64URL_NOPAD, HEXLOWER_PERMISSIVE};
use keybound::crypto::aws_lc::AwsLc;
use keybound::crypto::{Alg, Crypto as _};
use keybound::jwk::PublicJwk;
use keybound::refusal::Reason;
use serde_json::{Value, json};
use wycheproof::{ecdsa, eddsa, rsa_pkcs1_verify as pkcs1, rsa_pss_verify as pss};

/// How many signatures verified and how many were refused.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tally {
    verified: usize,
    refused: usize,
}

/// Runs a file: `ours` says of a group and a vector whether the signature must verify.
fn run(text: &str, alg: Alg, ours: impl Fn(&Value, &Value) -> bool) -> Tally {
    let file = parse(text);
    let mut tally = Tally::default();
    for group in list(&file, "testGroups") {
        let key = import(group).unwrap_or_else(|reason| panic!("{alg}: {reason}: {}", group["publicKey"]));
        let prepared = AwsLc
            .prepare(&key, alg)
            .unwrap_or_else(|reason| panic!("{alg}: {reason}: {key:?}"));
        for vector in list(group, "tests") {
            let verified = prepared.verify(&hex(&vector["msg"]), &hex(&vector["sig"])).is_ok();
            assert_eq!(
                verified,
                ours(group, vector),
                "{alg} {} {}",
                vector["tcId"],
                vector["comment"]
            );
            *(if verified {
                &mut tally.verified
            } else {
                &mut tally.refused
            }) += 1;
        }
    }
    tally
}

fn valid(_: &Value, vector: &Value) -> bool {
    vector["result"] == "valid"
}

fn none(_: &Value, _: &Value) -> bool {
    false
}

/// The key of the numbers; where the file has a JWK as well, it must be the same key.
fn import(group: &Value) -> Result<PublicJwk, Reason> {
    let public = &group["publicKey"];
    let jwk = match (public["curve"].as_str(), public["uncompressed"].as_str()) {
        (Some(_), None) => json!({"kty": "OKP", "crv": "Ed25519", "x": BASE64URL_NOPAD.encode(&hex(&public["pk"]))}),
        (Some(curve), Some(_)) => {
            let point = hex(&public["uncompressed"]);
            let (x, y) = point[1..].split_at(point.len() / 2);
            let crv = match curve {
                "secp256r1" => "P-256",
                "secp384r1" => "P-384",
                "secp521r1" => "P-521",
                other => other,
            };
            json!({"kty": "EC", "crv": crv, "x": BASE64URL_NOPAD.encode(x), "y": BASE64URL_NOPAD.encode(y)})
        }
        _ => json!({"kty": "RSA", "n": integer(&public["modulus"]), "e": integer(&public["publicExponent"])}),
    };
    let key = PublicJwk::from_json(jwk.to_string().as_bytes())?;
    for given in ["publicKeyJwk", "keyJwk"]
        .iter()
        .filter_map(|name| group.get(name))
        .filter(|jwk| jwk.is_object())
    {
        assert_eq!(
            PublicJwk::from_json(given.to_string().as_bytes()).as_ref(),
            Ok(&key),
            "{given}"
        );
    }
    Ok(key)
}

fn parse(text: &str) -> Value {
    serde_json::from_str(text).expect("the vectors are JSON")
}

fn list<'v>(value: &'v Value, name: &str) -> &'v [Value] {
    value[name].as_array().expect("the files have groups of tests")
}

fn hex(text: &Value) -> Vec<u8> {
    HEXLOWER_PERMISSIVE
        .decode(text.as_str().expect("octets are text").as_bytes())
        .expect("octets are hexadecimal")
}

fn integer(text: &Value) -> String {
    let octets = hex(text);
    let zeros = octets.iter().take_while(|octet| **octet == 0).count();
    BASE64URL_NOPAD.encode(&octets[zeros..])
}

/// R-PRF-23 for ES256, ES384, ES512.
#[test]
fn ecdsa_with_r_and_s_at_full_length() {
    for (name, alg, verified, refused) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256P1363, Alg::Es256, 173, 89),
        (ecdsa::TestName::EcdsaSecp384r1Sha384P1363, Alg::Es384, 193, 87),
        (ecdsa::TestName::EcdsaSecp521r1Sha512P1363, Alg::Es512, 231, 87),
    ] {
        assert_eq!(run(name.json_data(), alg, valid), Tally { verified, refused }, "{alg}");
    }
}

/// RFC 7518 section 3.4: the DER form of the same signatures is none.
#[test]
fn ecdsa_in_der_is_refused() {
    for (name, alg) in [
        (ecdsa::TestName::EcdsaSecp256r1Sha256, Alg::Es256),
        (ecdsa::TestName::EcdsaSecp384r1Sha384, Alg::Es384),
        (ecdsa::TestName::EcdsaSecp521r1Sha512, Alg::Es512),
    ] {
        assert!(run(name.json_data(), alg, none).refused > 300, "{alg}");
    }
}

#[test]
fn ed25519() {
    for alg in [Alg::Ed25519, Alg::EdDsa] {
        let tally = run(eddsa::TestName::Ed25519.json_data(), alg, valid);
        assert_eq!(
            tally,
            Tally {
                verified: 88,
                refused: 63
            },
            "{alg}"
        );
    }
}

#[test]
fn rsa_pkcs1() {
    for (name, alg) in [
        (pkcs1::TestName::Rsa2048Sha256, Alg::Rs256),
        (pkcs1::TestName::Rsa2048Sha384, Alg::Rs384),
        (pkcs1::TestName::Rsa2048Sha512, Alg::Rs512),
        (pkcs1::TestName::Rsa3072Sha256, Alg::Rs256),
        (pkcs1::TestName::Rsa3072Sha384, Alg::Rs384),
        (pkcs1::TestName::Rsa3072Sha512, Alg::Rs512),
        (pkcs1::TestName::Rsa4096Sha256, Alg::Rs256),
        (pkcs1::TestName::Rsa4096Sha384, Alg::Rs384),
        (pkcs1::TestName::Rsa4096Sha512, Alg::Rs512),
    ] {
        let tally = run(name.json_data(), alg, valid);
        assert!(tally.verified >= 7 && tally.refused >= 200, "{name:?}: {tally:?}");
    }
}

#[test]
fn rsa_pss() {
    for (name, alg) in [
        (pss::TestName::RsaPss2048Sha256Mgf1SaltLen32, Alg::Ps256),
        (pss::TestName::RsaPss3072Sha256Mgf1SaltLen32, Alg::Ps256),
        (pss::TestName::RsaPss4096Sha256Mgf1SaltLen32, Alg::Ps256),
        (pss::TestName::RsaPss2048Sha384Mgf1SaltLen48, Alg::Ps384),
        (pss::TestName::RsaPss4096Sha384Mgf1SaltLen48, Alg::Ps384),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen64, Alg::Ps512),
    ] {
        let tally = run(name.json_data(), alg, valid);
        assert!(tally.verified >= 60 && tally.refused >= 40, "{name:?}: {tally:?}");
    }
}

/// RFC 7518 section 3.5: the salt is as long as the hash, and the mask uses the same hash.
#[test]
fn rsa_pss_with_other_parameters_is_refused() {
    for (alg, hash, salt) in [
        (Alg::Ps256, "SHA-256", 32),
        (Alg::Ps384, "SHA-384", 48),
        (Alg::Ps512, "SHA-512", 64),
    ] {
        let ours = |group: &Value, vector: &Value| {
            valid(group, vector) && group["sha"] == hash && group["mgfSha"] == hash && group["sLen"] == salt
        };
        let tally = run(pss::TestName::RsaPssmisc.json_data(), alg, ours);
        assert!(tally.verified > 0 && tally.refused > 100, "{alg}: {tally:?}");
    }
    for (name, alg) in [
        (pss::TestName::RsaPss2048Sha256Mgf1Sha1_20, Alg::Ps256),
        (pss::TestName::RsaPss4096Sha512Mgf1SaltLen32, Alg::Ps512),
    ] {
        assert!(run(name.json_data(), alg, none).refused > 50, "{name:?}");
    }
    // One signature of this file has the salt that is wrong there and right here.
    let salted = |_: &Value, vector: &Value| vector["comment"] == "s_len changed to 32";
    let tally = run(
        pss::TestName::RsaPss2048Sha256Mgf1SaltLen0.json_data(),
        Alg::Ps256,
        salted,
    );
    assert_eq!(
        tally,
        Tally {
            verified: 1,
            refused: 102
        }
    );
}

/// R-PRF-15, R-PRF-20: the keys of these files never become a [`PublicJwk`].
#[test]
fn keys_that_are_not_ours_are_refused() {
    for (text, reason) in [
        (pkcs1::TestName::Rsa8192Sha256.json_data(), Reason::KeyWeak),
        (
            ecdsa::TestName::EcdsaSecp256k1Sha256P1363.json_data(),
            Reason::KeyUnsupported,
        ),
        (
            ecdsa::TestName::EcdsaSecp224r1Sha256P1363.json_data(),
            Reason::KeyUnsupported,
        ),
        (
            ecdsa::TestName::EcdsaBrainpool256r1Sha256P1363.json_data(),
            Reason::KeyUnsupported,
        ),
    ] {
        for group in list(&parse(text), "testGroups") {
            assert_eq!(import(group), Err(reason), "{}", group["publicKey"]);
        }
    }
}
