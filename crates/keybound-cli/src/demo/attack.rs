//! Every attack: a row each, with what is tried, the reason it must be refused for, and how its request is made.

use hmac::{Hmac, KeyInit as _, Mac as _};
use http::Method;
use http::header::AUTHORIZATION;
use keybound::challenge::DPOP;
use keybound::jws::{decode_base64url, encode_base64url};
use keybound::refusal::Reason;
use serde_json::{Value, json};
use sha2::Sha256;

use super::cast::no_body;
use super::draft::{Draft, now, public};
use super::loot::{Loot, Sent};
use crate::outcome::Failure;

type Built = Result<Sent, Failure>;

/// One thing a thief tries.
pub(super) struct Attack {
    /// Its name for programs.
    pub(super) case: &'static str,
    /// What is tried, in a few words.
    pub(super) tried: &'static str,
    /// What it must be refused for.
    pub(super) reason: Reason,
    pub(super) build: fn(&Loot) -> Built,
}

/// Attacks that need the same loot, and the honest request that follows them.
pub(super) struct Act {
    pub(super) title: &'static str,
    pub(super) attacks: &'static [Attack],
    pub(super) then: &'static str,
}

const fn attack(case: &'static str, tried: &'static str, reason: Reason, build: fn(&Loot) -> Built) -> Attack {
    Attack { case, tried, reason, build }
}

use Reason::{
    AlgForbidden, AthMismatch, AthMissing, CredentialsQuery, CredentialsRepeated, HtmMismatch, HtuMismatch, IatFuture,
    IatPast, KeyMismatch, KeyPrivate, KeyWeak, NonceBarrier, NonceUnknown, PathAmbiguous, ProofJson, ProofMissing,
    ProofRepeated, ReplaySeen, ScopeInsufficient, SignatureInvalid, TokenAudience, TokenDowngrade, TokenExpired,
    TokenKey, TokenSignature, TokenUnbound, TypInvalid,
};

#[rustfmt::skip]
pub(super) const ACTS: &[Act] = &[
    Act {
        title: "A thief has the token, and not the key.",
        attacks: &[
            attack("token-as-bearer", "the token as a bearer token", TokenDowngrade, token_as_bearer),
            attack("token-alone", "the token with no proof", ProofMissing, token_alone),
            attack("thief-key", "the token with a proof by the thief's own key", KeyMismatch, thief_key),
            attack("token-in-query", "the token in the query, out of the proof's sight", CredentialsQuery, token_in_query),
            attack("token-twice", "the token twice, once under each scheme", CredentialsRepeated, token_twice),
            attack("token-altered", "the token, changed to name the thief's key", TokenSignature, token_altered),
            attack("token-homemade", "a token of the thief's own making", TokenKey, token_homemade),
            attack("proof-as-token", "a captured proof in place of a token", Reason::TokenType, proof_as_token),
        ],
        then: "after-token-theft",
    },
    Act {
        title: "The thief has captured proofs as well.",
        attacks: &[
            attack("proof-replayed", "a captured request, sent again as it was", ReplaySeen, proof_replayed),
            attack("other-path", "a captured proof for another path", HtuMismatch, other_path),
            attack("other-method", "a captured proof for another method", HtmMismatch, other_method),
            attack("other-token", "a captured proof with another token", AthMismatch, other_token),
            attack("no-token-hash", "a captured proof that was for no token", AthMissing, no_token_hash),
            attack("forwarded-host", "a proof for evil.example, and a forged forwarded host", HtuMismatch, forwarded_host),
            attack("forged-host", "a proof for evil.example, and a forged Host", HtuMismatch, forged_host),
            attack("old-proof", "a proof that was captured an hour ago", IatPast, old_proof),
            attack("future-proof", "a proof that was signed for an hour from now", IatFuture, future_proof),
            attack("invented-nonce", "a proof that was signed over an invented nonce", NonceUnknown, invented_nonce),
            attack("altered-proof", "a captured proof with another jti in it", SignatureInvalid, altered_proof),
            attack("two-proofs", "a captured proof and the thief's own", ProofRepeated, two_proofs),
        ],
        then: "after-proof-theft",
    },
    Act {
        title: "The thief forges proofs.",
        attacks: &[
            attack("alg-none", "a proof with alg none and no signature", AlgForbidden, alg_none),
            attack("hs256-public-key", "HS256, the client's public key as the secret", AlgForbidden, hs256_public_key),
            attack("private-key", "a proof that shows its private key", KeyPrivate, private_key),
            attack("small-order-key", "a small-order Ed25519 key that any signature fits", KeyWeak, small_order_key),
            attack("borrowed-key", "the client's public key, the thief's signature", SignatureInvalid, borrowed_key),
            attack("doubled-key", "two keys under one name, one for each reader", ProofJson, doubled_key),
            attack("token-as-proof", "the token itself in place of a proof", TypInvalid, token_as_proof),
        ],
        then: "after-forgery",
    },
    Act {
        title: "Tokens that are real, and not for this.",
        attacks: &[
            attack("token-expired", "a token that expired an hour ago", TokenExpired, token_expired),
            attack("token-elsewhere", "a token for another service", TokenAudience, token_elsewhere),
            attack("token-unbound", "a bearer token of the same issuer", TokenUnbound, token_unbound),
            attack("scope-missing", "the client's token, where it has no business", ScopeInsufficient, scope_missing),
            attack("path-disguised", "the same place, by an encoded slash", PathAmbiguous, path_disguised),
        ],
        then: "after-misuse",
    },
];

/// Before the gateway is killed: what it will have forgotten.
pub(super) const READY_FOR_RESTART: &[Attack] =
    &[attack("ahead-replayed", "that proof, sent again", ReplaySeen, ahead_replayed)];

/// The replay memory is gone; the issuer, its key, the token and the captured proofs are not.
#[rustfmt::skip]
pub(super) const AFTER_RESTART: &[Attack] = &[
    attack("ahead-after-restart", "that proof, which only the barrier can refuse", NonceBarrier, ahead_replayed),
    attack("replay-after-restart", "an earlier proof, with the nonce in it", NonceUnknown, proof_replayed),
];

fn token_as_bearer(loot: &Loot) -> Built {
    let request = loot.request(Method::GET, "/hello").header(AUTHORIZATION, format!("Bearer {}", loot.token));
    request.body(no_body()).map_err(Failure::failed)
}

fn token_alone(loot: &Loot) -> Built {
    let request = loot.request(Method::GET, "/hello").header(AUTHORIZATION, format!("DPoP {}", loot.token));
    request.body(no_body()).map_err(Failure::failed)
}

fn thief_key(loot: &Loot) -> Built {
    loot.with_proof(&loot.own()?.signed(&loot.thief)?)
}

fn token_in_query(loot: &Loot) -> Built {
    let target = format!("/hello?access_token={}", loot.token);
    let request = loot.request(Method::GET, &target).header(&DPOP, &*loot.own()?.signed(&loot.thief)?);
    request.body(no_body()).map_err(Failure::failed)
}

fn token_twice(loot: &Loot) -> Built {
    let mut request = loot.with_proof(&loot.captured)?;
    let bearer = format!("Bearer {}", loot.token).try_into().map_err(Failure::failed)?;
    request.headers_mut().append(AUTHORIZATION, bearer);
    Ok(request)
}

fn token_altered(loot: &Loot) -> Built {
    let jkt = loot.thief.thumbprint().to_string();
    let token = altered(&loot.token, |claims| claims["cnf"]["jkt"] = jkt.into())?;
    loot.with(&token, &loot.own_for(&token)?.signed(&loot.thief)?)
}

fn token_homemade(loot: &Loot) -> Built {
    let token = loot.homemade_token()?;
    loot.with(&token, &loot.own_for(&token)?.signed(&loot.thief)?)
}

fn proof_as_token(loot: &Loot) -> Built {
    loot.with(&loot.captured, &loot.own_for(&loot.captured)?.signed(&loot.thief)?)
}

fn proof_replayed(loot: &Loot) -> Built {
    loot.with_proof(&loot.captured)
}

fn other_path(loot: &Loot) -> Built {
    loot.presenting(Method::GET, "/admin", &loot.token, &loot.captured)
}

fn other_method(loot: &Loot) -> Built {
    loot.presenting(Method::DELETE, "/hello", &loot.token, &loot.captured)
}

fn other_token(loot: &Loot) -> Built {
    loot.with(&loot.second_token, &loot.captured)
}

fn no_token_hash(loot: &Loot) -> Built {
    let draft = Draft::proof(loot.client_key(), "GET", &loot.url("/hello"))?.claim("nonce", &*loot.nonce);
    loot.with_proof(&draft.signed(loot.client_key())?)
}

/// The client was led to a server of the thief's, and signed a proof for it.
fn forwarded_host(loot: &Loot) -> Built {
    let mut request = loot.with_proof(&for_evil_server(loot)?)?;
    for (name, value) in [
        ("x-forwarded-host", "evil.example"),
        ("x-forwarded-proto", "https"),
        ("forwarded", "host=evil.example;proto=https"),
    ] {
        request.headers_mut().insert(name, http::HeaderValue::from_static(value));
    }
    Ok(request)
}

fn forged_host(loot: &Loot) -> Built {
    let mut request = loot.with_proof(&for_evil_server(loot)?)?;
    request.headers_mut().insert(http::header::HOST, http::HeaderValue::from_static("evil.example"));
    Ok(request)
}

fn for_evil_server(loot: &Loot) -> Result<String, Failure> {
    loot.of_client("https://evil.example/hello", &loot.token, |draft| draft)
}

fn old_proof(loot: &Loot) -> Built {
    let iat = now().as_secs().saturating_sub(3600);
    loot.with_proof(&loot.of_client(&loot.url("/hello"), &loot.token, |draft| draft.claim("iat", iat))?)
}

fn future_proof(loot: &Loot) -> Built {
    let iat = now().as_secs() + 3600;
    loot.with_proof(&loot.of_client(&loot.url("/hello"), &loot.token, |draft| draft.claim("iat", iat))?)
}

fn invented_nonce(loot: &Loot) -> Built {
    let nonce = encode_base64url(&[7; 33]);
    loot.with_proof(&loot.of_client(&loot.url("/hello"), &loot.token, |draft| draft.claim("nonce", nonce))?)
}

fn altered_proof(loot: &Loot) -> Built {
    loot.with_proof(&altered(&loot.captured, |claims| claims["jti"] = "never seen before".into())?)
}

fn two_proofs(loot: &Loot) -> Built {
    let mut request = loot.with_proof(&loot.captured)?;
    let own = loot.own()?.signed(&loot.thief)?.try_into().map_err(Failure::failed)?;
    request.headers_mut().append(&DPOP, own);
    Ok(request)
}

fn alg_none(loot: &Loot) -> Built {
    let draft = loot.own()?.head("alg", "none").head("jwk", public(loot.client_key())?);
    loot.with_proof(&draft.signed_with(|_| Ok(Vec::new()))?)
}

fn hs256_public_key(loot: &Loot) -> Built {
    let key = public(loot.client_key())?;
    let secret = key.to_string();
    let draft = loot.own()?.head("alg", "HS256").head("jwk", key);
    loot.with_proof(&draft.signed_with(|octets| {
        let mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).map_err(Failure::failed)?;
        Ok(mac.chain_update(octets).finalize().into_bytes().to_vec())
    })?)
}

fn private_key(loot: &Loot) -> Built {
    let text = loot.thief.to_private_jwk().map_err(Failure::failed)?;
    let jwk: Value = serde_json::from_str(&text).map_err(Failure::failed)?;
    loot.with_proof(&loot.own()?.head("jwk", jwk).signed(&loot.thief)?)
}

/// The neutral point as key and as R, and S = 0: the equation of Ed25519 holds for every message.
fn small_order_key(loot: &Loot) -> Built {
    let mut point = [0; 32];
    point[0] = 1;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode_base64url(&point)});
    let draft = loot.own()?.head("alg", "Ed25519").head("jwk", jwk);
    loot.with_proof(&draft.signed_with(|_| Ok([point, [0; 32]].concat()))?)
}

fn borrowed_key(loot: &Loot) -> Built {
    loot.with_proof(&loot.own()?.head("jwk", public(loot.client_key())?).signed(&loot.thief)?)
}

fn doubled_key(loot: &Loot) -> Built {
    let of_client = public(loot.client_key())?;
    let first = |header: String| header.replacen('{', &format!(r#"{{"jwk":{of_client},"#), 1);
    loot.with_proof(&loot.own()?.signed_under(first, &loot.thief)?)
}

fn token_as_proof(loot: &Loot) -> Built {
    loot.with_proof(&loot.token)
}

fn token_expired(loot: &Loot) -> Built {
    with_clients_proof(loot, &loot.expired_token()?)
}

fn token_elsewhere(loot: &Loot) -> Built {
    with_clients_proof(loot, &loot.token_for_elsewhere)
}

/// Whoever has it could use it anywhere; here it is of no use to anybody.
fn token_unbound(loot: &Loot) -> Built {
    let request = loot.request(Method::GET, "/hello").header(AUTHORIZATION, format!("Bearer {}", loot.bearer_token));
    request.body(no_body()).map_err(Failure::failed)
}

fn scope_missing(loot: &Loot) -> Built {
    let proof = loot.of_client(&loot.url("/admin"), &loot.token, |draft| draft.claim("nonce", &*loot.nonce))?;
    loot.presenting(Method::GET, "/admin", &loot.token, &proof)
}

fn path_disguised(loot: &Loot) -> Built {
    let path = "/hello/..%2fadmin";
    let proof = loot.of_client(&loot.url(path), &loot.token, |draft| draft.claim("nonce", &*loot.nonce))?;
    loot.presenting(Method::GET, path, &loot.token, &proof)
}

fn ahead_replayed(loot: &Loot) -> Built {
    let proof = loot.ahead.as_deref().ok_or_else(|| Failure::failed("no proof was signed ahead"))?;
    loot.with_proof(proof)
}

/// `GET /hello` with this token and a proof of the client's that is right in everything.
fn with_clients_proof(loot: &Loot, token: &str) -> Built {
    let proof = loot.of_client(&loot.url("/hello"), token, |draft| draft.claim("nonce", &*loot.nonce))?;
    loot.with(token, &proof)
}

/// A JWT with other claims under the signature it had.
fn altered(jwt: &str, change: impl FnOnce(&mut Value)) -> Result<String, Failure> {
    let damaged = || Failure::failed("the issuer's token is no JWT");
    let [header, claims, signature] = jwt.split('.').collect::<Vec<_>>()[..] else { return Err(damaged()) };
    let claims = decode_base64url(claims).map_err(|_| damaged())?;
    let mut claims: Value = serde_json::from_slice(&claims).map_err(Failure::failed)?;
    change(&mut claims);
    Ok(format!("{header}.{}.{signature}", encode_base64url(claims.to_string().as_bytes())))
}
