//! What the header of a proof says: typ, alg, crit, b64, jwk; and the signature under that key.

use keybound::jws::encode_base64url;
use serde_json::{Value, json};

use super::case::{Case, World};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [parameters(world), lists(world), key_members(world), key_values(world), signatures(world)].concat()
}

fn parameters(world: &World) -> Vec<Case<'_>> {
    let head = |code, rows, parameter: &str, name: &str, value: Value, title: &str, why| {
        world.resource().proof(|proof| proof.head(parameter, value)).refused(code, rows, name, title, why)
    };
    let without = |code, rows, parameter: &str, title: &str, why| {
        world.resource().proof(|proof| proof.unhead(parameter)).refused(code, rows, "missing", title, why)
    };
    let typ_rows = &["R-PRF-10", "R-PRF-11"];
    let alg_rows = &["R-PRF-12", "R-SEC-14"];
    let mut cases = vec![
        without("typ.invalid", typ_rows, "typ", "no typ", "a JWT that is not said to be a proof is none"),
        without("alg.invalid", alg_rows, "alg", "no alg", "a signature has an algorithm"),
        without("key.missing", &["R-PRF-15"], "jwk", "no jwk", "the header carries the key"),
    ];
    for (name, value) in [
        ("jwt", json!("JWT")),
        ("access-token", json!("at+jwt")),
        ("media-type", json!("application/dpop+jwt")),
        ("upper-case", json!("DPOP+JWT")),
        ("mixed-case", json!("dpop+JWT")),
        ("trailing-space", json!("dpop+jwt ")),
        ("array", json!(["dpop+jwt"])),
        ("null", Value::Null),
    ] {
        let title = format!("typ is {value}");
        let why = "typ has one spelling, so that no other JWT passes for a proof";
        cases.push(head("typ.invalid", typ_rows, "typ", name, value, &title, why));
    }
    for (name, value) in [
        ("number", json!(256)),
        ("array", json!(["ES256"])),
        ("null", Value::Null),
        ("empty", json!("")),
        ("lower-case", json!("es256")),
        ("es256k", json!("ES256K")),
        ("ed448", json!("Ed448")),
        ("ml-dsa", json!("ML-DSA-65")),
        ("encryption", json!("RSA-OAEP")),
        ("unregistered", json!("XS256")),
    ] {
        let why = "only the names of the known list, in their letter case, are algorithms";
        cases.push(head("alg.invalid", alg_rows, "alg", name, value.clone(), &format!("alg is {value}"), why));
    }
    for (name, value) in [
        ("none", "none"),
        ("none-capital", "None"),
        ("none-upper", "NONE"),
        ("none-mixed", "nOnE"),
        ("hs256", "HS256"),
        ("hs384", "HS384"),
        ("hs512", "HS512"),
        ("hs256-lower", "hs256"),
    ] {
        let why = "without a private key nothing is proven";
        cases.push(head("alg.forbidden", &["R-PRF-13"], "alg", name, value.into(), &format!("alg is {value}"), why));
    }
    for (name, value) in [
        ("unknown", json!(["exp"])),
        ("empty", json!([])),
        ("absent-entry", json!(["b64"])),
        ("string", json!("b64")),
        ("null", Value::Null),
        ("known-name", json!(["alg"])),
    ] {
        let why = "nothing critical is understood, so crit refuses whatever it names";
        cases.push(head(
            "crit.unsupported",
            &["R-PRF-25"],
            "crit",
            name,
            value.clone(),
            &format!("crit is {value}"),
            why,
        ));
    }
    for (name, value) in [("false", json!(false)), ("string", json!("true")), ("null", Value::Null), ("zero", json!(0))]
    {
        let why = "a payload that is not encoded is not read";
        cases.push(head("b64.unsupported", &["R-PRF-26"], "b64", name, value.clone(), &format!("b64 is {value}"), why));
    }
    for (name, value) in [("null", Value::Null), ("string", json!("{}")), ("array", json!([])), ("number", json!(1))] {
        let why = "the key is a JSON object";
        cases.push(head("key.missing", &["R-PRF-15"], "jwk", name, value.clone(), &format!("jwk is {value}"), why));
    }
    let elsewhere =
        world.resource().proof(|proof| proof.unhead("jwk").head("kid", "k").head("jku", "https://evil.example/"));
    let why = "no other parameter leads to a key";
    cases.push(elsewhere.refused(
        "key.missing",
        &["R-PRF-15", "R-PRF-27"],
        "elsewhere",
        "kid and jku in place of jwk",
        why,
    ));
    cases
}

fn lists<'w>(world: &'w World) -> Vec<Case<'w>> {
    let unsupported = |case: Case<'w>, name: &str, allowed: Value| {
        let title = format!("the algorithm is known, and the list is {allowed}");
        let case = case.policy("algorithms", allowed);
        let why = "what is not advertised is not accepted";
        let rows = &["R-PRF-12", "R-SEC-14", "R-RS-27"];
        case.refused("alg.unsupported", rows, name, &title, why)
    };
    let mismatch = |name: &str, alg: &'static str, case: Case<'w>| {
        let title = format!("alg is {alg} and the key of another kind");
        let case = case.proof(|proof| proof.head("alg", alg));
        let why = "the family is compared before any arithmetic";
        case.refused("alg.mismatch", &["R-PRF-14"], name, &title, why)
    };
    let fapi = json!(["ES256", "Ed25519", "PS256", "EdDSA"]);
    vec![
        unsupported(world.resource_of(&world.rsa, "RS256"), "rs256-fapi", fapi.clone()),
        unsupported(world.resource_of(&world.p384, "ES384"), "es384-fapi", fapi),
        unsupported(world.resource_of(&world.ed25519, "EdDSA"), "eddsa-old-name", json!(["Ed25519"])),
        unsupported(world.resource(), "es256-not-listed", json!(["Ed25519", "PS256"])),
        mismatch("es256-p384", "ES256", world.resource_of(&world.p384, "ES384")),
        mismatch("es384-p256", "ES384", world.resource()),
        mismatch("es512-ed25519", "ES512", world.resource_of(&world.ed25519, "Ed25519")),
        mismatch("ed25519-p256", "Ed25519", world.resource()),
        mismatch("rs256-p256", "RS256", world.resource()),
        mismatch("es256-rsa", "ES256", world.resource_of(&world.rsa, "RS256")),
        mismatch("ps256-p521", "PS256", world.resource_of(&world.p521, "ES512")),
    ]
}

fn key_members<'w>(world: &'w World) -> Vec<Case<'w>> {
    let mut cases = Vec::new();
    let private = "presence alone refuses: the key is disclosed, or somebody plays with importers";
    let rows = &["R-PRF-16"];
    let with = |case: Case<'w>, name: &str, member: &str, value: Value| {
        let title = format!("jwk has the member {member}");
        let case = case.proof(|proof| proof.member(member, value));
        case.refused("key.private", rows, name, &title, private)
    };
    cases.push(with(world.resource(), "ec-d", "d", world.p256.private_member("d")));
    cases.push(with(world.resource_of(&world.p521, "ES512"), "p521-d", "d", world.p521.private_member("d")));
    cases.push(with(world.resource_of(&world.ed25519, "Ed25519"), "okp-d", "d", world.ed25519.private_member("d")));
    cases.push(with(world.resource(), "d-empty", "d", json!("")));
    cases.push(with(world.resource(), "d-null", "d", Value::Null));
    cases.push(with(world.resource(), "d-number", "d", json!(7)));
    cases.push(with(world.resource(), "k-in-ec", "k", json!("AAAA")));
    for member in ["d", "p", "q", "dp", "dq", "qi"] {
        let case = world.resource_of(&world.rsa, "PS256");
        cases.push(with(case, &format!("rsa-{member}"), member, json!("AQAB")));
    }
    cases.push(with(world.resource_of(&world.rsa, "PS256"), "rsa-oth", "oth", json!([])));
    let symmetric = world.resource().proof(|proof| proof.head("jwk", json!({"kty": "oct", "k": "AAAA"})));
    cases.push(symmetric.refused("key.private", &["R-PRF-15", "R-PRF-16"], "oct", "jwk is a symmetric key", private));

    let usage = "a key says what it may be used for";
    for (name, member, value) in [
        ("use-enc", "use", json!("enc")),
        ("use-null", "use", Value::Null),
        ("key-ops-sign", "key_ops", json!(["sign"])),
        ("key-ops-empty", "key_ops", json!([])),
        ("key-ops-string", "key_ops", json!("verify")),
        ("alg-other", "alg", json!("ES384")),
        ("alg-null", "alg", Value::Null),
    ] {
        let title = format!("{member} of jwk is {value}");
        let case = world.resource().proof(|proof| proof.member(member, value));
        cases.push(case.refused("key.usage", &["R-PRF-22"], name, &title, usage));
    }

    let point = json!("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo");
    for (name, jwk) in [
        ("kty-missing", json!({"crv": "Ed25519", "x": point})),
        ("kty-lower-case", json!({"kty": "okp", "crv": "Ed25519", "x": point})),
        ("kty-number", json!({"kty": 1, "crv": "Ed25519", "x": point})),
        ("kty-akp", json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"})),
        ("oct-without-k", json!({"kty": "oct"})),
        ("crv-missing", json!({"kty": "OKP", "x": point})),
        ("x25519", json!({"kty": "OKP", "crv": "X25519", "x": point})),
        ("ed448", json!({"kty": "OKP", "crv": "Ed448", "x": "A".repeat(76)})),
        ("secp256k1", json!({"kty": "EC", "crv": "secp256k1", "x": point, "y": point})),
        ("okp-p256", json!({"kty": "OKP", "crv": "P-256", "x": point})),
        ("empty", json!({})),
    ] {
        let why = "kty and crv are those of the known list";
        let case = world.resource().proof(|proof| proof.head("jwk", jwk));
        let title = format!("jwk is of no known kind: {name}");
        cases.push(case.refused("key.unsupported", &["R-PRF-15"], name, &title, why));
    }
    cases
}

/// Members that are there and are no key.
fn key_values<'w>(world: &'w World) -> Vec<Case<'w>> {
    let text = |key: &super::keys::Key, member: &str| key.public()[member].as_str().unwrap_or_default().to_owned();
    let octets = |key, member| keybound::jws::decode_base64url(&text(key, member)).expect("a test key is canonical");
    let with = |code, case: Case<'w>, name: &str, member: &str, value: Value, title: &str| {
        let why = "a key has one spelling, and its point lies on the curve";
        let rows = &["R-PRF-17", "R-PRF-18", "R-PRF-19", "R-PRF-20", "R-TOK-03"];
        case.proof(|proof| proof.member(member, value)).refused(code, rows, name, title, why)
    };
    let ec = |name: &str, member: &str, value: Value, title: &str| {
        with("key.invalid", world.resource(), name, member, value, title)
    };
    let rsa = |code, name: &str, member: &str, value: Value, title: &str| {
        with(code, world.resource_of(&world.rsa, "PS256"), name, member, value, title)
    };
    let ed = |code, name: &str, octets: &[u8], title: &str| {
        // R is the neutral point and S is zero: under the neutral key that is a signature of every message.
        let case = world.resource_of(&world.ed25519, "Ed25519");
        let case = with(code, case, name, "x", json!(encode_base64url(octets)), title);
        let forged = encode_base64url(&[&[1][..], &[0; 63]].concat());
        case.cut(|[header, payload, _]| format!("{header}.{payload}.{forged}"))
    };
    let x = octets(&world.p256, "x");
    let n = octets(&world.rsa, "n");
    let little = |first: u8, middle: u8, last: u8| [&[first][..], &[middle; 30], &[last]].concat();
    let mut off_curve = octets(&world.p256, "y");
    off_curve[31] ^= 1;
    let encode = |octets: &[u8]| json!(encode_base64url(octets));
    let eighth = [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98, 0xf0, 0xd5, 0xdf,
        0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53, 0xfc, 0x05,
    ];
    let mut eighth_negative = eighth;
    eighth_negative[31] |= 0x80;
    vec![
        ec("ec-x-short", "x", encode(&x[1..]), "x has 31 octets"),
        ec("ec-x-long", "x", encode(&[&[0][..], &x].concat()), "x has a zero before it"),
        ec("ec-x-padded", "x", json!(format!("{}=", text(&world.p256, "x"))), "x with padding"),
        ec("ec-x-empty", "x", json!(""), "x is empty"),
        ec("ec-x-number", "x", json!(1), "x is a number"),
        ec("ec-y-null", "y", Value::Null, "y is null"),
        ec("ec-y-of-another", "y", world.thief.public()["y"].clone(), "y of another key"),
        ec("ec-off-curve", "y", encode(&off_curve), "a point beside the curve"),
        ec("ec-x-beyond-field", "x", encode(&[0xff; 32]), "x is no element of the field"),
        {
            let case =
                world.resource().proof(|proof| proof.member("x", encode(&[0; 32])).member("y", encode(&[0; 32])));
            let why = "a key has one spelling, and its point lies on the curve";
            case.refused("key.invalid", &["R-PRF-18"], "ec-zero", "the point at zero", why)
        },
        {
            let case = world.resource().proof(|proof| proof.unmember("y"));
            let why = "a key has one spelling, and its point lies on the curve";
            case.refused("key.invalid", &["R-PRF-17"], "ec-y-missing", "a key without y, as of a compressed point", why)
        },
        ed("key.weak", "ed25519-order-1", &little(1, 0, 0), "the neutral point, and a signature of every message"),
        ed("key.weak", "ed25519-order-2", &little(0xec, 0xff, 0x7f), "the point of order 2"),
        ed("key.weak", "ed25519-order-4", &little(0, 0, 0), "a point of order 4"),
        ed("key.weak", "ed25519-order-4-negative", &little(0, 0, 0x80), "the other point of order 4"),
        ed("key.weak", "ed25519-order-8", &eighth, "a point of order 8"),
        ed(
            "key.weak",
            "ed25519-order-1-odd-spelling",
            &little(0xee, 0xff, 0x7f),
            "the neutral point in another spelling",
        ),
        ed("key.weak", "ed25519-order-1-negative", &little(1, 0, 0x80), "the neutral point with the sign of x = 0"),
        ed("key.weak", "ed25519-order-1-odd-negative", &little(0xee, 0xff, 0xff), "both at once"),
        ed("key.weak", "ed25519-order-2-negative", &little(0xec, 0xff, 0xff), "the point of order 2 with that sign"),
        ed("key.weak", "ed25519-order-4-odd", &little(0xed, 0xff, 0x7f), "a point of order 4 in another spelling"),
        ed("key.weak", "ed25519-order-4-odd-negative", &little(0xed, 0xff, 0xff), "the other one in another spelling"),
        ed("key.weak", "ed25519-order-8-negative", &eighth_negative, "another point of order 8"),
        ed("key.invalid", "ed25519-no-point", &little(2, 0, 0), "octets that are no point"),
        ed("key.invalid", "ed25519-short", &[7; 31], "31 octets for a point"),
        rsa("key.weak", "rsa-1024", "n", encode(&n[..128]), "a modulus of 1024 bits"),
        rsa("key.weak", "rsa-2047", "n", encode(&[&[0x7f][..], &n[1..]].concat()), "a modulus of 2047 bits"),
        rsa("key.weak", "rsa-8192", "n", encode(&n.repeat(4)), "a modulus of 8192 bits"),
        rsa("key.weak", "rsa-e-1", "e", json!("AQ"), "an exponent of 1"),
        rsa("key.weak", "rsa-e-even", "e", json!("AQAA"), "an even exponent"),
        rsa("key.weak", "rsa-e-huge", "e", json!("AQAAAAE"), "an exponent above 2^32"),
        rsa(
            "key.invalid",
            "rsa-n-zero-first",
            "n",
            encode(&[&[0][..], &n].concat()),
            "a modulus with a zero before it",
        ),
        rsa("key.invalid", "rsa-e-zero-first", "e", json!("AAEAAQ"), "an exponent with a zero before it"),
        rsa("key.invalid", "rsa-e-empty", "e", json!(""), "an empty exponent"),
        rsa("key.invalid", "rsa-e-number", "e", json!(65537), "an exponent as a number"),
    ]
}

fn signatures<'w>(world: &'w World) -> Vec<Case<'w>> {
    let bad = |case: Case<'w>, name: &str, title: &str| {
        let why = "the signature is over the octets received, by the key in the header, R and S at full length";
        case.refused("signature.invalid", &["R-PRF-23", "R-PRF-24", "R-RS-04"], name, title, why)
    };
    let of = |key, alg, name: &str, title: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| {
        let case = world.resource_of(key, alg).cut(|[header, payload, signature]| {
            let octets = keybound::jws::decode_base64url(signature).expect("a good proof");
            format!("{header}.{payload}.{}", encode_base64url(&change(octets)))
        });
        bad(case, name, title)
    };
    let changed =
        |name: &str, title: &str, change: &dyn Fn(Vec<u8>) -> Vec<u8>| of(&world.p256, "ES256", name, title, change);
    let der = |octets: Vec<u8>| {
        let integer = |octets: &[u8]| {
            let pad = usize::from(octets[0] > 0x7f);
            let length = u8::try_from(octets.len() + pad).expect("a short number");
            [&[2, length][..], &[0][..pad], octets].concat()
        };
        let (r, s) = octets.split_at(32);
        let both = [integer(r), integer(s)].concat();
        [&[0x30, u8::try_from(both.len()).expect("short")][..], &both].concat()
    };
    let zero = |from: usize, to: usize| {
        move |mut octets: Vec<u8>| {
            octets[from..to].fill(0);
            octets
        }
    };
    let algs = [
        ("flipped-ed25519", &world.ed25519, "Ed25519"),
        ("flipped-eddsa", &world.ed25519, "EdDSA"),
        ("flipped-es384", &world.p384, "ES384"),
        ("flipped-es512", &world.p521, "ES512"),
        ("flipped-ps256", &world.rsa, "PS256"),
        ("flipped-rs256", &world.rsa, "RS256"),
    ];
    let flip = |mut octets: Vec<u8>| {
        octets[20] ^= 1;
        octets
    };
    let mut cases = vec![
        changed("flipped-es256", "one bit flipped", &flip),
        changed("empty", "no signature", &|_| Vec::new()),
        changed("short", "an octet less", &|octets| octets[..63].to_vec()),
        changed("long", "an octet more", &|octets| [octets, vec![0]].concat()),
        changed("der", "in the form of ASN.1", &der),
        changed("zeros", "nothing but zeros", &zero(0, 64)),
        changed("r-zero", "R is zero", &zero(0, 32)),
        changed("s-zero", "S is zero", &zero(32, 64)),
        changed("r-beyond-order", "R is beyond the order of the curve", &|octets| {
            [&[0xff; 32][..], &octets[32..]].concat()
        }),
        changed("s-beyond-order", "S is beyond the order of the curve", &|octets| {
            [&octets[..32], &[0xff; 32][..]].concat()
        }),
        of(&world.ed25519, "Ed25519", "ed25519-s-beyond-order", "S and the order of the group, added", &plus_order),
        of(&world.rsa, "RS256", "rs256-long", "a zero before an RSA signature", &|octets| [vec![0], octets].concat()),
        of(&world.rsa, "PS256", "ps256-short", "an RSA signature without its last octet", &|octets| {
            octets[..octets.len() - 1].to_vec()
        }),
        changed("halves-swapped", "S before R", &|octets| [&octets[32..], &octets[..32]].concat()),
        bad(world.resource().proof(|proof| proof.signed_by(&world.thief, "ES256")), "other-key", "by another key"),
        bad(
            world.resource_of(&world.rsa, "PS256").proof(|proof| proof.head("alg", "RS256")),
            "padding-differs",
            "a PSS signature under the name RS256",
        ),
        bad(
            world.resource_of(&world.rsa, "RS256").proof(|proof| proof.head("alg", "RS384")),
            "hash-differs",
            "a signature with SHA-256 under the name RS384",
        ),
    ];
    let other = world.proof(&world.p256, "ES256").set("htm", "DELETE").compact();
    let payload = other.split('.').nth(1).unwrap_or_default();
    let swapped = world.resource().cut(|[header, _, signature]| format!("{header}.{payload}.{signature}"));
    cases.push(bad(swapped, "payload-swapped", "the payload of another proof"));
    cases.extend(algs.map(|(name, key, alg)| {
        let case = world.resource_of(key, alg).cut(|[header, payload, signature]| {
            let octets = keybound::jws::decode_base64url(signature).expect("a good proof");
            format!("{header}.{payload}.{}", encode_base64url(&flip(octets)))
        });
        bad(case, name, &format!("one bit flipped in a signature of {alg}"))
    }));
    cases
}

/// An Ed25519 signature whose S has the order of the group added: the same to whoever computes without looking.
fn plus_order(mut signature: Vec<u8>) -> Vec<u8> {
    const ORDER: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0, 0, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    let mut carry = 0_u16;
    for (octet, more) in signature[32..].iter_mut().zip(ORDER) {
        let sum = u16::from(*octet) + u16::from(more) + carry;
        *octet = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    signature
}
