//! Public keys that prove nothing, and thumbprints of those that do.

use super::{generate, spec};
use crate::crypto::aws_lc::AwsLc;
use crate::crypto::{Alg, Crypto as _, Signer as _};
use crate::jwk::{KeyOctets, PublicJwk};
use crate::jws::encode_base64url;
use crate::refusal::Reason;

/// R-TOK-01, R-TOK-02, R-PRF-21.
#[test]
fn thumbprints_are_those_of_the_rfcs() {
    let file = spec!("jwk-thumbprints.json");
    for case in file["cases"].as_array().unwrap() {
        let key = PublicJwk::from_json(case["jwk"].to_string().as_bytes()).unwrap();
        assert_eq!(key.to_json(), case["canonical_json"], "{}", case["id"]);
        assert_eq!(key.thumbprint().to_string(), case["thumbprint"], "{}", case["id"]);
    }
}

fn ed25519(x: [u8; 32]) -> Result<PublicJwk, Reason> {
    PublicJwk::from_json(format!(r#"{{"kty":"OKP","crv":"Ed25519","x":"{}"}}"#, encode_base64url(&x)).as_bytes())
}

/// R-PRF-18: the points whose order divides 8, each in its canonical encoding.
#[test]
fn small_order_points_are_refused() {
    const ORDER_8: [&str; 2] = [
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    ];
    let mut points = vec![[0; 32], [0; 32], [0; 32], [0xff; 32]];
    points[1][31] = 0x80;
    points[2][0] = 1;
    points[3][0] = 0xec;
    points[3][31] = 0x7f;
    for point in ORDER_8 {
        let octets = data_encoding::HEXLOWER.decode(point.as_bytes()).unwrap();
        let mut octets = <[u8; 32]>::try_from(octets).unwrap();
        points.push(octets);
        octets[31] |= 0x80;
        points.push(octets);
    }
    assert_eq!(points.len(), 8);
    for point in points {
        assert_eq!(ed25519(point), Err(Reason::KeyWeak), "{point:x?}");
    }
}

/// R-PRF-18, R-TOK-03: the field element y stands there as y + p, or x = 0 has its sign bit set.
#[test]
fn second_encodings_of_points_are_refused() {
    let mut seconds = Vec::new();
    for above in 0..19 {
        for top in [0x7f, 0xff] {
            let mut point = [0xff; 32];
            point[0] = 0xed + above;
            point[31] = top;
            seconds.push(point);
        }
    }
    let mut identity = [0; 32];
    (identity[0], identity[31]) = (1, 0x80);
    let mut minus_one = [0xff; 32];
    minus_one[0] = 0xec;
    for point in seconds.into_iter().chain([identity, minus_one]) {
        assert!(ed25519(point).is_err(), "{point:x?}");
    }
}

/// The largest y are no second encodings: whichever of them are on the curve are keys.
#[test]
fn points_just_below_the_prime_are_taken() {
    let mut taken = 0;
    for below in 2..40 {
        let mut point = [0xff; 32];
        (point[0], point[31]) = (0xed - below, 0x7f);
        let on_curve = curve25519_dalek::edwards::CompressedEdwardsY(point)
            .decompress()
            .is_some();
        assert_eq!(
            ed25519(point).err(),
            (!on_curve).then_some(Reason::KeyInvalid),
            "{below}"
        );
        taken += u32::from(on_curve);
    }
    assert!(taken > 10, "{taken}");
}

fn ec(crv: &str, x: &[u8], y: &[u8]) -> PublicJwk {
    let (x, y) = (encode_base64url(x), encode_base64url(y));
    PublicJwk::from_json(format!(r#"{{"kty":"EC","crv":"{crv}","x":"{x}","y":"{y}"}}"#).as_bytes()).unwrap()
}

/// R-PRF-18.
#[test]
fn points_off_the_curve_are_refused() {
    for (alg, crv) in [(Alg::Es256, "P-256"), (Alg::Es384, "P-384"), (Alg::Es512, "P-521")] {
        let key = generate(alg);
        let KeyOctets::Ec { x, y } = key.public_jwk().octets() else {
            panic!("{alg} has another kind of key")
        };
        let mut beside = y.to_vec();
        beside[y.len() - 1] ^= 1;
        let zero = vec![0; x.len()];
        let full = vec![0xff; x.len()];
        assert!(AwsLc.prepare(&ec(crv, x, y), alg).is_ok());
        for (x, y) in [
            (x, &beside[..]),
            (y, x),
            (&zero, &zero),
            (&full, y),
            (x, &full),
            (&full, &full),
        ] {
            assert_eq!(
                AwsLc.prepare(&ec(crv, x, y), alg).err(),
                Some(Reason::KeyInvalid),
                "{crv} {x:x?} {y:x?}"
            );
        }
    }
}

/// R-TOK-03: P-521 leaves room for x + p in 66 octets, which would give one key two thumbprints.
#[test]
fn coordinates_are_reduced() {
    let key = generate(Alg::Es512);
    let KeyOctets::Ec { x, y } = key.public_jwk().octets() else {
        panic!("ES512 has another kind of key")
    };
    let mut x = x.to_vec();
    // p is 2^521 - 1: one less, then bit 521.
    for octet in x.iter_mut().rev() {
        let borrow = *octet == 0;
        *octet = octet.wrapping_sub(1);
        if !borrow {
            break;
        }
    }
    x[0] += 2;
    assert_eq!(
        AwsLc.prepare(&ec("P-521", &x, y), Alg::Es512).err(),
        Some(Reason::KeyInvalid)
    );
}

fn rsa(n: &[u8], e: &[u8]) -> Result<PublicJwk, Reason> {
    let (n, e) = (encode_base64url(n), encode_base64url(e));
    PublicJwk::from_json(format!(r#"{{"kty":"RSA","n":"{n}","e":"{e}"}}"#).as_bytes())
}

/// An odd number of this many bits; nothing looks for its factors before a signature comes.
fn modulus(bits: usize) -> Vec<u8> {
    let mut octets = vec![0xa5; bits.div_ceil(8)];
    octets[0] = 1 << ((bits - 1) % 8);
    octets
}

/// R-PRF-19, R-PRF-20.
#[test]
fn rsa_keys_have_bounds() {
    for bits in [2048, 2049, 3072, 4095, 4096] {
        let key = rsa(&modulus(bits), &[1, 0, 1]).unwrap();
        assert!(AwsLc.prepare(&key, Alg::Ps256).is_ok(), "{bits}");
    }
    for bits in [8, 1024, 2040, 2047, 4097, 8192, 16384] {
        assert_eq!(rsa(&modulus(bits), &[1, 0, 1]), Err(Reason::KeyWeak), "{bits}");
    }
    for e in [&[3][..], &[17], &[1, 0, 1], &[0xff, 0xff, 0xff, 0xff]] {
        let key = rsa(&modulus(2048), e).unwrap();
        assert!(AwsLc.prepare(&key, Alg::Rs256).is_ok(), "{e:x?}");
    }
    for e in [
        &[1][..],
        &[2],
        &[4],
        &[1, 0, 0],
        &[1, 0, 0, 0, 0],
        &[1, 0, 0, 0, 1],
        &[0xff; 256],
    ] {
        assert_eq!(rsa(&modulus(2048), e), Err(Reason::KeyWeak), "{e:x?}");
    }
    for (n, e) in [
        (modulus(2048), &[0][..]),
        (modulus(2048), &[0, 3]),
        (modulus(2048), &[]),
        (vec![], &[3]),
    ] {
        assert_eq!(rsa(&n, e), Err(Reason::KeyInvalid), "{n:x?} {e:x?}");
    }
    assert_eq!(
        rsa(&[&[0], &modulus(2048)[..]].concat(), &[1, 0, 1]),
        Err(Reason::KeyInvalid)
    );
}

/// No product of two odd primes is even.
#[test]
fn even_moduli_are_refused() {
    let mut n = modulus(2048);
    n[255] &= 0xfe;
    assert_eq!(rsa(&n, &[1, 0, 1]), Err(Reason::KeyWeak));
}
