//! Captured proofs, sent again at any time, anywhere.

use core::time::Duration;

use keybound::crypto::Alg;
use keybound::nonce::NODE_SKEW;
use keybound::replay::memory::MemoryLimits;
use keybound::verify::NoncePolicy;

use super::cast::{Client, ORDERS, Settings, at};
use super::issuer::{cast, cast_with};

// R-PRF-40, R-SEC-03: second by second from the first use until long after; by iat from the past, of now, from the future.
#[test]
fn a_used_proof_is_never_used_again() {
    for policy in [NoncePolicy::Off, NoncePolicy::Offer, NoncePolicy::Require] {
        for ahead in [-300, -150, 0, 60] {
            let (mut client, _, resource) = cast(policy);
            client.order(&resource, at(0));
            client.ahead = ahead;
            let captured = client.get(ORDERS, at(0));
            assert_eq!(resource.answer(&captured, at(0)).code, "admit", "{policy:?} {ahead}");
            for second in 0..=800 {
                let answer = resource.answer(&captured, at(second));
                assert_ne!(answer.code, "admit", "{policy:?}, {ahead} s ahead, after {second} s");
                // Others go on meanwhile, so that buckets are dropped.
                if second % 40 == 0 {
                    let lasting = client.get(ORDERS, at(second));
                    resource.answer(&lasting, at(second));
                }
            }
        }
    }
}

// R-SEC-03: a proof that a nonce times is remembered for as long as its nonce could let it in, however old its iat.
#[test]
fn a_proof_timed_by_its_nonce_is_remembered_as_long() {
    for ahead in [-86_000, -3600, 3600, 86_000] {
        let (mut client, _, resource) = cast(NoncePolicy::Offer);
        client.order(&resource, at(0));
        client.ahead = ahead;
        let captured = client.get(ORDERS, at(0));
        assert_eq!(resource.answer(&captured, at(0)).code, "admit", "{ahead}");
        let until = 700.max(ahead + 700);
        for second in (0..=700).chain((700..until).step_by(97)).chain(until - 700..until) {
            assert_ne!(resource.answer(&captured, at(second)).code, "admit", "{ahead} s ahead, after {second} s");
        }
    }
}

// R-SEC-03: and not for much longer than that, or the store would fill with what nobody can use.
#[test]
fn a_proof_is_forgotten_once_nobody_can_use_it() {
    let (client, _, resource) = cast(NoncePolicy::Off);
    client.order(&resource, at(0));
    let last = at(300).plus(NODE_SKEW + Duration::from_secs(1));
    resource.store.sweep(last);
    assert_eq!(resource.store.entries(), 1);
    resource.store.sweep(last.plus(Duration::from_secs(16)));
    assert_eq!(resource.store.entries(), 0);
}

// R-SEC-04, R-PRF-40: the record is of key, jti and place; the same jti of another key is another proof.
#[test]
fn one_client_cannot_burn_anothers_jti() {
    let (client, issuer, resource) = cast(NoncePolicy::Off);
    let mut other = Client::new(Alg::Es256);
    other.obtain(&issuer, "other", at(-100));
    // Both count their jti from 1.
    let (one, two) = (client.get(ORDERS, at(0)), other.get(ORDERS, at(0)));
    assert_eq!(super::cast::claim(&one, "jti"), super::cast::claim(&two, "jti"));
    assert_eq!(resource.answer(&one, at(0)).code, "admit");
    assert_eq!(resource.answer(&two, at(0)).code, "admit");
    assert_eq!(resource.answer(&one, at(0)).code, "replay.seen");
    assert_eq!(resource.answer(&two, at(0)).code, "replay.seen");
}

// R-PRF-31, R-PRF-33, R-URI-06: a captured proof elsewhere, or with another method.
#[test]
fn a_captured_proof_fits_its_place_alone() {
    let (client, _, resource) = cast(NoncePolicy::Off);
    for (path, code) in
        [("/other", "htu.mismatch"), ("/orders/", "htu.mismatch"), ("//orders", "htu.mismatch"), ("/orders?x", "admit")]
    {
        let mut captured = client.get(ORDERS, at(0));
        captured.uri = path.parse().unwrap();
        assert_eq!(resource.answer(&captured, at(0)).code, code, "{path}");
    }
    let mut captured = client.get(ORDERS, at(0));
    captured.method = http::Method::DELETE;
    assert_eq!(resource.answer(&captured, at(0)).code, "htm.mismatch");
}

// A key has its share of the store, and no more (design of the store); others go on.
#[test]
fn a_key_over_its_quota_waits() {
    let mut settings = Settings::new(NoncePolicy::Offer);
    settings.limits = MemoryLimits::new().per_key(3);
    let (client, issuer, resource) = cast_with(settings);
    let first = client.get(ORDERS, at(0));
    assert_eq!(resource.answer(&first, at(0)).code, "admit");
    for _ in 0..2 {
        assert_eq!(client.order(&resource, at(0)).codes(), ["admit"]);
    }
    let over = client.order(&resource, at(0));
    assert_eq!((over.codes(), over.last().status.as_u16()), (vec!["replay.quota"], 429));
    assert_eq!(over.verdict, "Done");
    assert!(over.last().headers.contains_key("retry-after"));
    assert!(over.last().headers.get("www-authenticate").is_none());
    // What was used is still known.
    assert_eq!(resource.answer(&first, at(1)).code, "replay.seen");
    let mut other = Client::new(Alg::Ed25519);
    other.obtain(&issuer, "other", at(0));
    assert_eq!(other.order(&resource, at(1)).codes(), ["admit"]);
    assert_eq!(client.order(&resource, at(400)).last().code, "admit");
}

// R-PRF-01, R-PRF-02: two proofs, in two fields or folded into one.
#[test]
fn two_proofs_are_none() {
    let (client, _, resource) = cast(NoncePolicy::Off);
    let mut doubled = client.get(ORDERS, at(0));
    let (one, two) = (doubled.headers["dpop"].clone(), client.get(ORDERS, at(0)).headers["dpop"].clone());
    for second in [&one, &two] {
        doubled.headers.insert("dpop", one.clone());
        doubled.headers.append("dpop", second.clone());
        assert_eq!(resource.answer(&doubled, at(0)).code, "proof.repeated");
        let folded = format!("{}, {}", one.to_str().unwrap(), second.to_str().unwrap());
        doubled.headers.insert("dpop", folded.parse().unwrap());
        assert_eq!(resource.answer(&doubled, at(0)).code, "proof.repeated");
    }
}
