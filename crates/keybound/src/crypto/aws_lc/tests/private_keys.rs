//! Private keys as JWK, PKCS#8 and PEM, and what of them is ever printed.

use data_encoding::{BASE64, HEXLOWER, HEXUPPER};
use serde_json::{Value, json};

use super::generate;
use crate::crypto::aws_lc::{AwsLc, KeyError, SoftwareKey, random_array};
use crate::crypto::{Alg, Crypto as _, KeyKind, Signer as _};
use crate::jws::decode_base64url;
use crate::refusal::Reason;

fn private_jwk(alg: Alg) -> Value {
    serde_json::from_str(&generate(alg).to_private_jwk().unwrap()).unwrap()
}

fn read(jwk: &Value) -> Result<SoftwareKey, KeyError> {
    SoftwareKey::from_jwk(jwk.to_string().as_bytes())
}

#[test]
fn a_stored_key_is_the_same_key() {
    for alg in Alg::ALL {
        let key = generate(alg);
        let stored = key.to_private_jwk().unwrap();
        let again = SoftwareKey::from_jwk(stored.as_bytes()).unwrap();
        assert_eq!(
            (again.alg(), again.public_jwk(), again.thumbprint()),
            (alg, key.public_jwk(), key.thumbprint())
        );
        assert_eq!(again.to_private_jwk().unwrap(), stored);
        let signature = again.sign(b"message").unwrap();
        assert_eq!(
            AwsLc
                .prepare(key.public_jwk(), alg)
                .unwrap()
                .verify(b"message", &signature),
            Ok(()),
            "{alg}"
        );
    }
}

/// RFC 8037 appendix A.1: the private key of the example.
#[test]
fn the_key_of_the_rfc_is_read() {
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "d": "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A",
        "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    let key = read(&jwk).unwrap();
    assert_eq!(
        key.thumbprint().to_string(),
        "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"
    );
    assert_eq!(key.alg(), Alg::Ed25519);
    let signature = key
        .sign(b"eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc")
        .unwrap();
    assert_eq!(
        crate::jws::encode_base64url(&signature),
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    );
}

#[test]
fn alg_decides_and_the_kind_of_key_stands_in() {
    for (alg, usual) in [
        (Alg::Es256, Alg::Es256),
        (Alg::Es384, Alg::Es384),
        (Alg::Es512, Alg::Es512),
        (Alg::EdDsa, Alg::Ed25519),
        (Alg::Rs512, Alg::Ps256),
    ] {
        let mut jwk = private_jwk(alg);
        assert_eq!(read(&jwk).unwrap().alg(), alg);
        jwk.as_object_mut().unwrap().remove("alg");
        assert_eq!(read(&jwk).unwrap().alg(), usual);
    }
    let mut jwk = private_jwk(Alg::Es256);
    jwk["alg"] = json!("ES384");
    assert_eq!(
        read(&jwk).err(),
        Some(KeyError::AlgMismatch {
            alg: Alg::Es384,
            kind: KeyKind::P256
        })
    );
    for alg in [json!("none"), json!("es256"), json!("HS256"), json!(1), Value::Null] {
        jwk["alg"] = alg;
        assert_eq!(read(&jwk).err(), Some(KeyError::AlgUnknown));
    }
}

#[test]
fn halves_of_two_keys_are_refused() {
    for alg in [Alg::Es256, Alg::Es384, Alg::Es512, Alg::Ed25519, Alg::Ps256] {
        let other = private_jwk(alg);
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            let mut jwk = private_jwk(alg);
            if jwk.get(member).is_some() {
                jwk[member] = other[member].clone();
                assert_eq!(read(&jwk).err(), Some(KeyError::Halves), "{alg} {member}");
            }
        }
    }
}

#[test]
fn private_members_are_there_and_well_formed() {
    for alg in [Alg::Es256, Alg::Es384, Alg::Es512, Alg::Ed25519, Alg::Ps256] {
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            let jwk = private_jwk(alg);
            if jwk.get(member).is_none() {
                continue;
            }
            let long = "A".repeat(1024);
            for value in [
                Value::Null,
                json!(""),
                json!("A"),
                json!("not base64"),
                json!(7),
                json!(long),
            ] {
                let mut jwk = jwk.clone();
                jwk[member] = value;
                assert_eq!(read(&jwk).err(), Some(KeyError::Member(member)), "{alg} {member}");
            }
            let mut jwk = jwk.clone();
            jwk.as_object_mut().unwrap().remove(member);
            assert_eq!(read(&jwk).err(), Some(KeyError::Member(member)), "{alg} {member}");
        }
    }
    let mut short = private_jwk(Alg::Es512);
    let d = decode_base64url(short["d"].as_str().unwrap()).unwrap();
    short["d"] = json!(crate::jws::encode_base64url(&d[1..]));
    assert_eq!(read(&short).err(), Some(KeyError::Member("d")));
    let mut many = private_jwk(Alg::Ps256);
    many["oth"] = json!([]);
    assert_eq!(read(&many).err(), Some(KeyError::ManyPrimes));
}

#[test]
fn what_is_no_key_is_refused() {
    for text in ["", "[]", "{\"kty\":\"EC\",\"kty\":\"EC\"}", "{} x"] {
        assert_eq!(
            SoftwareKey::from_jwk(text.as_bytes()).err(),
            Some(KeyError::Json),
            "{text}"
        );
    }
    assert_eq!(
        read(&json!({"kty": "oct", "k": "AAAA"})).err(),
        Some(KeyError::Public(Reason::KeyUnsupported))
    );
    let mut off = private_jwk(Alg::Es256);
    off["y"] = off["x"].clone();
    assert_eq!(read(&off).err(), Some(KeyError::Halves));
    assert_eq!(SoftwareKey::generate_rsa(Alg::Ps256, 1024).err(), Some(KeyError::Size));
    assert_eq!(
        SoftwareKey::generate_rsa(Alg::Es256, 2048).err(),
        Some(KeyError::AlgMismatch {
            alg: Alg::Es256,
            kind: KeyKind::Rsa
        })
    );
}

macro_rules! pem {
    ($name:literal) => {
        include_str!(concat!("keys/", $name, ".pem"))
    };
}

/// Keys that OpenSSL 3.0 made, with thumbprints taken outside of this crate.
#[test]
fn keys_of_openssl_are_read() {
    for (name, pem, alg, thumbprint) in [
        (
            "p256",
            pem!("p256"),
            Alg::Es256,
            "FM8ENLNANOSiGebfwXqqc2CjzWKvPFD7QaJq2IF4dag",
        ),
        (
            "p384",
            pem!("p384"),
            Alg::Es384,
            "_2DJOD6okYpBdRBcSYz9HhzjO_mjJVgN8AYiolK2wvQ",
        ),
        (
            "p521",
            pem!("p521"),
            Alg::Es512,
            "8BmqV53hUTVnvUgXYCBbRHNbbheC-ms6OddL7nPVr8c",
        ),
        (
            "ed25519",
            pem!("ed25519"),
            Alg::Ed25519,
            "XCoeVpSX5ry58xnZXkpaL8bcj0kHRojWpsgzFZiCKe8",
        ),
        (
            "rsa2048",
            pem!("rsa2048"),
            Alg::Ps256,
            "0kxW8VSM7E26kk-_5EH7vRW9SauzKYlhKehHTsNlmSA",
        ),
        (
            "p256-sec1",
            pem!("p256-sec1"),
            Alg::Es256,
            "gyyw6WOlyZoWa3RGGByxmynXsshw02a_sHf-Z8zy32Y",
        ),
        (
            "p521-sec1",
            pem!("p521-sec1"),
            Alg::Es512,
            "kl2vYolxCCLmBNYHeubbWxbGMQJ-Gu3ZnZcPqKVis4M",
        ),
        (
            "rsa2048-pkcs1",
            pem!("rsa2048-pkcs1"),
            Alg::Ps256,
            "0kxW8VSM7E26kk-_5EH7vRW9SauzKYlhKehHTsNlmSA",
        ),
    ] {
        let key = SoftwareKey::from_pem(pem, None).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(
            (key.alg(), key.thumbprint().to_string().as_str()),
            (alg, thumbprint),
            "{name}"
        );
        let again = SoftwareKey::from_jwk(key.to_private_jwk().unwrap().as_bytes()).unwrap();
        assert_eq!(again.public_jwk(), key.public_jwk(), "{name}");
        let windows = format!("comment\r\n{}", pem.replace('\n', "\r\n"));
        assert_eq!(
            SoftwareKey::from_pem(&windows, None).unwrap().public_jwk(),
            key.public_jwk(),
            "{name}"
        );
    }
}

/// Both are deterministic, so ours must be the octets OpenSSL made of `message` with the same keys.
#[test]
fn signatures_are_those_of_openssl() {
    let ed25519 = SoftwareKey::from_pem(pem!("ed25519"), Some(Alg::EdDsa)).unwrap();
    assert_eq!(
        BASE64.encode(&ed25519.sign(b"message").unwrap()),
        "P5EI/mhZ0bj8ho8TT41/GY4hcr1/PmBjygKS8evT3Me8DRxADlr/W0XUUHeg+UWwE9LhcoBbe4MyXW4pn1y1AA=="
    );
    let rsa = SoftwareKey::from_pem(pem!("rsa2048"), Some(Alg::Rs256)).unwrap();
    assert!(
        BASE64
            .encode(&rsa.sign(b"message").unwrap())
            .starts_with("3RGaJAjCz3zD5rZFpmYa4KaW1RGFJAHVyf1st5oQ+taN")
    );
}

#[test]
fn pem_that_is_no_key_of_ours_is_refused() {
    let mismatch = KeyError::AlgMismatch {
        alg: Alg::Rs256,
        kind: KeyKind::P256,
    };
    assert_eq!(
        SoftwareKey::from_pem(pem!("p256"), Some(Alg::Rs256)).err(),
        Some(mismatch)
    );
    let cut = pem!("p256").replace("-----END", "----END");
    let damaged = pem!("p256").replace("MIG", "M!G");
    let other = pem!("p256").replace("PRIVATE", "PUBLIC");
    let shorter = pem!("p256")
        .lines()
        .take(2)
        .chain(["-----END PRIVATE KEY-----"])
        .collect::<Vec<_>>()
        .join("\n");
    for (name, pem, error) in [
        ("empty", "", KeyError::Pem),
        ("no end", &*cut, KeyError::Pem),
        ("base64", &damaged, KeyError::Pem),
        ("public label", &other, KeyError::Pem),
        ("cut", &shorter, KeyError::Der),
        ("encrypted", pem!("encrypted"), KeyError::Encrypted),
        ("secp256k1", pem!("secp256k1"), KeyError::Der),
        ("x25519", pem!("x25519"), KeyError::Der),
        ("rsa1024", pem!("rsa1024"), KeyError::Der),
    ] {
        assert_eq!(SoftwareKey::from_pem(pem, None).err(), Some(error), "{name}");
    }
}

/// A SEC 1 or PKCS#8 text carries both halves; the public one is the end of it.
#[test]
fn pem_with_halves_of_two_keys_is_refused() {
    for label in ["PRIVATE KEY", "EC PRIVATE KEY"] {
        let pem = if label == "PRIVATE KEY" {
            pem!("p256")
        } else {
            pem!("p256-sec1")
        };
        let begin = format!("-----BEGIN {label}-----");
        let end = format!("-----END {label}-----");
        let body: String = pem
            .split(&*begin)
            .nth(1)
            .unwrap()
            .split(&*end)
            .next()
            .unwrap()
            .split_whitespace()
            .collect();
        let mut der = BASE64.decode(body.as_bytes()).unwrap();
        let point = der.len() - 64;
        let other = generate(Alg::Es256);
        let crate::jwk::KeyOctets::Ec { x, y } = other.public_jwk().octets() else {
            panic!("ES256 has an EC key")
        };
        der[point..].copy_from_slice(&[x, y].concat());
        let pem = format!("{begin}\n{}\n{end}\n", BASE64.encode(&der));
        assert_eq!(SoftwareKey::from_pem(&pem, None).err(), Some(KeyError::Der), "{label}");
    }
}

#[test]
fn nothing_private_is_printed() {
    for alg in Alg::ALL {
        let key = generate(alg);
        assert_eq!(format!("{key:?}"), format!("SoftwareKey({alg}, {})", key.thumbprint()));
        let jwk: Value = serde_json::from_str(&key.to_private_jwk().unwrap()).unwrap();
        let mut broken = jwk.clone();
        broken["d"] = private_jwk(alg)["d"].clone();
        let error = read(&broken).unwrap_err();
        let prepared = AwsLc.prepare(key.public_jwk(), alg).unwrap();
        let printed = format!("{key:?} {key:#?} {:?} {prepared:?} {error:?} {error}", key.public_jwk());
        for member in ["d", "p", "q", "dp", "dq", "qi"] {
            for jwk in [&jwk, &broken] {
                let Some(text) = jwk.get(member).and_then(Value::as_str) else {
                    continue;
                };
                let octets = decode_base64url(text).unwrap();
                let hex = (HEXLOWER.encode(&octets), HEXUPPER.encode(&octets));
                assert!(
                    !printed.contains(text) && !printed.contains(&hex.0) && !printed.contains(&hex.1),
                    "{alg} {member}"
                );
            }
        }
    }
}

#[test]
fn random_octets_differ() {
    assert_ne!(random_array::<16>(), random_array::<16>());
    assert_eq!(random_array::<0>(), Ok([]));
}
