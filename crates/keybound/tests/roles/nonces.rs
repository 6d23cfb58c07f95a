//! Nonces over time: the three policies, aging, keys that are turned.

use core::time::Duration;

use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::verify::NoncePolicy;

use super::cast::{ORDERS, Settings, at, claim};
use super::issuer::{cast, cast_with};

// R-NONCE-10, R-NONCE-22: off neither gives nor asks nor looks at one.
#[test]
fn off_has_nothing_to_do_with_nonces() {
    let (client, _, resource) = cast(NoncePolicy::Off);
    let trip = client.order(&resource, at(0));
    assert_eq!((trip.codes(), trip.last().nonces()), (vec!["admit"], 0));
    let mut foreign = http::HeaderMap::new();
    foreign.insert("dpop-nonce", "of-another-server".parse().unwrap());
    client.servers.learn("https://api.example.com", keybound::nonce::Role::ResourceServer, &foreign, at(0));
    let trip = client.order(&resource, at(1));
    assert_eq!((trip.codes(), trip.last().nonces()), (vec!["admit"], 0));
}

// R-NONCE-10, R-NONCE-16, R-NONCE-17: offer gives one with the first success, and the next proof has it.
#[test]
fn offer_gives_one_with_the_first_success() {
    let (client, _, resource) = cast(NoncePolicy::Offer);
    let first = client.order(&resource, at(0));
    assert_eq!((first.codes(), first.last().nonces()), (vec!["admit"], 1));
    assert!(claim(&client.get(ORDERS, at(1)), "nonce").is_some());
    let second = client.order(&resource, at(1));
    assert_eq!((second.codes(), second.last().nonces()), (vec!["admit"], 0));
    // R-NONCE-06: it never demands one of a proof inside the window.
    let (stranger, _, _) = cast(NoncePolicy::Offer);
    assert!(claim(&stranger.get(ORDERS, at(1)), "nonce").is_none());
}

// R-NONCE-01, R-NONCE-06, R-NONCE-19, R-ERR-14: require demands one, once.
#[test]
fn require_demands_one_once() {
    let (client, _, resource) = cast(NoncePolicy::Require);
    let trip = client.order(&resource, at(0));
    assert_eq!(trip.codes(), ["nonce.missing", "admit"]);
    let challenge = &trip.answers[0];
    assert_eq!((challenge.status.as_u16(), challenge.nonces()), (401, 1));
    assert_eq!(challenge.error().as_deref(), Some("use_dpop_nonce"));
    for second in 1..100 {
        assert_eq!(client.order(&resource, at(second)).codes(), ["admit"], "{second} s");
    }
}

// R-NONCE-08, R-NONCE-09, R-NONCE-10: a client at work gets a new one at half its life and is never challenged again.
#[test]
fn a_client_at_work_is_challenged_once() {
    let (client, _, resource) = cast(NoncePolicy::Require);
    let (mut challenges, mut given) = (0, 0);
    for second in (0..3400).step_by(10) {
        let trip = client.order(&resource, at(second));
        assert_eq!(trip.last().code, "admit", "{second} s");
        challenges += trip.answers.len() - 1;
        given += trip.last().nonces();
    }
    assert_eq!(challenges, 1);
    // One when the last is past 150 s: after 160 s, 320 s and so on.
    assert_eq!(given, 3399 / 160);
}

// R-NONCE-05, R-NONCE-07: second by second over the end of a nonce's life; a stale one costs one retry.
#[test]
fn a_nonce_lives_its_life() {
    for policy in [NoncePolicy::Offer, NoncePolicy::Require] {
        let (client, _, resource) = cast(policy);
        client.order(&resource, at(0));
        for second in 140..=310 {
            let proof = client.get(ORDERS, at(second));
            let answer = resource.answer(&proof, at(second));
            let (code, nonces) = match second {
                ..=150 => ("admit", 0),
                151..=300 => ("admit", 1),
                _ => ("nonce.stale", 1),
            };
            assert_eq!((answer.code, answer.nonces()), (code, nonces), "{policy:?} {second} s");
        }
        assert_eq!(client.order(&resource, at(311)).codes(), ["nonce.stale", "admit"], "{policy:?}");
    }
}

// R-NONCE-09, R-NONCE-14: the key is turned in mid-flight, and nobody notices; turned twice, it costs one retry.
#[test]
fn keys_are_turned_in_flight() {
    let key = |id: u8| NonceKey::new(id, [id; 32]);
    let (client, _, mut resource) = cast(NoncePolicy::Require);
    client.order(&resource, at(0));
    let in_flight = client.get(ORDERS, at(1));

    resource.settings.nonces = StatelessNonces::new(key(2)).previous(key(1));
    resource.verifier = resource.settings.verifier();
    assert_eq!(resource.answer(&in_flight, at(2)).code, "admit");
    assert_eq!(client.order(&resource, at(3)).codes(), ["admit"]);
    // Past half its life it is replaced by one under the new key.
    assert_eq!(client.order(&resource, at(200)).codes(), ["admit"]);

    resource.settings.nonces = StatelessNonces::new(key(3)).previous(key(2));
    resource.verifier = resource.settings.verifier();
    assert_eq!(client.order(&resource, at(201)).codes(), ["admit"]);
    resource.settings.nonces = StatelessNonces::new(key(4));
    resource.verifier = resource.settings.verifier();
    assert_eq!(client.order(&resource, at(202)).codes(), ["nonce.unknown", "admit"]);
}

// R-NONCE-14: nodes that share a ring and an epoch know each other's nonces; their clocks may differ a little.
#[test]
fn nodes_with_one_ring_know_each_others_nonces() {
    let (client, issuer, one) = cast(NoncePolicy::Require);
    let other = super::cast::Resource::new(one.settings.clone(), &issuer.keys());
    client.order(&one, at(5));
    assert_eq!(other.answer(&client.get(ORDERS, at(5)), at(0)).code, "admit");
    assert_eq!(other.answer(&client.get(ORDERS, at(5)), at(-1)).code, "nonce.stale");
}

// R-NONCE-10: nonces that live short.
#[test]
fn a_short_life() {
    let mut settings = Settings::new(NoncePolicy::Require);
    settings.nonces = settings.nonces.lives(Duration::from_secs(10));
    let (client, _, resource) = cast_with(settings);
    client.order(&resource, at(0));
    for (second, code) in [(5, "admit"), (10, "admit"), (11, "nonce.stale")] {
        assert_eq!(resource.answer(&client.get(ORDERS, at(second)), at(second)).code, code, "{second} s");
    }
}
