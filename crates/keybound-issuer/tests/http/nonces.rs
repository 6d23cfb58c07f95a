//! Nonces at the token endpoint: off, offered and demanded, what a demand leaves untouched, and that they end with the process.

use keybound::verify::NoncePolicy;

use crate::support::{Answer, MARK, Request, Server, Setup};

fn demanded(answer: &Answer, code: &str) -> String {
    assert_eq!((answer.status, answer.error()), (400, ("use_dpop_nonce".to_owned(), code.to_owned())));
    answer.field("dpop-nonce").expect("a nonce").to_owned()
}

fn with_nonce(server: &Server, nonce: &str) -> Answer {
    server.token(&Request::of_basic().dpop(&server.proof().claim("nonce", nonce)))
}

// R-NONCE-22; the barrier that a start raises where no nonces are used fell a day later.
#[test]
fn off_gives_none_and_ignores_what_comes() {
    let server = Setup::new().nonces(NoncePolicy::Off).start();
    for answer in [with_nonce(&server, MARK), server.token(&Request::of_basic().dpop(&server.proof()))] {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.field("dpop-nonce"), None);
    }
}

// R-NONCE-10, R-NONCE-12
#[test]
fn offer_gives_one_and_demands_none_inside_the_window() {
    let server = Setup::new().start();
    let first = server.token(&Request::of_basic().dpop(&server.proof()));
    assert_eq!(first.status, 200);
    let nonce = first.field("dpop-nonce").expect("a nonce on the first success").to_owned();

    // It is good for its life, and a new one comes when it is past half of it.
    for (seconds, renewed) in [(0, false), (140, false), (20, true)] {
        server.turn(seconds);
        let answer = with_nonce(&server, &nonce);
        assert_eq!((answer.status, answer.field("dpop-nonce").is_some()), (200, renewed), "after {seconds} more");
    }
    server.turn(400);
    demanded(&with_nonce(&server, &nonce), "nonce.stale");

    // Outside the window it is the way out, for a clock that is wrong by hours.
    for iat in [server.now() - 301, server.now() + 61, server.now() - 7200] {
        let late = server.proof().claim("iat", iat);
        let answer = server.token(&Request::of_basic().dpop(&late));
        assert_eq!(answer.error().0, "use_dpop_nonce", "{answer:?}");
        let nonce = answer.field("dpop-nonce").unwrap();
        let retry = server.proof().claim("iat", iat).claim("nonce", nonce);
        assert_eq!(server.token(&Request::of_basic().dpop(&retry)).status, 200);
    }
}

// R-NONCE-01, R-NONCE-05, R-NONCE-06, R-NONCE-07, R-NONCE-13, R-ERR-16
#[test]
fn require_demands_one_of_ours_each_time() {
    let server = Setup::new().nonces(NoncePolicy::Require).start();
    let nonce = demanded(&server.token(&Request::of_basic().dpop(&server.proof())), "nonce.missing");
    for _ in 0..2 {
        assert_eq!(with_nonce(&server, &nonce).status, 200);
    }
    for foreign in [MARK, "", &nonce[1..], &format!("{nonce}x"), &nonce.to_uppercase()] {
        demanded(&with_nonce(&server, foreign), "nonce.unknown");
    }
    // Of another issuer, which even has the same key.
    let other = Setup::new().nonces(NoncePolicy::Require).issuer("https://other.example.com").start();
    let there = other.proof().claim("htu", "https://other.example.com/token");
    let theirs = other.token(&Request::of_basic().only_field("Host: other.example.com").dpop(&there));
    demanded(&with_nonce(&server, &demanded(&theirs, "nonce.missing")), "nonce.unknown");
    server.turn(400);
    demanded(&with_nonce(&server, &nonce), "nonce.stale");
}

// R-NONCE-15: no stranger gets a nonce for a bad proof.
#[test]
fn a_nonce_is_given_for_a_signed_proof_only() {
    let server = Setup::new().nonces(NoncePolicy::Require).start();
    let unsigned = server.proof().header("alg", "none").text();
    let other_method = server.proof().claim("htm", "GET").text();
    for field in ["zebra7", &unsigned, &other_method] {
        let answer = server.token(&Request::of_basic().field(format!("DPoP: {field}")));
        assert_eq!(answer.error().0, "invalid_dpop_proof", "{field}");
        assert_eq!(answer.field("dpop-nonce"), None);
    }
}

/// Where DPoP is optional for the client, demanding nonces does not demand proofs.
#[test]
fn no_proof_no_nonce() {
    let server = Setup::new().nonces(NoncePolicy::Require).start();
    let answer = server.token(&Request::of_basic());
    assert_eq!((answer.status, answer.field("dpop-nonce")), (200, None));
}

// R-AS-22: the same assertion is good for the retry. It is for one token all the same.
#[test]
fn a_demand_consumes_nothing() {
    let server = Setup::new().nonces(NoncePolicy::Require).start();
    let request = Request::token().assertion(&server.assertion().text());
    let nonce = demanded(&server.token(&request.clone().dpop(&server.proof())), "nonce.missing");
    let proof = server.proof().claim("nonce", nonce.as_str());
    assert_eq!(server.token(&request.clone().dpop(&proof)).status, 200);
    let again = server.proof().claim("nonce", nonce);
    assert_eq!(server.token(&request.dpop(&again)).error().0, "invalid_client");
}

// R-AS-22: the very proof, too, if it was refused for its nonce's sake only because nobody knew the time.
#[test]
fn a_proof_is_not_spent_by_a_refusal() {
    let server = Setup::new().start();
    let nonce =
        demanded(&server.token(&Request::of_basic().dpop(&server.proof().claim("nonce", MARK))), "nonce.unknown");
    let proof = server.proof().claim("nonce", nonce);
    assert_eq!(server.token(&Request::of_basic().basic("basic", "x").dpop(&proof)).status, 400);
    assert_eq!(server.token(&Request::of_basic().dpop(&proof)).status, 200);
}

/// A nonce of the process before is not one of this process, which shares its key.
#[test]
fn nonces_end_with_the_process() {
    let before = Setup::new().start();
    let nonce = before.token(&Request::of_basic().dpop(&before.proof())).field("dpop-nonce").unwrap().to_owned();
    let after = Setup::new().just_started().start();
    let answer = with_nonce(&after, &nonce);
    assert_eq!(answer.error().0, "use_dpop_nonce", "{answer:?}");
}
