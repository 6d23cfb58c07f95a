//! The resource server ends and begins again: nothing that was used is used again, and honest clients notice little.

use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::verify::NoncePolicy;

use super::cast::{Client, ORDERS, Resource, at};
use super::issuer::cast;

const POLICIES: [NoncePolicy; 3] = [NoncePolicy::Off, NoncePolicy::Offer, NoncePolicy::Require];

/// A client whose proof was admitted at 0, right before the resource restarted at 1; with a new ring of nonce keys, or the
/// old one.
fn restarted(policy: NoncePolicy, ahead: i64, new_ring: bool) -> (Client, Resource, http::request::Parts) {
    let (mut client, _, mut resource) = cast(policy);
    client.order(&resource, at(0));
    client.ahead = ahead;
    let captured = client.get(ORDERS, at(0));
    assert_eq!(resource.answer(&captured, at(0)).code, "admit", "{policy:?} {ahead}");
    if new_ring {
        resource.settings.nonces = StatelessNonces::new(NonceKey::new(1, [9; 32]));
    }
    resource.restart(at(1));
    (client, resource, captured)
}

// R-PRF-40, R-SEC-03: second by second after the restart, without disk, under every policy and clock.
#[test]
fn a_proof_from_before_is_never_admitted_after() {
    for policy in POLICIES {
        for new_ring in [false, true] {
            for ahead in [-299, 0, 1, 59, 60] {
                let (_, resource, captured) = restarted(policy, ahead, new_ring);
                for second in 1..=800 {
                    let answer = resource.answer(&captured, at(second));
                    assert_ne!(
                        answer.code, "admit",
                        "{policy:?}, new ring {new_ring}, {ahead} s ahead, after {second} s"
                    );
                    if second < 200 {
                        assert_eq!(answer.error().as_deref(), Some("use_dpop_nonce"), "{policy:?} {ahead} {second}");
                    }
                }
            }
        }
    }
}

// R-NONCE-11: a proof that its nonce let in, a day ahead, comes into the window a day after.
#[test]
fn a_proof_from_a_day_ahead_waits_in_vain() {
    for policy in [NoncePolicy::Offer, NoncePolicy::Require] {
        for ahead in [3600, 86_400] {
            for new_ring in [false, true] {
                let (_, resource, captured) = restarted(policy, ahead, new_ring);
                for second in (1..ahead - 400).step_by(111).chain(ahead - 400..ahead + 400) {
                    let code = resource.answer(&captured, at(second)).code;
                    assert_ne!(code, "admit", "{policy:?}, new ring {new_ring}, {ahead} s ahead, after {second} s");
                }
            }
        }
    }
}

// The same where the nonce is looked at only while a barrier stands: a proof that was let in at one barrier, a second restart.
#[test]
fn a_proof_let_in_at_a_barrier_is_not_let_in_again() {
    for ahead in [-86_400, -3600, 0, 60] {
        let (mut client, _, mut resource) = cast(NoncePolicy::Off);
        resource.restart(at(0));
        client.order(&resource, at(1));
        client.ahead = ahead;
        let captured = client.get(ORDERS, at(2));
        assert_eq!(resource.answer(&captured, at(2)).code, "admit", "{ahead} s ahead");
        resource.restart(at(3));
        for second in (3..1000).chain((1000..90_000).step_by(101)) {
            assert_ne!(resource.answer(&captured, at(second)).code, "admit", "{ahead} s ahead, after {second} s");
        }
    }
}

// R-NONCE-12, R-NONCE-19: at the barrier one retry, and then none.
#[test]
fn an_honest_client_recovers_by_one_retry() {
    for policy in POLICIES {
        for new_ring in [false, true] {
            let (client, resource, _) = restarted(policy, 0, new_ring);
            let trip = client.order(&resource, at(2));
            assert_eq!((trip.answers.len(), trip.last().code), (2, "admit"), "{policy:?} {new_ring}");
            assert_eq!(trip.answers[0].error().as_deref(), Some("use_dpop_nonce"));
            assert_eq!(trip.answers[0].nonces(), 1);
            for second in 3..100 {
                assert_eq!(client.order(&resource, at(second)).codes(), ["admit"], "{policy:?} {new_ring} {second} s");
            }
        }
    }
}

// The barrier, second by second: a client without a nonce passes as soon as nobody can have accepted its proof before.
#[test]
fn after_a_minute_a_newcomer_notices_nothing() {
    for policy in [NoncePolicy::Off, NoncePolicy::Offer] {
        let (client, _, mut resource) = cast(policy);
        resource.restart(at(0));
        for second in 0..=70 {
            let expected = if second <= 60 { "nonce.barrier" } else { "admit" };
            assert_eq!(resource.answer(&client.get(ORDERS, at(second)), at(second)).code, expected, "{second} s");
        }
    }
}

// R-SEC-02: the store may have forgotten between judging and recording: nothing is written, and one retry gets through.
#[test]
fn an_epoch_that_changes_in_between() {
    for policy in POLICIES {
        let (client, _, resource) = cast(policy);
        client.order(&resource, at(0));
        let entries = resource.store.entries();
        let captured = client.get(ORDERS, at(1));
        resource.interrupted.set(Some(Epoch::new(4242, at(1))));
        let answer = resource.answer(&captured, at(1));
        assert_eq!((answer.code, answer.status.as_u16()), ("replay.forgotten", 401), "{policy:?}");
        assert_eq!(answer.error().as_deref(), Some("use_dpop_nonce"));
        assert_eq!((answer.nonces(), resource.store.entries()), (1, entries));
        // The proof itself is lost: it was judged under an epoch that is over.
        assert_ne!(resource.answer(&captured, at(2)).code, "admit", "{policy:?}");

        resource.interrupted.set(Some(Epoch::new(4343, at(3))));
        let trip = client.order(&resource, at(3));
        // The first was stopped at the barrier or by its old nonce; the retry runs into the change, and is the last.
        assert_eq!(trip.last().code, "replay.forgotten", "{policy:?}");
        assert_eq!(trip.verdict, "Challenged(AlreadyRetried)", "{policy:?}");
        assert_eq!(client.order(&resource, at(4)).last().code, "admit", "{policy:?}");
    }
}

// A change of windows raises a barrier in the running store; what it knew it still knows.
#[test]
fn a_raised_barrier_keeps_what_was_known() {
    let (client, _, resource) = cast(NoncePolicy::Offer);
    let captured = client.get(ORDERS, at(0));
    assert_eq!(resource.answer(&captured, at(0)).code, "admit");
    resource.store.raise(Epoch::new(55, at(1)));
    assert_eq!(resource.answer(&captured, at(1)).code, "nonce.barrier");
    assert_eq!(resource.store.entries(), 1);
    assert_eq!(client.order(&resource, at(1)).codes(), ["nonce.barrier", "admit"]);
}

// R-AS-22: the token endpoint restarts: a proof from before is refused, the client recovers, the code was not consumed.
#[test]
fn the_token_endpoint_restarts_too() {
    use keybound::authorization_server::GrantBinding;
    for policy in POLICIES {
        let (client, mut issuer, _) = cast(policy);
        issuer.codes.borrow_mut().insert("one", GrantBinding::AnyKey);
        issuer.codes.borrow_mut().insert("two", GrantBinding::AnyKey);
        let captured = client.post(&issuer, at(0));
        let before = issuer.answer(&captured, "one", at(0)).code;
        assert_eq!(before, "admit", "{policy:?}");
        issuer.restart(at(1));
        for second in 1..=800 {
            assert_ne!(issuer.answer(&captured, "two", at(second)).code, "admit", "{policy:?} after {second} s");
        }
        issuer.restart(at(1000));
        let trip = client.redeem(&issuer, "two", at(1001));
        assert_eq!((trip.answers.len(), trip.last().code), (2, "admit"), "{policy:?}");
    }
}
