use super::*;
use crate::challenge::parse_challenges;
use crate::refusal::{Fault, Reason};

fn dpop_only() -> Challenges {
    Challenges::dpop([crate::crypto::Alg::Es256].into_iter().collect()).unwrap()
}

fn both() -> Challenges {
    dpop_only().and_bearer()
}

fn lines(answer: &ResourceAnswer) -> Vec<&str> {
    answer.challenges().iter().map(|line| line.to_str().unwrap()).collect()
}

#[test]
fn the_error_stands_in_the_challenge_of_the_scheme_used() {
    let plain = r#"DPoP algs="ES256""#;
    let unbound = r#"DPoP error="invalid_token", error_description="token.unbound", algs="ES256""#;
    let downgrade = r#"Bearer error="invalid_token", error_description="token.downgrade""#;
    let downgrade_dpop = r#"DPoP error="invalid_token", error_description="token.downgrade", algs="ES256""#;
    let repeated = r#"DPoP error="invalid_request", error_description="credentials.repeated", algs="ES256""#;
    let repeated_bearer = r#"Bearer error="invalid_request", error_description="credentials.repeated""#;
    let replay = r#"DPoP error="invalid_dpop_proof", error_description="replay.seen", algs="ES256""#;
    let nonce = r#"DPoP error="use_dpop_nonce", error_description="nonce.missing", algs="ES256""#;
    let scope = r#"DPoP error="insufficient_scope", error_description="scope.insufficient", algs="ES256""#;
    for (rows, reason, challenges, used, status, expected) in [
        (
            "R-ERR-05 R-SEC-10",
            Reason::CredentialsMissing,
            dpop_only(),
            Scheme::None,
            401,
            vec![plain],
        ),
        (
            "R-ERR-05",
            Reason::CredentialsMissing,
            both(),
            Scheme::None,
            401,
            vec![plain, "Bearer"],
        ),
        (
            "R-ERR-04 R-ERR-11",
            Reason::TokenUnbound,
            dpop_only(),
            Scheme::Dpop,
            401,
            vec![unbound],
        ),
        (
            "R-ERR-06",
            Reason::TokenUnbound,
            both(),
            Scheme::Dpop,
            401,
            vec![unbound, "Bearer"],
        ),
        (
            "R-ERR-07 R-RS-06",
            Reason::TokenDowngrade,
            both(),
            Scheme::Bearer,
            401,
            vec![plain, downgrade],
        ),
        (
            "R-ERR-07 R-RS-06",
            Reason::TokenDowngrade,
            dpop_only(),
            Scheme::Bearer,
            401,
            vec![downgrade_dpop],
        ),
        (
            "R-ERR-08",
            Reason::CredentialsRepeated,
            both(),
            Scheme::None,
            400,
            vec![repeated, repeated_bearer],
        ),
        (
            "R-ERR-08",
            Reason::CredentialsRepeated,
            dpop_only(),
            Scheme::Dpop,
            400,
            vec![repeated],
        ),
        (
            "R-ERR-10",
            Reason::ReplaySeen,
            both(),
            Scheme::Dpop,
            401,
            vec![replay, "Bearer"],
        ),
        (
            "R-ERR-14",
            Reason::NonceMissing,
            dpop_only(),
            Scheme::Dpop,
            401,
            vec![nonce],
        ),
        (
            "R-ERR-13",
            Reason::ScopeInsufficient,
            dpop_only(),
            Scheme::Dpop,
            403,
            vec![scope],
        ),
        ("plain status", Reason::PathAmbiguous, both(), Scheme::Dpop, 400, vec![]),
        ("6585 4", Reason::ReplayQuota, both(), Scheme::Dpop, 429, vec![]),
    ] {
        let answer = ResourceAnswer::new(&reason.into(), &challenges, used, None);
        assert_eq!(answer.status(), status, "{rows} {reason}");
        assert_eq!(lines(&answer), expected, "{rows} {reason}");
    }
}

// R-ERR-21: what fails on our side is no challenge, and says when to come back.
#[test]
fn a_fault_is_503_without_a_challenge() {
    for fault in Fault::ALL {
        let answer = ResourceAnswer::new(&(*fault).into(), &both(), Scheme::Dpop, None);
        let mut headers = HeaderMap::new();
        answer.apply(&mut headers);
        assert_eq!(answer.status(), 503);
        assert!(!headers.contains_key(WWW_AUTHENTICATE));
        assert_eq!(headers[RETRY_AFTER_FIELD], "5");
        assert_eq!(answer.body(), format!(r#"{{"reason":"{}"}}"#, fault.code()));
    }
}

// R-NONCE-02: one DPoP-Nonce, whatever was there before; none of ours unless given.
#[test]
fn one_nonce_and_only_if_given() {
    let nonce = Nonce::parse("n-1").unwrap();
    let mut headers = HeaderMap::new();
    headers.append(&DPOP_NONCE, HeaderValue::from_static("a"));
    headers.append(&DPOP_NONCE, HeaderValue::from_static("b"));
    let answer = ResourceAnswer::new(&Reason::NonceStale.into(), &both(), Scheme::Dpop, Some(&nonce));
    answer.apply(&mut headers);
    assert_eq!(headers.get_all(&DPOP_NONCE).iter().collect::<Vec<_>>(), ["n-1"]);
    assert_eq!(headers[CACHE_CONTROL], "no-store");

    let mut headers = HeaderMap::new();
    ResourceAnswer::new(&Reason::HtuMismatch.into(), &both(), Scheme::Dpop, None).apply(&mut headers);
    assert!(!headers.contains_key(&DPOP_NONCE));
    assert_eq!(headers.get_all(WWW_AUTHENTICATE).iter().count(), 2);
    assert!(!headers.contains_key(RETRY_AFTER_FIELD));
}

#[test]
fn challenges_of_somebody_else_are_replaced() {
    let stale = HeaderMap::from_iter([(WWW_AUTHENTICATE, HeaderValue::from_static("Basic"))]);
    for (denial, lines) in [
        (Denial::from(Reason::HtuMismatch), 1),
        (Denial::from(Fault::ReplayFull), 0),
    ] {
        let mut headers = stale.clone();
        ResourceAnswer::new(&denial, &dpop_only(), Scheme::Dpop, None).apply(&mut headers);
        let found: Vec<_> = headers.get_all(WWW_AUTHENTICATE).iter().collect();
        assert_eq!(found.len(), lines, "{denial}");
        assert!(!found.contains(&&stale[WWW_AUTHENTICATE]), "{denial}");
    }
}

#[test]
fn the_callers_wait_wins() {
    let mut headers = HeaderMap::new();
    let answer = ResourceAnswer::new(&Reason::ReplayQuota.into(), &both(), Scheme::Dpop, None).retry_after(37);
    answer.apply(&mut headers);
    assert_eq!(headers[RETRY_AFTER_FIELD], "37");
}

// R-ERR-18: words for the log stay in the log.
#[test]
fn the_detail_is_not_told() {
    let refusal = Refusal::with_detail(Reason::HtuMismatch, "got https://secret.example/\"x");
    let answer = ResourceAnswer::new(&refusal.into(), &both(), Scheme::Dpop, None);
    assert!(!format!("{answer:?}{}", answer.body()).contains("secret"));
}

// R-ERR-01, R-ERR-02, R-ERR-18: every answer there is parses back, names each parameter once and keeps to the
// characters allowed.
#[test]
fn every_answer_follows_the_grammar() {
    let rich = both()
        .realm(Realm::new(r#"a "b" \ c"#).unwrap())
        .scope("read write:all")
        .unwrap()
        .resource_metadata("https://api.example.com/.well-known/oauth-protected-resource")
        .unwrap();
    for (reason, used) in Reason::ALL
        .iter()
        .flat_map(|reason| [Scheme::Dpop, Scheme::Bearer, Scheme::None].map(|used| (*reason, used)))
    {
        let answer = ResourceAnswer::new(&reason.into(), &rich, used, None);
        let challenges = parse_challenges(lines(&answer));
        assert_eq!(challenges.len(), answer.challenges().len(), "{reason}");
        for challenge in &challenges {
            assert_eq!(challenge.param("realm"), Some(r#"a "b" \ c"#));
            assert_eq!(challenge.param("scope"), Some("read write:all"));
            assert!(challenge.param("resource_metadata").is_some());
            assert_eq!(challenge.param("algs"), challenge.is("dpop").then_some("ES256"));
            let description = challenge.param("error_description");
            assert!(description.is_none_or(|description| description == reason.code()));
            assert_eq!(challenge.param("error").is_some(), description.is_some());
        }
        let body: serde_json::Value = serde_json::from_str(&answer.body()).unwrap();
        assert_eq!(body["reason"], reason.code());
        assert_eq!(
            body.get("error").and_then(|error| error.as_str()),
            answer.error().map(ErrorCode::as_str)
        );
    }
}

#[test]
fn settings_that_would_break_the_grammar_are_refused() {
    assert_eq!(
        Challenges::dpop([].into_iter().collect()),
        Err(ChallengeError::AlgsEmpty)
    );
    for realm in ["a\r\nb", "tab\t", "é", "\u{7f}", "\0"] {
        assert_eq!(Realm::new(realm), Err(ChallengeError::Realm), "{realm:?}");
    }
    for scope in ["", " ", "a  b", " a", "a ", "a\"b", "a\\b", "ä", "a\tb"] {
        assert_eq!(dpop_only().scope(scope), Err(ChallengeError::Scope), "{scope:?}");
    }
    for address in [
        "",
        "https://",
        "ftp://x/",
        "https://x/\"",
        "https://x/ y",
        "/relative",
        "https://x/\r\n",
    ] {
        assert_eq!(
            dpop_only().resource_metadata(address),
            Err(ChallengeError::ResourceMetadata),
            "{address:?}"
        );
    }
}
