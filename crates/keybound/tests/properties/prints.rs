//! What parses prints back the same, and what does not matter does not matter.

use keybound::challenge::parse_line;
use keybound::crypto::Alg;
use keybound::crypto::Signer as _;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::jwk::{PublicJwk, Thumbprint};
use keybound::jws::json::{Object, Value};
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::nonce::Nonce;
use keybound::request::{Origin, RequestPath, TargetUri};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

/// Any JSON as deep as the strict reader goes.
fn any_json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(json!(null)),
        any::<bool>().prop_map(|value| json!(value)),
        any::<u64>().prop_map(|value| json!(value)),
        any::<i64>().prop_map(|value| json!(value)),
        any::<f64>().prop_filter("JSON has finite numbers", |value| value.is_finite()).prop_map(|value| json!(value)),
        any::<String>().prop_map(|value| json!(value)),
    ];
    leaf.prop_recursive(6, 64, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(|values| json!(values)),
            btree_map(any::<String>(), inner, 0..6).prop_map(|members| json!(members)),
        ]
    })
}

/// Any URI that a client might aim at, in any spelling.
fn any_uri() -> impl Strategy<Value = String> {
    let scheme = prop_oneof![Just("https"), Just("HTTPS"), Just("http"), Just("hTtPs")];
    let host = "[a-zA-Z0-9%~.-]{1,20}|\\[[0-9a-fA-F:]{2,12}\\]";
    let port = "(:[0-9]{0,5})?";
    (scheme, host, port, "[!-~]{0,40}").prop_map(|(scheme, host, port, rest)| format!("{scheme}://{host}{port}/{rest}"))
}

proptest! {
    // R-URI-02, R-URI-03, R-URI-04, R-URI-05: a normal form is its own normal form, and matches what it came from.
    #[test]
    fn normal_forms_are_normal(text in any_uri()) {
        if let Ok(uri) = TargetUri::parse(&text) {
            prop_assert_eq!(TargetUri::parse(uri.as_str()), Ok(uri.clone()));
            prop_assert!(!uri.as_str().contains(['?', '#']));
            // R-URI-01: query and fragment are as if they were not there.
            let bare = text.split(['?', '#']).next().unwrap();
            prop_assert_eq!(TargetUri::parse(bare), Ok(uri));
        }
    }

    // R-URI-11: what a client signs and what a gateway makes of the request line meet in the same octets.
    #[test]
    fn both_sides_come_to_the_same_form(path in "/[!-\"$->@-~]{0,40}") {
        let origin: Origin = "https://api.example.com".parse().unwrap();
        let signed = TargetUri::parse(&format!("https://api.example.com{path}"));
        let received = RequestPath::parse(&path).map(|path| origin.target(&path));
        prop_assert_eq!(signed.ok(), received.ok());
    }

    // Against the forgiving reader, whose floats may be off by the last digit of what was written.
    #[test]
    fn json_reads_as_it_was_written(value in any_json()) {
        let text = value.to_string();
        let read = Value::parse(text.as_bytes()).map(|value| value.to_json());
        prop_assert_eq!(read.ok(), serde_json::from_str(&text).ok());
    }

    // R-PRF-09: a name twice, wherever and however it is spelled.
    #[test]
    fn a_name_twice_is_refused(name in "[a-z]{1,8}", around in btree_map("[A-Z]{1,4}", any_json(), 0..4)) {
        let escaped: String = name.chars().map(|letter| format!("\\u{:04x}", u32::from(letter))).collect();
        let members: String = around.iter().map(|(name, value)| format!("{}:{value},", json!(name))).collect();
        for second in [&name, &escaped] {
            let object = format!(r#"{{"{name}":1,{members}"{second}":2}}"#);
            prop_assert!(Object::parse(object.as_bytes()).is_err(), "{}", object);
            let nested = format!(r#"{{"x":[{object}]}}"#);
            prop_assert!(Object::parse(nested.as_bytes()).is_err(), "{}", nested);
        }
        let once = format!(r#"{{"{escaped}":1,{members}"0":2}}"#);
        prop_assert!(Object::parse(once.as_bytes()).unwrap().contains(&name));
    }

    // R-CLI-14, R-ERR-01: schemes, parameters and quoted text come back, whatever stands in the text.
    #[test]
    fn challenges_read_as_they_were_written(
        challenges in vec(("[A-Za-z][A-Za-z0-9!#$%&'*+.^_`|~-]{0,8}", btree_map("[a-z]{1,6}", "[ -~\t]{0,12}", 1..4)), 1..4)
    ) {
        let line: Vec<String> = challenges.iter().map(|(scheme, params)| {
            let params: Vec<String> = params.iter()
                .map(|(name, value)| format!("{name}=\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\"")))
                .collect();
            format!("{scheme} {}", params.join(", "))
        }).collect();
        let read = parse_line(&line.join(", ")).unwrap();
        prop_assert_eq!(read.len(), challenges.len());
        for (read, (scheme, params)) in read.iter().zip(&challenges) {
            prop_assert_eq!(read.scheme(), scheme);
            let read: Vec<_> = read.params().collect();
            let written: Vec<_> = params.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
            prop_assert_eq!(read, written);
        }
    }

    // R-PRF-06, R-PRF-07: of base64url there is one spelling.
    #[test]
    fn base64url_has_one_spelling(octets in vec(any::<u8>(), 0..80), text in "[A-Za-z0-9_=+/-]{0,12}") {
        prop_assert_eq!(decode_base64url(&encode_base64url(&octets)), Ok(octets));
        if let Ok(octets) = decode_base64url(&text) {
            prop_assert_eq!(encode_base64url(&octets), text);
        }
    }

    // R-NONCE-03
    #[test]
    fn nonces_keep_their_spelling(text in "\\PC{0,40}") {
        let fine = |octet| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        let expected = !text.is_empty() && text.bytes().all(fine);
        prop_assert_eq!(Nonce::parse(&text).map(|nonce| nonce.as_str().to_owned()), expected.then_some(text));
    }

    // R-RS-09, R-AS-15
    #[test]
    fn thumbprints_keep_their_spelling(octets in any::<[u8; 32]>()) {
        let jkt = Thumbprint::from_bytes(octets);
        prop_assert_eq!(jkt.to_string().parse::<Thumbprint>(), Ok(jkt));
        prop_assert_eq!(jkt.to_string().len(), 43);
    }
}

// R-PRF-21, R-TOK-01, R-TOK-02, R-TOK-03: order, white space, escapes and further members do not enter the thumbprint.
#[test]
fn one_key_has_one_thumbprint() {
    for alg in Alg::ALL {
        let key = SoftwareKey::generate(alg).unwrap();
        let canonical = key.public_jwk().to_json();
        let jwk = PublicJwk::from_json(canonical.as_bytes()).unwrap();
        assert_eq!((jwk.to_json(), jwk.thumbprint()), (canonical.clone(), key.thumbprint()), "{alg}");
        let mut members: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&canonical).unwrap();
        let further = json!({"kid": "k", "use": "sig", "ext": true, "x5t": "y", "unknown": [1, {"n": 2}]});
        members.extend(further.as_object().unwrap().clone());
        let mut written: Vec<String> = members
            .iter()
            .map(|(name, value)| format!(" \"\\u{:04x}{}\" :\n\t{value} ", name.as_bytes()[0], &name[1..]))
            .collect();
        for _ in 0..written.len() {
            written.rotate_left(1);
            let text = format!("{{{}}}", written.join(","));
            let again = PublicJwk::from_json(text.as_bytes()).unwrap();
            assert_eq!((again.thumbprint(), again.to_json()), (key.thumbprint(), canonical.clone()), "{text}");
        }
    }
}
