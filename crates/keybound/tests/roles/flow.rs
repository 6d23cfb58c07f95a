//! The whole flow, and answers that get lost.

use keybound::authorization_server::GrantBinding;
use keybound::crypto::Alg;
use keybound::replay::memory::MemoryLimits;
use keybound::verify::NoncePolicy;
use serde_json::Value;

use super::cast::{Client, ORDERS, Resource, Settings, at, claim};
use super::issuer::{Issuer, cast};

// R-CLI-07, R-CLI-09, R-AS-01, R-AS-03, R-RS-04, R-RS-07, R-TOK-01, R-TOK-05: from the key to the order, with every algorithm.
#[test]
fn from_a_key_to_an_order() {
    for alg in Alg::ALL {
        let issuer = Issuer::new(Settings::new(NoncePolicy::Offer));
        let resource = Resource::new(Settings::new(NoncePolicy::Offer), &issuer.keys());
        let mut client = Client::new(alg);
        let trip = client.obtain(&issuer, "code", at(0));
        assert_eq!(trip.codes(), ["admit"], "{alg}");
        let body: Value = serde_json::from_str(&trip.last().body).unwrap();
        assert_eq!(body["token_type"], "DPoP");
        for second in 0..3 {
            let trip = client.order(&resource, at(second));
            assert_eq!((trip.codes(), trip.verdict.as_str()), (vec!["admit"], "Done"), "{alg}");
        }
        assert_eq!(resource.store.entries(), 3);
    }
}

// R-AS-03, R-AS-04: type of answer and content of the token agree, bound or not.
#[test]
fn the_answer_says_what_the_token_is() {
    let (client, issuer, resource) = cast(NoncePolicy::Offer);
    issuer.codes.borrow_mut().insert("free", GrantBinding::Free);
    let (parts, ()) = http::Request::post("/token").body(()).unwrap().into_parts();
    let answer = issuer.answer(&parts, "free", at(0));
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    assert_eq!(body["token_type"], "Bearer");
    let mut unbound = client.get(ORDERS, at(0));
    let token = body["access_token"].as_str().unwrap();
    // R-RS-07: without a key in it, it is worth nothing under the DPoP scheme, whatever the proof.
    unbound.headers.insert("authorization", format!("DPoP {token}").parse().unwrap());
    assert_eq!(resource.answer(&unbound, at(0)).code, "ath.mismatch");
    let mut thief = Client::new(Alg::Es256);
    thief.keep(token);
    assert_eq!(resource.answer(&thief.get(ORDERS, at(0)), at(0)).code, "token.unbound");
}

// R-CLI-01, R-NONCE-08: the request is sent again with a new proof and the nonce it had; the first one was admitted too.
#[test]
fn a_lost_answer_costs_nothing() {
    for policy in [NoncePolicy::Off, NoncePolicy::Offer, NoncePolicy::Require] {
        let (client, _, resource) = cast(policy);
        client.order(&resource, at(0));
        let lost = client.get(ORDERS, at(1));
        assert_eq!(resource.answer(&lost, at(1)).code, "admit", "{policy:?}");
        let again = client.order(&resource, at(2));
        assert_eq!(again.codes(), ["admit"], "{policy:?}");
        // The very octets that got lost, sent again by whoever held on to them.
        let repeated = resource.answer(&lost, at(3));
        assert_eq!((repeated.status.as_u16(), repeated.code), (401, "replay.seen"), "{policy:?}");
        assert_eq!(repeated.error().as_deref(), Some("invalid_dpop_proof"));
    }
}

// R-CLI-01, R-NONCE-19: a lost challenge; the retry is a new attempt, which is challenged once and passes.
#[test]
fn a_lost_challenge_costs_one_more_trip() {
    let (client, _, resource) = cast(NoncePolicy::Require);
    let lost = client.get(ORDERS, at(0));
    assert_eq!(resource.answer(&lost, at(0)).code, "nonce.missing");
    let trip = client.order(&resource, at(1));
    assert_eq!(trip.codes(), ["nonce.missing", "admit"]);
}

// R-NONCE-16, R-NONCE-17, R-NONCE-18, R-CLI-03, R-CLI-27: what each proof says of the server it is for.
#[test]
fn what_the_proofs_carry() {
    let (client, issuer, resource) = cast(NoncePolicy::Require);
    client.order(&resource, at(0));
    let (order, token) = (client.get(ORDERS, at(1)), client.post(&issuer, at(1)));
    for name in ["jti", "htm", "htu", "iat", "nonce"] {
        assert!(claim(&order, name).is_some() && claim(&token, name).is_some(), "{name}");
    }
    assert_eq!((claim(&order, "ath").is_some(), claim(&token, "ath")), (true, None));
    assert_ne!(claim(&order, "nonce"), claim(&token, "nonce"));
    assert_ne!(claim(&order, "jti"), claim(&token, "jti"));
    assert!(token.headers.get("authorization").is_none());
}

// R-RS-20, R-ERR-13, R-SEC-06: neither a missing scope nor a wrong key leaves a trace in the store.
#[test]
fn only_what_is_admitted_is_remembered() {
    let (client, issuer, mut resource) = cast(NoncePolicy::Offer);
    resource.scope.push("orders:write");
    let trip = client.order(&resource, at(0));
    assert_eq!((trip.last().status.as_u16(), trip.verdict.as_str()), (403, "ScopeInsufficient"));

    // R-PRF-39, R-ERR-11: the thief has the token and a key of their own.
    let mut thief = Client::new(Alg::Es256);
    let token = client.get(ORDERS, at(0)).headers["authorization"].to_str().unwrap()[5..].to_owned();
    thief.keep(&token);
    let stolen = thief.order(&resource, at(0));
    assert_eq!((stolen.codes(), stolen.last().error().as_deref()), (vec!["key.mismatch"], Some("invalid_token")));
    // R-SEC-10: a good proof alone.
    let mut alone = thief.get(ORDERS, at(0));
    alone.headers.remove("authorization");
    assert_eq!(resource.answer(&alone, at(0)).code, "credentials.missing");
    // R-RS-06: as Bearer, with and without the proof.
    let mut bearer = client.get(ORDERS, at(0));
    bearer.headers.insert("authorization", format!("bEARER {token}").parse().unwrap());
    assert_eq!(resource.answer(&bearer, at(0)).code, "token.downgrade");
    bearer.headers.remove("dpop");
    assert_eq!(resource.answer(&bearer, at(0)).code, "token.downgrade");
    // R-SEC-09: a proof for another token of the same key.
    let mut twice = Client::new(Alg::Es256);
    twice.obtain(&issuer, "second", at(0));
    let mut other = twice.get(ORDERS, at(0));
    twice.obtain(&issuer, "third", at(1));
    other.headers.insert("authorization", twice.get(ORDERS, at(0)).headers["authorization"].clone());
    assert_eq!(resource.answer(&other, at(0)).code, "ath.mismatch");

    assert_eq!(resource.store.entries(), 0);
    resource.scope.pop();
    assert_eq!(client.order(&resource, at(0)).codes(), ["admit"]);
}

// R-SEC-05, R-ERR-21: the store has no room: 503 without a challenge, and what it knows it still knows.
#[test]
fn a_full_store_refuses_and_forgets_nothing() {
    use keybound::jwk::Thumbprint;
    use keybound::refusal::Fault;
    use keybound::replay::ReplayEntry;

    let mut settings = Settings::new(NoncePolicy::Offer);
    settings.limits = MemoryLimits::new().bytes(1 << 20);
    let (client, _, resource) = super::issuer::cast_with(settings);
    let used = client.get(ORDERS, at(0));
    assert_eq!(resource.answer(&used, at(0)).code, "admit");
    for number in 0_u64.. {
        let mut jkt = [0; 32];
        jkt[..8].copy_from_slice(&number.to_be_bytes());
        let entry = ReplayEntry::new(Thumbprint::from_bytes(jkt), "x", ORDERS, resource.store.epoch(), at(306));
        if resource.store.record_now(&entry, at(0)) == Err(Fault::ReplayFull) {
            break;
        }
    }
    // Shards fill one by one: until nothing new fits anywhere.
    let refused = (1..200).map(|_| client.order(&resource, at(1))).find(|trip| trip.codes() == ["replay.full"]);
    let refused = refused.expect("the shard of this key is full too");
    assert_eq!((refused.last().status.as_u16(), refused.verdict.as_str()), (503, "Done"));
    assert!(refused.last().headers.get("www-authenticate").is_none());
    assert!(refused.last().headers.contains_key("retry-after"));
    assert!(resource.store.bytes() <= 1 << 20);
    assert_eq!(resource.answer(&used, at(2)).code, "replay.seen");
    // What filled it has expired.
    assert_eq!(client.order(&resource, at(400)).last().code, "admit");
}
