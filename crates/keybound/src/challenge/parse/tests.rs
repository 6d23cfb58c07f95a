use http::HeaderValue;
use proptest::prelude::*;
use serde_json::Value;

use super::*;
use crate::challenge::{Challenges, Realm, ResourceAnswer, Scheme};
use crate::refusal::Reason;

const CHALLENGES: &str = include_str!("../../../../../vectors/spec/www-authenticate.json");
const NONCES: &str = include_str!("../../../../../vectors/spec/nonce.json");

fn vectors(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn headers(lines: &[&'static str]) -> HeaderMap {
    lines.iter().map(|line| (WWW_AUTHENTICATE, HeaderValue::from_static(line))).fold(
        HeaderMap::new(),
        |mut headers, (name, value)| {
            headers.append(name, value);
            headers
        },
    )
}

// R-CLI-14, R-CLI-15
#[test]
fn reads_what_the_specifications_show() {
    let vectors = vectors(CHALLENGES);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let lines = case["field_lines"].as_array().unwrap().iter().map(|line| line.as_str().unwrap());
        let found = parse_challenges(lines);
        let expected = case["challenges"].as_array().unwrap();
        assert_eq!(found.len(), expected.len(), "{}", case["id"]);
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.is(expected["scheme"].as_str().unwrap()), "{}", case["id"]);
            assert_eq!(found.token68(), expected.get("token68").and_then(Value::as_str), "{}", case["id"]);
            let params = expected["params"].as_object().unwrap();
            assert_eq!(found.params().count(), params.len(), "{}", case["id"]);
            for (name, value) in params {
                assert_eq!(found.param(name), value.as_str(), "{} {name}", case["id"]);
            }
        }
    }
}

// R-NONCE-03
#[test]
fn reads_the_nonces_the_specification_shows() {
    let vectors = vectors(NONCES);
    let field = |case: &Value| HeaderValue::from_bytes(case["nonce"].as_str().unwrap().as_bytes());
    for case in vectors["valid"].as_array().unwrap() {
        let headers = HeaderMap::from_iter([(DPOP_NONCE.clone(), field(case).unwrap())]);
        let NonceField::One(nonce) = nonce_of(&headers) else { panic!("{case}") };
        assert_eq!(nonce.as_str(), case["nonce"].as_str().unwrap());
    }
    for case in vectors["invalid"].as_array().unwrap() {
        assert_eq!(Nonce::parse(case["nonce"].as_str().unwrap()), None, "{case}");
        // What is no field value at all never gets so far.
        if let Ok(field) = field(case) {
            assert_eq!(nonce_of(&HeaderMap::from_iter([(DPOP_NONCE.clone(), field)])), NonceField::Malformed, "{case}");
        }
    }
    for (challenge, status) in [("as_challenge", 400), ("rs_challenge", 401)] {
        assert_eq!(vectors[challenge]["status"], status);
        let nonce = vectors[challenge]["headers"]["DPoP-Nonce"].as_str().unwrap();
        let headers = HeaderMap::from_iter([(DPOP_NONCE.clone(), HeaderValue::from_str(nonce).unwrap())]);
        assert!(matches!(nonce_of(&headers), NonceField::One(found) if found.as_str() == nonce));
    }
    let line = vectors["rs_challenge"]["headers"]["WWW-Authenticate"].as_str().unwrap();
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_str(line).unwrap())]);
    assert_eq!(DpopChallenge::find(&headers).unwrap().error(), Some(ErrorCode::UseDpopNonce));
}

#[test]
fn a_nonce_that_is_too_long_is_malformed() {
    let long = "n".repeat(crate::nonce::MAX_NONCE + 1);
    let headers = HeaderMap::from_iter([(DPOP_NONCE.clone(), HeaderValue::from_str(&long).unwrap())]);
    assert_eq!(nonce_of(&headers), NonceField::Malformed);
}

#[test]
fn what_is_outside_the_grammar_gives_nothing_of_its_line() {
    for line in [
        "=x",
        "a=b",
        "DPoP algs=\"ES256",
        "DPoP algs=\"ES256\\",
        "DPoP algs=\"ES256\" error=x",
        "DPoP algs==x",
        "DPoP algs=\"a\"\"b\"",
        "DPoP, \"x\"",
        "DPoP\talgs=x",
        "DPoP;algs=x",
        "DPoP algs=x;y",
        "DPoP a=\"\u{1}\"",
        "DPoP a=\"\\\u{7f}\"",
        "Negotiate YII=, realm=x",
        "DPoP a=1, A=2",
        "DPoP a=ü",
        "Ü a=b",
        "DPoP(x)",
        "DPoP a=b c=d",
        "Bearer, DPoP a==b",
    ] {
        assert!(parse_line(line).is_err(), "{line}");
        let others = parse_challenges([line, "DPoP algs=\"ES256\""]);
        assert_eq!(others.len(), 1, "{line}");
    }
}

#[test]
fn what_the_grammar_tolerates_is_read() {
    for (line, schemes) in [
        ("", vec![]),
        (" ,\t, ", vec![]),
        (",DPoP,,Bearer,", vec!["DPoP", "Bearer"]),
        ("DPoP   algs\t=\t\"ES256\"", vec!["DPoP"]),
        ("Bearer ,, realm=x ,DPoP a=\"\"", vec!["Bearer", "DPoP"]),
        ("Bearer realm=\"ü \\ü \\\\ \t,\", DPoP", vec!["Bearer", "DPoP"]),
        ("Bearer abc", vec!["Bearer"]),
        ("Negotiate a+/=== , DPoP", vec!["Negotiate", "DPoP"]),
    ] {
        let found = parse_line(line).unwrap();
        assert_eq!(found.iter().map(Challenge::scheme).collect::<Vec<_>>(), schemes, "{line}");
    }
    assert_eq!(parse_line("DPoP a=\"\"").unwrap()[0].param("A"), Some(""));
}

#[test]
fn size_and_number_are_bounded() {
    let long = format!("DPoP a=\"{}\"", "x".repeat(MAX_LINE));
    let many = "A,".repeat(MAX_CHALLENGES + 1);
    let params: Vec<_> = (0..=MAX_PARAMS).map(|number| format!("p{number}=1")).collect();
    for line in [long, many, format!("DPoP {}", params.join(","))] {
        assert!(parse_line(&line).is_err());
    }
    assert_eq!(parse_line(&"A,".repeat(MAX_CHALLENGES)).unwrap().len(), MAX_CHALLENGES);
    assert_eq!(parse_challenges(["A"; MAX_LINES + 1]).len(), MAX_LINES);
}

#[test]
fn the_dpop_challenge_is_found_wherever_it_stands() {
    for lines in [
        &["dpop error=use_dpop_nonce"][..],
        &["Bearer", "Basic realm=\"a, b\", DPOP error=\"use_dpop_nonce\""],
        &["Bearer realm=\"broken", "DPoP error=\"use_dpop_nonce\""],
        &["DPoP algs=\"ES256\"", "DPoP error=\"use_dpop_nonce\""],
    ] {
        let challenge = DpopChallenge::find(&headers(lines)).unwrap();
        assert_eq!(challenge.error(), Some(ErrorCode::UseDpopNonce), "{lines:?}");
    }
    // R-CLI-15
    for lines in [
        &[][..],
        &["Bearer realm=\"x, DPoP error=use_dpop_nonce\""],
        &["Bearer realm=\"\\\", DPoP error=use_dpop_nonce, x=\\\"\""],
        &["Bearer realm=\"open, DPoP error=use_dpop_nonce"],
        &["XDPoP error=use_dpop_nonce"],
    ] {
        assert_eq!(DpopChallenge::find(&headers(lines)), None, "{lines:?}");
    }
}

#[test]
fn all_that_a_dpop_challenge_says() {
    let line = "DPoP error=\"shrug\", error_description=\"why\", algs=\"ES256 HS256 none Ed25519\", scope=\"a b\", \
                resource_metadata=\"https://x.example/m\", other=1";
    let challenge = DpopChallenge::find(&headers(&[line])).unwrap();
    assert_eq!((challenge.error(), challenge.error_text()), (None, Some("shrug")));
    assert_eq!(challenge.error_description(), Some("why"));
    assert_eq!(challenge.algs(), Some([Alg::Es256, Alg::Ed25519].into_iter().collect()));
    assert_eq!(challenge.scope(), Some("a b"));
    assert_eq!(challenge.resource_metadata(), Some("https://x.example/m"));
    assert_eq!(challenge.challenge().param("other"), Some("1"));
}

#[test]
fn octets_outside_utf8_spoil_no_challenge() {
    let value = HeaderValue::from_bytes(b"Bearer realm=\"caf\xe9\", DPoP error=\"invalid_token\"").unwrap();
    let headers = HeaderMap::from_iter([(WWW_AUTHENTICATE, value)]);
    assert_eq!(DpopChallenge::find(&headers).unwrap().error(), Some(ErrorCode::InvalidToken));
}

proptest! {
    #[test]
    fn no_line_panics(line in any::<String>()) {
        let _ = parse_line(&line);
    }

    #[test]
    fn no_line_of_likely_characters_panics(line in "[DPoPa=\", \\\\\t;é\u{7f}]{0,60}") {
        let _ = parse_line(&line);
    }

    // R-ERR-01: the realm comes back as it was set, quotes and backslashes included.
    #[test]
    fn what_is_written_reads_back(realm in "[ -~]{0,40}", scope in "[!#-\\[\\]-~]{1,9}( [!#-\\[\\]-~]{1,9}){0,3}") {
        let challenges = Challenges::dpop(AlgSet::ALL).unwrap().and_bearer().realm(Realm::new(&realm).unwrap());
        let challenges = challenges.scope(&scope).unwrap();
        let mut headers = HeaderMap::new();
        ResourceAnswer::new(&Reason::TokenExpired.into(), &challenges, Scheme::Dpop, None).apply(&mut headers);
        let challenge = DpopChallenge::find(&headers).unwrap();
        prop_assert_eq!(challenge.challenge().param("realm"), Some(&*realm));
        prop_assert_eq!(challenge.scope(), Some(&*scope));
        prop_assert_eq!(challenge.algs(), Some(AlgSet::ALL));
        prop_assert_eq!(challenge.error(), Some(ErrorCode::InvalidToken));
        // One field line for all challenges means the same.
        let joined: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().map(|line| line.to_str().unwrap()).collect();
        prop_assert_eq!(parse_challenges([&*joined.join(", ")]), parse_challenges(joined));
    }
}
