//! The token endpoint: what a grant is bound to, and that a refusal consumes nothing.

use http::{HeaderMap, Method};
use keybound::authorization_server::{GrantBinding, pushed_binding};
use keybound::client::{Attempt, PlainHttp, permitted};
use keybound::crypto::Alg;
use keybound::refusal::Reason;
use keybound::replay::Epoch;
use keybound::request::TargetUri;
use keybound::verify::NoncePolicy;

use super::cast::{Client, Settings, at};
use super::issuer::{Issuer, TOKEN};

fn issuer(policy: NoncePolicy) -> Issuer {
    let issuer = Issuer::new(Settings::new(policy));
    issuer.codes.borrow_mut().insert("code", GrantBinding::AnyKey);
    issuer
}

// R-AS-22, R-AS-23, R-NONCE-01, R-ERR-15, R-ERR-16: every refusal leaves the code where it was.
#[test]
fn a_refused_proof_consumes_nothing() {
    let issuer = issuer(NoncePolicy::Require);
    let client = Client::new(Alg::Ed25519);
    let challenged = client.post(&issuer, at(0));
    let answer = issuer.answer(&challenged, "code", at(0));
    assert_eq!((answer.status.as_u16(), answer.error().as_deref()), (400, Some("use_dpop_nonce")));
    assert_eq!(answer.nonces(), 1); // R-NONCE-02
    assert!(answer.headers.get("www-authenticate").is_none());

    let mut wrong = client.post(&issuer, at(0));
    wrong.headers.insert("dpop", "a.b.c".parse().unwrap());
    let answer = issuer.answer(&wrong, "code", at(0));
    assert_eq!((answer.status.as_u16(), answer.error().as_deref()), (400, Some("invalid_dpop_proof")));

    // The epoch changes between judging and recording.
    issuer.interrupted.set(Some(Epoch::new(777, at(0))));
    assert_eq!(issuer.store.entries(), 0);
    assert_eq!(client.redeem(&issuer, "code", at(1)).codes(), ["nonce.missing", "replay.forgotten"]);
    assert_eq!(client.redeem(&issuer, "code", at(2)).codes(), ["admit"]);
    // R-AS-35, as far as the protocol goes: a code is redeemed once, by the same key too.
    let again = client.redeem(&issuer, "code", at(3));
    assert_eq!((again.codes(), again.last().error().as_deref()), (vec!["grant.invalid"], Some("invalid_grant")));
}

// R-AS-10, R-AS-13, R-AS-14, R-ERR-17: a code that is bound to a key.
#[test]
fn a_bound_code_is_redeemed_by_its_key_alone() {
    let issuer = issuer(NoncePolicy::Offer);
    let (owner, thief) = (Client::new(Alg::Es256), Client::new(Alg::Es256));
    issuer.codes.borrow_mut().insert("bound", GrantBinding::Key(owner.key.thumbprint()));
    let (plain, ()) = http::Request::post("/token").body(()).unwrap().into_parts();
    for code in ["bound", "code"] {
        let answer = issuer.answer(&plain, code, at(0));
        assert_eq!((answer.code, answer.error().as_deref()), ("proof.required", Some("invalid_request")));
    }
    let stolen = thief.redeem(&issuer, "bound", at(0));
    assert_eq!((stolen.codes(), stolen.last().error().as_deref()), (vec!["grant.key"], Some("invalid_grant")));
    assert_eq!(issuer.store.entries(), 0);
    assert_eq!(owner.redeem(&issuer, "bound", at(0)).codes(), ["admit"]);
}

// R-AS-16, R-AS-17, R-AS-18, R-AS-19: a pushed request binds by its proof, by its parameter, or by both if they agree.
#[test]
fn a_pushed_request_names_one_key() {
    let issuer = issuer(NoncePolicy::Offer);
    let client = Client::new(Alg::Es256);
    let endpoint = TargetUri::parse("https://id.example.com/par").unwrap();
    let attempt = Attempt::at_authorization_server(&Method::POST, permitted(&endpoint, PlainHttp::Never).unwrap());
    let parts = client.send(attempt, &Method::POST, endpoint.as_str(), at(0)).parts;
    let proven = issuer.server.verify(&parts.headers, &endpoint, issuer.store.epoch(), at(0)).unwrap();
    let (own, other) = (client.key.thumbprint(), Client::new(Alg::Es256).key.thumbprint());
    for (dpop_jkt, expected) in
        [(None, Ok(Some(own))), (Some(own), Ok(Some(own))), (Some(other), Err(Reason::JktConflict))]
    {
        let bound = pushed_binding(dpop_jkt, proven.as_ref()).map_err(|refusal| refusal.reason());
        assert_eq!(bound, expected);
    }
    // R-AS-17: a proof for the token endpoint is none for this one.
    let token = client.post(&issuer, at(0));
    let refused = issuer.server.verify(&token.headers, &endpoint, issuer.store.epoch(), at(0)).unwrap_err();
    assert_eq!(refused.reason(), Reason::HtuMismatch);
    let empty = HeaderMap::new();
    assert!(issuer.server.verify(&empty, &endpoint, issuer.store.epoch(), at(0)).unwrap().is_none());
}

// R-AS-01, R-AS-02, R-PRF-40: method and place; and a proof is good for one token.
#[test]
fn a_proof_is_for_one_post_to_the_endpoint() {
    let issuer = issuer(NoncePolicy::Offer);
    let client = Client::new(Alg::Es256);
    let get = Attempt::at_authorization_server(&Method::GET, permitted(&issuer.endpoint, PlainHttp::Never).unwrap());
    let get = client.send(get, &Method::GET, TOKEN, at(0)).parts;
    assert_eq!(issuer.answer(&get, "code", at(0)).code, "htm.mismatch");
    let post = client.post(&issuer, at(0));
    assert_eq!(issuer.answer(&post, "code", at(0)).code, "admit");
    issuer.codes.borrow_mut().insert("more", GrantBinding::AnyKey);
    let replayed = issuer.answer(&post, "more", at(0));
    assert_eq!((replayed.code, replayed.status.as_u16()), ("replay.seen", 400));
    assert!(issuer.codes.borrow().contains_key("more"));
}
