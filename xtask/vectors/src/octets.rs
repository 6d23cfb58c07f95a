//! The proof as octets, before anybody looks into it: fields, segments, base64url, JSON.

use keybound::jws::encode_base64url;

use super::case::{Case, World};

pub(super) fn cases(world: &World) -> Vec<Case<'_>> {
    [field(world), segments(world), encoding(world), json(world)].concat()
}

fn field(world: &World) -> Vec<Case<'_>> {
    let good = || world.resource();
    let mut cases = vec![
        good().proofs(|_| Vec::new()).refused(
            "proof.missing",
            &["R-RS-03"],
            "no-field",
            "a DPoP token without a proof",
            "the scheme demands one",
        ),
        good().proofs(|proof| vec![proof.into(), proof.into()]).refused(
            "proof.repeated",
            &["R-PRF-01", "R-SEC-17"],
            "identical",
            "the same proof in two fields",
            "there is one field, even where two are identical",
        ),
        good().proofs(|proof| vec![proof.into(), "a.b.c".into()]).refused(
            "proof.repeated",
            &["R-PRF-01"],
            "second-is-garbage",
            "a good proof and a second field",
            "which of two is meant is anybody's guess",
        ),
        good().proofs(|proof| vec!["a.b.c".into(), proof.into()]).refused(
            "proof.repeated",
            &["R-PRF-01"],
            "first-is-garbage",
            "a field of garbage before a good proof",
            "which of two is meant is anybody's guess",
        ),
        good().proofs(|proof| vec![format!("{proof}, {proof}")]).refused(
            "proof.repeated",
            &["R-PRF-02"],
            "folded",
            "two fields folded into one by a comma",
            "an intermediary may fold fields, and a token68 has no comma",
        ),
        good().proof(|proof| proof.set("x", "x".repeat(8192))).refused(
            "proof.oversized",
            &["R-PRF-42"],
            "long-claim",
            "a good proof of more than 8192 octets",
            "the size is bounded before anything is read",
        ),
        good().proof_text("a".repeat(8193)).refused(
            "proof.oversized",
            &["R-PRF-42"],
            "garbage",
            "8193 letters",
            "the size is bounded before anything is read",
        ),
    ];
    let malformed = [
        ("empty", String::new(), "an empty field"),
        ("blank", "  ".into(), "a field of spaces"),
        ("word", "proof".into(), "no segments"),
        ("padding-alone", "=".into(), "nothing but padding"),
        ("json", r#"{"payload":""}"#.into(), "a JSON serialization"),
        ("quoted", "\"a.b.c\"".into(), "quotes around the proof"),
        ("scheme", "DPoP a.b.c".into(), "a scheme before the proof"),
    ];
    cases.extend(malformed.map(|(name, text, title)| {
        let why = "the field is one token68 of three segments";
        good().proof_text(text).refused("proof.malformed", &["R-PRF-04", "R-PRF-05"], name, title, why)
    }));
    cases
}

fn segments(world: &World) -> Vec<Case<'_>> {
    let cut = |name: &str, title: &str, change: &dyn Fn([&str; 3]) -> String| {
        let why = "a compact JWS has three segments";
        world.resource().cut(change).refused("proof.malformed", &["R-PRF-05"], name, title, why)
    };
    vec![
        cut("two-segments", "without its signature segment", &|[a, b, _]| format!("{a}.{b}")),
        cut("four-segments", "a fourth segment", &|[a, b, c]| format!("{a}.{b}.{c}.{c}")),
        cut("five-segments", "five segments, as of a JWE", &|[a, b, c]| format!("{a}.{b}.{c}.{c}.{c}")),
        cut("trailing-dot", "a dot at the end", &|[a, b, c]| format!("{a}.{b}.{c}.")),
        cut("leading-dot", "a dot at the beginning", &|[a, b, c]| format!(".{a}.{b}.{c}")),
        cut("inner-space", "a space between segments", &|[a, b, c]| format!("{a}. {b}.{c}")),
        cut("inner-tab", "a tab between segments", &|[a, b, c]| format!("{a}.{b}.\t{c}")),
        cut("inner-padding", "padding inside the proof", &|[a, b, c]| format!("{a}=.{b}.{c}")),
        cut("semicolon", "something after a semicolon", &|[a, b, c]| format!("{a}.{b}.{c};x")),
    ]
}

fn encoding(world: &World) -> Vec<Case<'_>> {
    let cut = |name: &str, title: &str, change: &dyn Fn([&str; 3]) -> String| {
        let why = "segments are canonical base64url without padding";
        let rows = &["R-PRF-06", "R-PRF-07"];
        world.resource().cut(change).refused("proof.encoding", rows, name, title, why)
    };
    let last = |segment: &str, letter: &str| format!("{}{letter}", &segment[..segment.len() - 1]);
    vec![
        cut("padding", "padding at the end", &|[a, b, c]| format!("{a}.{b}.{c}==")),
        cut("plus", "a plus sign of the standard alphabet", &|[a, b, c]| format!("{a}.{b}.{}", last(c, "+"))),
        cut("slash", "a slash of the standard alphabet", &|[a, b, c]| format!("{a}.{}.{c}", last(b, "/"))),
        cut("tilde", "a tilde, which token68 allows", &|[a, b, c]| format!("{}.{b}.{c}", last(a, "~"))),
        cut("trailing-bits", "trailing bits that are not zero", &|[a, b, c]| {
            // 64 octets leave four bits over, so that the last letter is one of A, Q, g, w.
            let spoilt = match c.as_bytes().last() {
                Some(b'A') => "B",
                Some(b'Q') => "R",
                Some(b'g') => "h",
                _ => "x",
            };
            format!("{a}.{b}.{}", last(c, spoilt))
        }),
        cut("one-letter-over", "a segment of 4n + 1 letters", &|[a, b, _]| format!("{a}.{b}.AAAAA")),
        cut("header-letter-over", "a header of 4n + 1 letters", &|[_, b, c]| format!("AAAAA.{b}.{c}")),
        cut("payload-letter-over", "a payload of 4n + 1 letters", &|[a, _, c]| format!("{a}.AAAAA.{c}")),
    ]
}

fn json<'w>(world: &'w World) -> Vec<Case<'w>> {
    let refuse = |case: Case<'w>, name: &str, title: &str| {
        let why = "header and payload are each one strict JSON object";
        case.refused("proof.json", &["R-PRF-08", "R-PRF-09", "R-PRF-42"], name, title, why)
    };
    let header = |name: &str, title: &str, change: &dyn Fn(String) -> String| {
        refuse(world.resource().proof(|proof| proof.header_text(change)), name, title)
    };
    let payload = |name: &str, title: &str, change: &dyn Fn(String) -> String| {
        refuse(world.resource().proof(|proof| proof.payload_text(change)), name, title)
    };
    let octets = |name: &str, title: &str, octets: &[u8]| {
        refuse(world.resource().proof(|proof| proof.payload_octets(octets)), name, title)
    };
    let open = |text: &str, first: &str| text.replacen('{', &format!("{{{first},"), 1);
    vec![
        header("header-array", "the header is an array", &|text| format!("[{text}]")),
        header("header-string", "the header is a string", &|_| "\"dpop+jwt\"".into()),
        header("header-typ-twice", "typ twice, equal both times", &|text| open(&text, r#""typ":"dpop+jwt""#)),
        header("header-alg-twice", "alg twice, none first", &|text| open(&text, r#""alg":"none""#)),
        header("header-alg-escaped-twice", "alg twice, once with an escape", &|text| {
            open(&text, r#""\u0061lg":"none""#)
        }),
        header("jwk-x-twice", "a member of jwk twice", &|text| text.replace(r#""jwk":{"#, r#""jwk":{"crv":"P-256","#)),
        header("unknown-twice", "an unknown parameter twice", &|text| open(&text, r#""z":1,"z":1"#)),
        header("header-trailing", "something after the header", &|text| format!("{text}x")),
        header("header-two-objects", "two objects for a header", &|text| format!("{text}{{}}")),
        header("header-byte-order-mark", "a byte order mark before the header", &|text| format!("\u{feff}{text}")),
        header("header-truncated", "the header breaks off", &|text| text[..text.len() - 1].into()),
        payload("payload-array", "the payload is an array", &|text| format!("[{text}]")),
        payload("payload-null", "the payload is null", &|_| "null".into()),
        payload("payload-jti-twice", "jti twice", &|text| open(&text, r#""jti":"x""#)),
        payload("payload-htu-escaped-twice", "htu twice, once with an escape", &|text| {
            open(&text, r#""ht\u0075":"https://evil.example/""#)
        }),
        payload("payload-trailing-comma", "a comma before the closing brace", &|text| text.replace('}', ",}")),
        payload("payload-single-quotes", "single quotes", &|text| text.replace('"', "'")),
        payload("payload-comment", "a comment", &|text| format!("/* */{text}")),
        payload("payload-nan", "iat is NaN", &|text| text.replace(r#""iat":1700000000"#, r#""iat":NaN"#)),
        payload("payload-infinite", "iat is 1e999", &|text| text.replace(r#""iat":1700000000"#, r#""iat":1e999"#)),
        payload("payload-leading-zero", "iat with a leading zero", &|text| text.replace(":17000", ":017000")),
        payload("payload-half-surrogate", "half of a surrogate pair", &|text| open(&text, r#""z":"\ud800""#)),
        payload("payload-deep", "nested nine levels deep", &|text| {
            open(&text, &format!(r#""z":{}1{}"#, "[".repeat(8), "]".repeat(8)))
        }),
        payload("payload-many", "more than 1024 values", &|text| {
            open(&text, &format!(r#""z":[{}0]"#, "0,".repeat(1024)))
        }),
        octets("payload-empty", "an empty payload", b""),
        octets("payload-not-utf8", "a payload that is not UTF-8", b"{\"jti\":\"\xff\"}"),
        octets("payload-utf16", "a payload in UTF-16", b"\xff\xfe{\0}\0"),
        octets("payload-control", "a raw control character in a string", b"{\"jti\":\"a\x01\"}"),
        {
            let header = encode_base64url(b"a.b");
            let case = world.resource().cut(|[_, b, c]| format!("{header}.{b}.{c}"));
            refuse(case, "header-not-json", "a header that is not JSON")
        },
    ]
}
