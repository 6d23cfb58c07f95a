//! What is good for one purpose is good for no other.

use core::time::Duration;

use http::HeaderMap;
use keybound::nonce::Role;
use keybound::refusal::Reason;
use keybound::request::{AccessToken, ProofField};
use keybound::token::jwt::SignedJwt;
use keybound::verify::NoncePolicy;

use super::cast::{API, Client, ORDERS, at};
use super::issuer::cast;

/// Hands the client this nonce as if the server at `origin` had given it.
fn plant(client: &Client, origin: &str, role: Role, nonce: &keybound::nonce::Nonce) {
    let mut headers = HeaderMap::new();
    headers.insert("dpop-nonce", nonce.as_str().parse().unwrap());
    client.servers.learn(origin, role, &headers, at(0));
}

// R-NONCE-07, R-NONCE-13: nonces of one server, or of one role, are strangers to every other, and cost one retry.
#[test]
fn nonces_are_for_one_server_in_one_role() {
    let (client, issuer, resource) = cast(NoncePolicy::Require);
    issuer.codes.borrow_mut().insert("code", keybound::authorization_server::GrantBinding::AnyKey);
    let epoch = resource.store.epoch();
    let of_issuer = issuer.server.issue_nonce(&issuer.endpoint, issuer.store.epoch(), at(0));
    // The same ring, origin and epoch: the role alone differs.
    let of_role = resource.verifier.issue_nonce(Role::AuthorizationServer, API, epoch, at(0));
    let of_origin = resource.verifier.issue_nonce(Role::ResourceServer, "https://other.example.com", epoch, at(0));
    for nonce in [of_issuer, of_role, of_origin] {
        plant(&client, API, Role::ResourceServer, &nonce);
        let trip = client.order(&resource, at(0));
        assert_eq!(trip.codes(), ["nonce.unknown", "admit"]);
        assert_eq!(trip.answers[0].error().as_deref(), Some("use_dpop_nonce"));
    }
    let of_resource = resource.verifier.issue_nonce(Role::ResourceServer, API, epoch, at(0));
    plant(&client, "https://id.example.com", Role::AuthorizationServer, &of_resource);
    assert_eq!(client.redeem(&issuer, "code", at(0)).codes(), ["nonce.unknown", "admit"]);
}

// R-PRF-33, R-PRF-38, R-RS-03: what was signed for the token endpoint opens no door at a resource, with any token.
#[test]
fn a_proof_for_the_token_endpoint_is_none_at_a_resource() {
    let (client, issuer, resource) = cast(NoncePolicy::Off);
    let mut order = client.get(ORDERS, at(0));
    let token = client.post(&issuer, at(0)).headers["dpop"].clone();
    order.headers.insert("dpop", token);
    assert_eq!(resource.answer(&order, at(0)).code, "htm.mismatch");

    // Even with method and place of the resource: it says nothing of the token.
    let target = keybound::request::TargetUri::parse(ORDERS).unwrap();
    let target = keybound::client::permitted(&target, keybound::client::PlainHttp::Never).unwrap();
    let attempt = keybound::client::Attempt::at_authorization_server(&http::Method::GET, target);
    let without_ath = client.send(attempt, &http::Method::GET, ORDERS, at(0)).parts;
    order.headers.insert("dpop", without_ath.headers["dpop"].clone());
    assert_eq!(resource.answer(&order, at(0)).code, "ath.missing");
    assert_eq!(resource.store.entries(), 0);
}

// R-RS-19, R-PRF-10: a token is no proof, and a proof no token.
#[test]
fn tokens_and_proofs_do_not_change_places() {
    let (client, issuer, resource) = cast(NoncePolicy::Off);
    let order = client.get(ORDERS, at(0));
    let proof = order.headers["dpop"].clone();
    let token = order.headers["authorization"].to_str().unwrap()[5..].to_owned();

    let mut swapped = client.get(ORDERS, at(0));
    swapped.headers.insert("dpop", token.parse().unwrap());
    assert_eq!(resource.answer(&swapped, at(0)).code, "typ.invalid");
    let refused = SignedJwt::parse(AccessToken::parse(proof.to_str().unwrap()).unwrap()).unwrap_err();
    assert_eq!(refused.reason(), Reason::TokenType);
    let mut both = client.get(ORDERS, at(0));
    both.headers.insert("authorization", format!("DPoP {}", proof.to_str().unwrap()).parse().unwrap());
    assert_eq!(resource.answer(&both, at(0)).code, "ath.mismatch");

    // R-AS-02: at the token endpoint an access token in the proof's place refuses as well.
    let mut post = client.post(&issuer, at(0));
    post.headers.insert("dpop", token.parse().unwrap());
    assert_eq!(issuer.answer(&post, "any", at(0)).code, "typ.invalid");
    assert!(ProofField::read(&post.headers).unwrap().is_some());
}

// R-RS-15, R-RS-14: a perfect proof with a token for somebody else's API, and with another issuer's.
#[test]
fn a_perfect_proof_does_not_mend_a_token() {
    let (mut client, issuer, resource) = cast(NoncePolicy::Off);
    let stranger = super::issuer::Issuer::new(issuer.settings.clone());
    client.obtain(&stranger, "code", at(0));
    assert_eq!(client.order(&resource, at(0)).codes(), ["token.signature"]);
    client.obtain(&issuer, "again", at(0));
    assert_eq!(client.order(&resource, at(0).plus(Duration::from_secs(1))).codes(), ["admit"]);
}
