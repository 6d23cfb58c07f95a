//! The role of the client: make proofs, remember what servers say, and know when one retry is due. Sending is the caller's,
//! and so are the clock and the random bytes.
//!
//! ```
//! use http::{HeaderMap, HeaderValue, Method, StatusCode};
//! use keybound::client::{Answer, Attempt, Credentials, PlainHttp, Prover, Replay, ServerMemory, Verdict, permitted};
//! use keybound::request::TargetUri;
//! use keybound::time::UnixTime;
//! # use keybound::crypto::{Alg, Signer, SigningFailed};
//! # use keybound::jwk::PublicJwk;
//! # #[derive(Debug)]
//! # struct Key(PublicJwk);
//! # impl Signer for Key {
//! #     fn alg(&self) -> Alg { Alg::Ed25519 }
//! #     fn public_jwk(&self) -> &PublicJwk { &self.0 }
//! #     fn sign(&self, _: &[u8]) -> Result<Vec<u8>, SigningFailed> { Ok(vec![7; 64]) }
//! # }
//! # let jwk = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;
//! # let key = Key(PublicJwk::from_json(jwk).unwrap());
//! # let (now, random) = (UnixTime::from_secs(1_700_000_000), || [42; 16]);
//!
//! let prover = Prover::of(&key)?;           // once for each key
//! let servers = ServerMemory::new();        // once for each program
//! let token = Credentials::new("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU")?;
//!
//! let target = TargetUri::parse("https://api.example.com/accounts?page=2").unwrap();
//! let attempt = Attempt::at_resource(&Method::GET, permitted(&target, PlainHttp::Never)?, &token);
//! let sent = attempt.prove(&prover, &servers, random(), now).sign(&key)?;
//! let mut fields = HeaderMap::new();
//! sent.apply(&mut fields);                  // DPoP and Authorization; send the request with them
//!
//! // The server wants a nonce:
//! let mut answer = HeaderMap::new();
//! answer.insert("www-authenticate", HeaderValue::from_static(r#"DPoP error="use_dpop_nonce", algs="ES256""#));
//! answer.insert("dpop-nonce", HeaderValue::from_static("n-1"));
//! let verdict = sent.learn(&servers, Answer::new(StatusCode::UNAUTHORIZED, &answer), Replay::Possible, now);
//! let Verdict::RetryOnce(retry) = verdict else { panic!("{verdict:?}") };
//! let sent = retry.prove(&prover, &servers, random(), now).sign(&key)?;
//! # let _ = sent;
//! # Ok::<(), Box<dyn core::error::Error>>(())
//! ```

mod attempt;
mod authentication;
mod prover;
mod rules;
mod servers;

pub use attempt::{Answer, Attempt, First, NoRetry, Proving, Replay, Retry, Sent, Verdict};
pub use authentication::{CLIENT_ASSERTION_TYPE, Form, Secret, basic_credentials, client_assertion};
pub use prover::{AlgMisfit, Credentials, MalformedToken, Proof, ProofClaims, Prover, UnsignedProof};
pub use rules::{
    Binding, NoCommonAlg, Permitted, PlainHttp, PlainHttpRefused, Unbound, UnboundToken, choose_alg, judge_token_type,
    permitted, same_origin,
};
pub use servers::ServerMemory;

#[cfg(test)]
mod tests;
