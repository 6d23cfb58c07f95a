//! Clocks that differ, and the window second by second.

use keybound::verify::NoncePolicy;

use super::cast::{ORDERS, Settings, at};
use super::issuer::{cast, cast_with};

// R-PRF-35, R-PRF-36, R-SEC-07: 300 s back and 60 s ahead pass, and not a second more.
#[test]
fn the_window_second_by_second() {
    let (mut client, _, resource) = cast(NoncePolicy::Off);
    for ahead in -310..=70 {
        client.ahead = ahead;
        let answer = resource.answer(&client.get(ORDERS, at(0)), at(0));
        let expected = match ahead {
            ..-300 => "iat.past",
            61.. => "iat.future",
            _ => "admit",
        };
        assert_eq!(answer.code, expected, "{ahead} s ahead");
        if expected != "admit" {
            assert_eq!(answer.error().as_deref(), Some("invalid_dpop_proof"), "{ahead} s ahead");
        }
    }
}

// R-PRF-35: one proof, while the clock goes on over its end.
#[test]
fn one_proof_while_the_clock_goes_on() {
    for ahead in [-200, 0, 60] {
        for second in [0, 1, 299, 300, 301, 360, 361, 400] {
            let (mut client, _, resource) = cast(NoncePolicy::Off);
            client.ahead = ahead;
            let proof = client.get(ORDERS, at(0));
            let expected = if second - ahead <= 300 { "admit" } else { "iat.past" };
            assert_eq!(resource.answer(&proof, at(second)).code, expected, "{ahead} s ahead, after {second} s");
        }
    }
}

// R-NONCE-11, R-NONCE-12: up to a day off, a nonce gets the client out of it; and it stays out.
#[test]
fn a_wrong_clock_recovers_by_a_nonce() {
    for policy in [NoncePolicy::Offer, NoncePolicy::Require] {
        for ahead in [-86_400, -3600, -301, 61, 3600, 86_400] {
            let (mut client, _, resource) = cast(policy);
            client.ahead = ahead;
            let trip = client.order(&resource, at(0));
            let first = match (policy, ahead) {
                (NoncePolicy::Require, _) => "nonce.missing",
                (_, ..0) => "iat.past",
                _ => "iat.future",
            };
            assert_eq!(trip.codes(), [first, "admit"], "{policy:?} {ahead} s ahead");
            assert_eq!(trip.answers[0].error().as_deref(), Some("use_dpop_nonce"));
            assert_eq!(client.order(&resource, at(1)).codes(), ["admit"], "{policy:?} {ahead} s ahead");
        }
    }
}

// R-NONCE-11, R-NONCE-19: more than a day off, no nonce helps, and nobody goes in circles.
#[test]
fn a_clock_beyond_a_day_is_told_so() {
    for (ahead, code) in [(-86_401, "iat.past"), (86_401, "iat.future")] {
        let (mut client, _, resource) = cast(NoncePolicy::Offer);
        client.ahead = ahead;
        let trip = client.order(&resource, at(0));
        assert_eq!((trip.codes(), trip.verdict.as_str()), (vec![code, code], "ProofRefused"), "{ahead} s ahead");
    }
}

// As the FAPI profile wants it: iat stays in the window whatever the nonce; the client is told at once.
#[test]
fn a_window_that_no_nonce_widens() {
    let mut settings = Settings::new(NoncePolicy::Require);
    settings.strict_iat = true;
    let (mut client, _, resource) = cast_with(settings);
    for (ahead, expected) in [(60, "admit"), (61, "iat.future"), (-300, "admit"), (-301, "iat.past")] {
        client.ahead = ahead;
        let trip = client.order(&resource, at(0));
        assert_eq!(trip.last().code, expected, "{ahead} s ahead");
        if expected != "admit" {
            assert_eq!(trip.verdict, "ProofRefused", "{ahead} s ahead");
        }
    }
}

// R-CLI-19: or the client corrects itself by Date, and needs no nonce for it.
#[test]
fn a_wrong_clock_recovers_by_date() {
    let (mut client, _, resource) = cast(NoncePolicy::Off);
    client.ahead = 3600;
    assert_eq!(client.order(&resource, at(0)).codes(), ["iat.future"]);
    let mut headers = http::HeaderMap::new();
    headers.insert("date", "Tue, 14 Nov 2023 22:13:20 GMT".parse().unwrap()); // START
    let role = keybound::nonce::Role::ResourceServer;
    client.servers.learn("https://api.example.com", role, &headers, client.clock(at(0)));
    assert_eq!(client.order(&resource, at(1)).codes(), ["admit"]);
}

// R-RS-17: the token lives an hour and the allowance, whatever the proof.
#[test]
fn a_token_lives_as_long_as_it_says() {
    let (client, _, resource) = cast(NoncePolicy::Off);
    // Issued at -100.
    for (second, expected) in [(3499, "admit"), (3504, "admit"), (3505, "token.expired")] {
        assert_eq!(client.order(&resource, at(second)).last().code, expected, "{second} s");
    }
}
