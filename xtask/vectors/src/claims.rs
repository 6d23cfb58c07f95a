//! The claims of a proof but for `htu` and `nonce`: jti, htm, iat, exp, nbf, ath.

use serde_json::{Value, json};

use super::case::{Case, NOW, World, ath};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [types(world), methods(world), times(world), hashes(world)].concat()
}

fn types(world: &World) -> Vec<Case<'_>> {
    let set = |code, rows, claim: &str, name: &str, value: Value| {
        let title =
            if name.ends_with("oversized") { "a jti of 257 octets".into() } else { format!("{claim} is {value}") };
        let why = "each required claim is there, and each claim has its type";
        world.resource().proof(|proof| proof.set(claim, value)).refused(code, rows, name, &title, why)
    };
    let mut cases = Vec::new();
    for (code, claim, rows) in [
        ("jti.invalid", "jti", &["R-PRF-29"]),
        ("htm.invalid", "htm", &["R-PRF-31"]),
        ("htu.invalid", "htu", &["R-PRF-33"]),
        ("iat.invalid", "iat", &["R-PRF-34"]),
    ] {
        let why = "each required claim is there, and each claim has its type";
        let case = world.resource().proof(|proof| proof.unset(claim));
        cases.push(case.refused(code, rows, "missing", &format!("no {claim}"), why));
        for (name, value) in [("null", Value::Null), ("boolean", json!(true)), ("object", json!({}))] {
            cases.push(set(code, rows, claim, name, value));
        }
    }
    for (code, rows, claim, name, value) in [
        ("jti.invalid", &["R-PRF-29"], "jti", "empty", json!("")),
        ("jti.invalid", &["R-PRF-29"], "jti", "number", json!(1)),
        ("jti.oversized", &["R-PRF-30"], "jti", "oversized", json!("x".repeat(257))),
        ("htm.invalid", &["R-PRF-31"], "htm", "array", json!(["GET"])),
        ("htu.invalid", &["R-PRF-33"], "htu", "array", json!(["https://api.example.com/orders"])),
        ("iat.invalid", &["R-PRF-34"], "iat", "string", json!("1700000000")),
        ("iat.invalid", &["R-PRF-34"], "iat", "negative", json!(-1)),
        ("iat.invalid", &["R-PRF-34"], "iat", "negative-fraction", json!(-0.5)),
        ("iat.invalid", &["R-PRF-34"], "iat", "smallest-i64", json!(i64::MIN)),
        ("iat.invalid", &["R-PRF-34"], "iat", "largest-u64", json!(u64::MAX)),
        ("iat.invalid", &["R-PRF-34"], "iat", "year-10000", json!(253_402_300_800_u64)),
        ("iat.invalid", &["R-PRF-34"], "iat", "absurd", json!(1e300)),
        ("iat.invalid", &["R-PRF-34"], "iat", "array", json!([1_700_000_000])),
        ("claim.invalid", &["R-PRF-37"], "exp", "exp-string", json!("1700000300")),
        ("claim.invalid", &["R-PRF-37"], "exp", "exp-null", Value::Null),
        ("claim.invalid", &["R-PRF-37"], "exp", "exp-negative", json!(-1)),
        ("claim.invalid", &["R-PRF-37"], "nbf", "nbf-string", json!("0")),
        ("claim.invalid", &["R-PRF-37"], "nbf", "nbf-object", json!({})),
        ("claim.invalid", &["R-PRF-38"], "ath", "ath-array", json!(["x"])),
        ("claim.invalid", &["R-PRF-38"], "ath", "ath-null", Value::Null),
        ("claim.invalid", &["R-PRF-38"], "ath", "ath-number", json!(1)),
        ("claim.invalid", &["R-NONCE-22"], "nonce", "nonce-number", json!(1)),
        ("claim.invalid", &["R-NONCE-22"], "nonce", "nonce-null", Value::Null),
        ("claim.invalid", &["R-NONCE-22"], "nonce", "nonce-array", json!(["n"])),
    ] {
        cases.push(set(code, rows, claim, name, value));
    }
    cases
}

fn methods(world: &World) -> Vec<Case<'_>> {
    let claim = |name: &str, htm: &str, title: &str| {
        let why = "htm is the method of the request line, octet for octet";
        let case = world.resource().proof(|proof| proof.set("htm", htm));
        case.refused("htm.mismatch", &["R-PRF-31", "R-PRF-32"], name, title, why)
    };
    let why = "htm is the method of the request line, octet for octet";
    let rows = &["R-PRF-31", "R-PRF-32"];
    vec![
        claim("post", "POST", "POST for a GET request"),
        claim("lower-case", "get", "get for GET"),
        claim("head", "HEAD", "HEAD for a GET request"),
        claim("empty", "", "an empty htm"),
        claim("trailing-space", "GET ", "a space after the method"),
        claim("several", "GET, POST", "several methods"),
        claim("wildcard", "*", "a wildcard"),
        claim("not-a-token", "GET/", "text that is no method"),
        world.resource().method("HEAD").refused(
            "htm.mismatch",
            rows,
            "request-head",
            "a GET proof with a HEAD request",
            why,
        ),
        world.resource().method("get").refused(
            "htm.mismatch",
            rows,
            "request-lower-case",
            "a GET proof with a get request",
            why,
        ),
        world.resource().method("POST").field("X-HTTP-Method-Override", "GET").refused(
            "htm.mismatch",
            rows,
            "override",
            "an override field that says the method of the proof",
            why,
        ),
    ]
}

fn times(world: &World) -> Vec<Case<'_>> {
    let set = |claim: &str, value: Value| world.resource().proof(|proof| proof.set(claim, value));
    let rows = &["R-PRF-35", "R-PRF-36", "R-NONCE-12", "R-SEC-07"];
    let why = "a proof is of now";
    let mut cases = Vec::new();
    for (code, name, iat, title) in [
        ("iat.past", "a-second-too-old", json!(NOW - 301), "iat is 301 s ago"),
        ("iat.past", "fraction-too-old", json!(1_699_999_699.75), "iat is 300.25 s ago"),
        ("iat.past", "epoch", json!(0), "iat is 1970"),
        ("iat.past", "minus-zero", json!(-0.0), "iat is minus zero"),
        ("iat.past", "milliseconds-ago", json!(1_700_000), "iat is a thousandth of now"),
        ("iat.future", "a-second-too-far", json!(NOW + 61), "iat is 61 s ahead"),
        ("iat.future", "fraction-too-far", json!(1_700_000_060.25), "iat is 60.25 s ahead"),
        ("iat.future", "an-hour", json!(NOW + 3600), "iat is an hour ahead"),
        ("iat.future", "year-9999", json!(253_402_300_799_u64), "iat is the last second of 9999"),
    ] {
        let off = set("iat", iat.clone()).policy("nonce/policy", "off");
        cases.push(off.refused(code, rows, name, title, why));
        let offer = set("iat", iat).answer(401, Some("use_dpop_nonce"));
        let title = format!("{title}, where nonces are offered");
        let why = "a client with a wrong clock recovers by a nonce";
        cases.push(offer.refused(code, rows, &format!("{name}-nonce-offered"), &title, why));
    }
    for (code, name, claim, value, title) in [
        ("exp.past", "passed", "exp", json!(NOW - 61), "exp passed 61 s ago"),
        ("exp.past", "edge", "exp", json!(NOW - 60), "exp passed 60 s ago"),
        ("exp.past", "zero", "exp", json!(0), "exp is 1970"),
        ("nbf.future", "a-second-too-far", "nbf", json!(NOW + 61), "nbf is 61 s ahead"),
        ("nbf.future", "fraction-too-far", "nbf", json!(1_700_000_060.5), "nbf is 60.5 s ahead"),
    ] {
        let why = "exp and nbf need not be there, and are honoured if they are";
        cases.push(set(claim, value).refused(code, &["R-PRF-37"], name, title, why));
    }
    let fapi = |iat: u64| {
        let case = set("iat", json!(iat)).policy("max_age", 60).policy("max_future", 10);
        case.policy("iat_always_in_window", true)
    };
    let why = "the profile holds iat to its window whatever the nonce";
    cases.push(fapi(NOW - 61).refused("iat.past", rows, "fapi", "iat is 61 s ago under a window of 60 s", why));
    cases.push(fapi(NOW + 11).refused("iat.future", rows, "fapi", "iat is 11 s ahead under a window of 10 s", why));
    cases
}

fn hashes(world: &World) -> Vec<Case<'_>> {
    let why = "the proof is for this very token";
    let rows = &["R-PRF-38", "R-SEC-09", "R-TOK-04", "R-TOK-05"];
    let good = world.resource();
    let hash = ath(good.token_of());
    let set = |name: &str, ath: String, title: &str| {
        // The token is random, and the hash is of this one.
        let case = good.clone().proof(|proof| proof.set("ath", ath));
        case.refused("ath.mismatch", rows, name, title, why)
    };
    let octets = keybound::jws::decode_base64url(&hash).expect("a hash");
    let hex: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
    let mut cases = vec![
        set("other-token", ath("another token"), "the hash of another token"),
        set("hex", hex, "the hash in hexadecimal"),
        set("padded", format!("{hash}="), "the hash with padding"),
        set("upper-case", hash.to_uppercase(), "the hash in upper case"),
        set("token-itself", good.token_of().chars().take(43).collect(), "text of the token in place of its hash"),
        set("scheme-included", ath(&format!("DPoP {}", good.token_of())), "the hash of the whole credentials"),
        set("empty", String::new(), "an empty ath"),
    ];
    let missing = good.clone().proof(|proof| proof.unset("ath"));
    cases.push(missing.refused("ath.missing", rows, "missing", "no ath", why));
    let trimmed = good.clone().authorization(|token| vec![format!("DPoP {token}=")]);
    cases.push(trimmed.refused("ath.mismatch", rows, "token-changed", "the token has a character more", why));
    cases
}
