//! What every reason there is looks like to the peer, at a resource and at a token endpoint.

use http::{HeaderMap, StatusCode};
use keybound::challenge::{
    Challenges, DpopChallenge, ErrorCode, Realm, ResourceAnswer, Scheme, TokenErrorAnswer, parse_challenges,
};
use keybound::crypto::AlgSet;
use keybound::refusal::{Denial, Fault, Outcome, Reason, Refusal};

const SCHEMES: [Scheme; 3] = [Scheme::Dpop, Scheme::Bearer, Scheme::None];

fn challenges() -> Challenges {
    Challenges::dpop(AlgSet::ALL).unwrap()
}

fn sent(answer: &ResourceAnswer) -> HeaderMap {
    let mut headers = HeaderMap::new();
    answer.apply(&mut headers);
    headers
}

/// Every answer of a resource, with both ways of serving schemes.
fn every_answer(mut look: impl FnMut(Reason, Scheme, &ResourceAnswer, &HeaderMap)) {
    for reason in Reason::ALL.iter().copied() {
        for challenges in [challenges(), challenges().and_bearer()] {
            for used in SCHEMES {
                let answer = ResourceAnswer::new(&reason.into(), &challenges, used, None);
                look(reason, used, &answer, &sent(&answer));
            }
        }
    }
}

// R-RS-31, R-ERR-10, R-ERR-14: whatever was wrong with a proof is 401 with a DPoP challenge that says so.
#[test]
fn every_failed_proof_is_401_with_a_dpop_challenge() {
    let mut looked = 0;
    every_answer(|reason, used, answer, headers| {
        let Outcome::Error(error @ (ErrorCode::InvalidDpopProof | ErrorCode::UseDpopNonce)) = reason.entry().outcome
        else {
            return;
        };
        assert_eq!(answer.status(), StatusCode::UNAUTHORIZED, "{reason} {used:?}");
        let challenge = DpopChallenge::find(headers).unwrap_or_else(|| panic!("{reason} {used:?}"));
        assert_eq!(challenge.error(), Some(error), "{reason} {used:?}");
        assert_eq!(challenge.algs(), Some(AlgSet::ALL), "{reason} {used:?}");
        looked += 1;
    });
    assert!(looked > 100, "{looked}");
}

// R-RS-32, R-RS-12: every 401 has a challenge; Proxy-Authenticate is never sent.
#[test]
fn every_401_has_a_challenge() {
    every_answer(|reason, used, answer, headers| {
        let challenged = DpopChallenge::find(headers).is_some();
        assert!(answer.status() != StatusCode::UNAUTHORIZED || challenged, "{reason} {used:?}");
        assert!(!headers.contains_key("proxy-authenticate"), "{reason} {used:?}");
    });
}

// R-ERR-03, R-MD-05: in the DPoP challenge as well as in that of Bearer.
#[test]
fn realm_scope_and_metadata_stand_in_both_challenges() {
    let address = "https://api.example.com/.well-known/oauth-protected-resource/orders";
    let challenges = challenges().and_bearer().realm(Realm::new("or\"ders").unwrap());
    let challenges = challenges.scope("orders:read orders:write").unwrap().resource_metadata(address).unwrap();
    for reason in [Reason::CredentialsMissing, Reason::TokenExpired, Reason::ScopeInsufficient, Reason::ReplaySeen] {
        let answer = ResourceAnswer::new(&reason.into(), &challenges, Scheme::Dpop, None);
        let headers = sent(&answer);
        let lines = headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap());
        let parsed = parse_challenges(lines);
        assert_eq!(parsed.iter().map(|challenge| challenge.scheme()).collect::<Vec<_>>(), ["DPoP", "Bearer"]);
        for challenge in parsed {
            assert_eq!(challenge.param("realm"), Some("or\"ders"), "{reason}");
            assert_eq!(challenge.param("scope"), Some("orders:read orders:write"), "{reason}");
            assert_eq!(challenge.param("resource_metadata"), Some(address), "{reason}");
        }
    }
}

// R-MD-06: parameters nobody knows yet, before and after those that are known.
#[test]
fn unknown_parameters_of_a_challenge_are_ignored() {
    let mut headers = HeaderMap::new();
    let line = r#"DPoP future="a, b", algs="ES256 XX999", error="use_dpop_nonce", other=1"#;
    headers.insert("www-authenticate", line.parse().unwrap());
    let found = DpopChallenge::find(&headers).unwrap();
    assert_eq!(found.error(), Some(ErrorCode::UseDpopNonce));
    assert_eq!(found.algs().unwrap().to_string(), "ES256");
}

// R-SEC-15, R-ERR-18: the code is all that anybody is told; what was found stays in the log.
#[test]
fn no_answer_tells_more_than_its_code() {
    let detail = "detail-for-the-log";
    for reason in Reason::ALL.iter().copied() {
        let denial = Denial::from(Refusal::with_detail(reason, detail));
        for used in SCHEMES {
            let answer = ResourceAnswer::new(&denial, &challenges().and_bearer(), used, None);
            let told = format!("{:?}{}", sent(&answer), answer.body());
            assert!(!told.contains(detail), "{told}");
            assert!(!told.contains(reason.entry().meaning), "{told}");
        }
        let answer = TokenErrorAnswer::new(&denial, None);
        let mut headers = HeaderMap::new();
        answer.apply(&mut headers);
        let told = format!("{headers:?}{}", answer.body());
        assert!(told.contains(reason.code()) && !told.contains(detail), "{told}");
    }
    // One reason, and so one text, for every way in which a signature can be wrong.
    let signature = Reason::ALL.iter().filter(|reason| reason.code().starts_with("signature."));
    assert_eq!(signature.count(), 1);
}

// R-ERR-21: nothing that fails on our side looks like something the client did.
#[test]
fn every_fault_is_503_and_no_challenge() {
    for fault in Fault::ALL.iter().copied() {
        for used in SCHEMES {
            let answer = ResourceAnswer::new(&fault.into(), &challenges().and_bearer(), used, None);
            let headers = sent(&answer);
            assert_eq!((answer.status().as_u16(), answer.error()), (503, None), "{fault}");
            assert!(!headers.contains_key("www-authenticate") && headers.contains_key("retry-after"), "{fault}");
        }
        let answer = TokenErrorAnswer::new(&fault.into(), None);
        assert_eq!(answer.status().as_u16(), 503, "{fault}");
    }
}
