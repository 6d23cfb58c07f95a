//! The access token as a JWT: form, type, key, signature, claims, issuer, audience, times.

use serde_json::{Value, json};

use super::case::{Case, NOW, ORIGIN, World};
use super::jws::Jws;

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [form(world), signatures(world), claims(world), introspected(world)].concat()
}

fn with<'w>(world: &'w World, change: impl FnOnce(Jws<'w>) -> Jws<'w>) -> Case<'w> {
    world.resource().token(change(world.token(&world.p256)))
}

fn form(world: &World) -> Vec<Case<'_>> {
    let good = world.token(&world.p256).compact();
    let text = |name: &str, text: &str, title: &str| {
        let why = "the token is one compact JWS of strict JSON";
        world.resource().token_text(text).refused("token.malformed", &["R-RS-05"], name, title, why)
    };
    let mut segments = good.split('.');
    let [header, payload, signature] = [(); 3].map(|()| segments.next().unwrap_or_default());
    let type_of = |name: &str, typ: Value| {
        let title = format!("typ of the token is {typ}");
        let why = "only an access token is an access token";
        with(world, |token| token.head("typ", typ)).refused("token.type", &["R-RS-13", "R-RS-19"], name, &title, why)
    };
    let proof = world.proof(&world.p256, "ES256").compact();
    let why = "only an access token is an access token";
    vec![
        text("opaque", "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU", "an opaque token where JWTs are read"),
        text("word", "abc", "one segment"),
        text("two-segments", &format!("{header}.{payload}"), "two segments"),
        text("five-segments", &format!("{good}.a.b"), "five segments"),
        text("padding", &format!("{good}=="), "padding at the end"),
        text("header-not-json", &format!("AAAA.{payload}.{signature}"), "a header that is not JSON"),
        with(world, |token| token.head("crit", json!(["exp"]))).refused(
            "token.malformed",
            &["R-PRF-25"],
            "crit",
            "a token with crit",
            "nothing critical is understood",
        ),
        with(world, |token| token.head("b64", false)).refused(
            "token.malformed",
            &["R-PRF-26"],
            "b64",
            "a token with b64",
            "the payload is always encoded",
        ),
        with(world, |token| token.head("kid", 1)).refused(
            "token.malformed",
            &["R-RS-16"],
            "kid-number",
            "kid is a number",
            "kid is a string",
        ),
        with(world, |token| token.header_text(|text| text.replacen('{', r#"{"alg":"none","#, 1))).refused(
            "token.malformed",
            &["R-PRF-09"],
            "alg-twice",
            "alg twice in the header",
            "a name stands once",
        ),
        with(world, |token| token.payload_text(|text| text.replacen('{', r#"{"cnf":{},"#, 1))).refused(
            "token.malformed",
            &["R-PRF-09"],
            "cnf-twice",
            "cnf twice in the payload",
            "a name stands once",
        ),
        with(world, |token| token.payload_text(|text| format!("[{text}]"))).refused(
            "token.malformed",
            &["R-RS-18"],
            "payload-array",
            "the payload is an array",
            "claims are an object",
        ),
        world.resource().token_text(&"a".repeat(16 * 1024 + 1)).refused(
            "token.oversized",
            &["R-SEC-12"],
            "too-long",
            "a token of 16385 octets",
            "the size is bounded before anything is read",
        ),
        with(world, |token| token.unhead("typ")).refused("token.type", &["R-RS-13"], "missing", "no typ", why),
        type_of("jwt", json!("JWT")),
        type_of("id-token", json!("id+jwt")),
        type_of("number", json!(1)),
        type_of("array", json!(["at+jwt"])),
        world.resource().token_text(&proof).refused("token.type", &["R-RS-19"], "proof", "a proof for a token", why),
    ]
}

fn signatures(world: &World) -> Vec<Case<'_>> {
    let rows = &["R-RS-16", "R-ERR-12"];
    let algorithm = |name: &str, alg: Value| {
        let title = format!("alg of the token is {alg}");
        let why = "tokens are signed with the algorithms their issuer is allowed";
        with(world, |token| token.head("alg", alg)).refused("token.algorithm", rows, name, &title, why)
    };
    let mut cases = vec![
        algorithm("none", json!("none")),
        algorithm("hs256", json!("HS256")),
        algorithm("lower-case", json!("es256")),
        algorithm("number", json!(1)),
        algorithm("not-allowed", json!("RS256")),
        algorithm("old-name", json!("EdDSA")),
    ];
    let why = "only the issuer's keys vouch for its tokens";
    cases.extend([
        with(world, |token| token.unhead("alg")).refused("token.algorithm", rows, "missing", "no alg", why),
        with(world, |token| token.head("kid", "unknown")).refused(
            "token.key",
            rows,
            "kid-unknown",
            "a kid of no key",
            why,
        ),
        with(world, |token| token.head("alg", "Ed25519")).refused(
            "token.key",
            rows,
            "kid-of-another-kind",
            "the kid of a key of another kind",
            why,
        ),
        with(world, |token| token.signed_by(&world.stranger, "ES256")).refused(
            "token.signature",
            rows,
            "stranger",
            "signed by a key that is not in the set",
            why,
        ),
        with(world, |token| token.unhead("kid").signed_by(&world.stranger, "ES256")).refused(
            "token.signature",
            rows,
            "stranger-without-kid",
            "signed by a stranger, without kid",
            why,
        ),
        with(world, |token| token.head("jwk", world.stranger.public()).signed_by(&world.stranger, "ES256")).refused(
            "token.signature",
            rows,
            "embedded-key",
            "signed by the key in its own header",
            why,
        ),
        with(world, |token| token.head("jku", "https://evil.example/keys").signed_by(&world.stranger, "ES256"))
            .refused("token.signature", rows, "remote-key", "signed by a key its header points to", why),
        with(world, |token| token.signed_by(&world.p256, "ES256")).refused(
            "token.signature",
            rows,
            "holder",
            "signed by its own holder",
            why,
        ),
    ]);
    let good = world.token(&world.p256).compact();
    let (input, signature) = good.rsplit_once('.').unwrap_or_default();
    let mut octets = keybound::jws::decode_base64url(signature).expect("a good token");
    octets[0] ^= 0x80;
    let flipped = format!("{input}.{}", keybound::jws::encode_base64url(&octets));
    for (name, text, title) in [
        ("flipped", flipped, "one bit flipped in the signature"),
        ("empty", format!("{input}."), "no signature"),
        ("short", format!("{input}.{}", &signature[..80]), "a short signature"),
    ] {
        cases.push(world.resource().token_text(&text).refused("token.signature", rows, name, title, why));
    }
    cases
}

fn claims(world: &World) -> Vec<Case<'_>> {
    let mut cases = Vec::new();
    for claim in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        let case = with(world, |token| token.unset(claim));
        let why = "a token has the claims of RFC 9068";
        cases.push(case.refused(
            "token.claims",
            &["R-RS-18"],
            &format!("{claim}-missing"),
            &format!("no {claim}"),
            why,
        ));
    }
    for (name, claim, value) in [
        ("iss-number", "iss", json!(1)),
        ("sub-null", "sub", Value::Null),
        ("client-id-array", "client_id", json!(["demo"])),
        ("jti-number", "jti", json!(1)),
        ("exp-string", "exp", json!("1700000600")),
        ("exp-negative", "exp", json!(-1)),
        ("exp-smallest-i64", "exp", json!(i64::MIN)),
        ("exp-absurd", "exp", json!(1e300)),
        ("iat-string", "iat", json!("now")),
        ("nbf-string", "nbf", json!("0")),
        ("aud-number", "aud", json!(1)),
        ("aud-empty-array", "aud", json!([])),
        ("aud-mixed-array", "aud", json!([ORIGIN, 1])),
        ("scope-array", "scope", json!(["orders:read"])),
        ("scope-null", "scope", Value::Null),
    ] {
        let title = format!("{claim} is {value}");
        let case = with(world, |token| token.set(claim, value));
        cases.push(case.refused("token.claims", &["R-RS-18"], name, &title, "each claim has its type"));
    }
    for (code, rows, name, claim, value, why) in [
        (
            "token.issuer",
            &["R-RS-14"],
            "other",
            "iss",
            json!("https://evil.example"),
            "only this issuer's tokens are good here",
        ),
        ("token.issuer", &["R-RS-14"], "trailing-slash", "iss", json!("https://id.example.com/"), "octet for octet"),
        ("token.issuer", &["R-RS-14"], "upper-case", "iss", json!("https://ID.example.com"), "octet for octet"),
        (
            "token.audience",
            &["R-RS-15"],
            "other",
            "aud",
            json!("https://other.example"),
            "the token is for another resource",
        ),
        ("token.audience", &["R-RS-15"], "trailing-slash", "aud", json!("https://api.example.com/"), "octet for octet"),
        ("token.audience", &["R-RS-15"], "others", "aud", json!(["a", "b"]), "the token is for other resources"),
        ("token.audience", &["R-RS-15"], "client", "aud", json!("demo"), "that is the audience of an ID token"),
        ("token.expired", &["R-RS-17"], "edge", "exp", json!(NOW - 5), "5 s of leeway are over"),
        ("token.expired", &["R-RS-17"], "zero", "exp", json!(0), "the token is of 1970"),
        ("token.early", &["R-RS-17"], "edge", "nbf", json!(NOW + 6), "the token is not valid for another 6 s"),
        (
            "token.early",
            &["R-RS-17"],
            "fraction",
            "nbf",
            json!(1_700_000_005.5),
            "the token is not valid for another 5.5 s",
        ),
    ] {
        let title = format!("{claim} of the token is {value}");
        cases.push(with(world, |token| token.set(claim, value)).refused(code, rows, name, &title, why));
    }
    cases
}

/// For a server that asks the issuer: the answer stands in the policy. The protocol crate does no introspection.
fn introspected(world: &World) -> Vec<Case<'_>> {
    let opaque = |answer: Value| {
        let case = world.resource().token_text("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU").role("rs-introspection");
        case.policy("introspection", answer).policy("jwks", Value::Null).policy("token_algorithms", Value::Null)
    };
    let active = json!({
        "active": true, "iss": "https://id.example.com", "sub": "alice", "client_id": "demo", "aud": ORIGIN,
        "exp": NOW + 600, "scope": "orders:read", "token_type": "DPoP", "cnf": {"jkt": world.p256.jkt()},
    });
    let set = |name: &str, value: Value| {
        let mut answer = active.clone();
        answer[name] = value;
        answer
    };
    let rows = &["R-RS-21", "R-RS-22"];
    let inactive = |name: &str, answer: Value, title: &str| {
        opaque(answer).refused("token.inactive", rows, name, title, "only active = true is active")
    };
    vec![
        opaque(active.clone()).admitted(
            "RFC 9449 6.2",
            rows,
            "introspected",
            "an opaque token, active and bound to the key",
            "the resource server checks the binding itself",
        ),
        opaque(set("token_type", json!("dpop"))).admitted(
            "RFC 7662 2.2",
            rows,
            "introspected-type-case",
            "token_type is dpop",
            "the type has no letter case",
        ),
        inactive("false", json!({"active": false}), "active is false"),
        inactive("missing", json!({}), "no active"),
        inactive("string", set("active", json!("true")), "active is a string"),
        inactive("number", set("active", json!(1)), "active is a number"),
        inactive("null", set("active", Value::Null), "active is null"),
        opaque(set("cnf", json!({"jkt": world.thief.jkt()}))).refused(
            "key.mismatch",
            rows,
            "introspected",
            "the answer names another key",
            "a thief has the token and not the key",
        ),
        opaque(set("token_type", json!("Bearer"))).refused(
            "token.confirmation",
            rows,
            "introspected-bearer-type",
            "token_type is Bearer beside a jkt",
            "the answer contradicts itself",
        ),
    ]
}
