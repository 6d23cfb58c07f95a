//! DPoP (RFC 9449) for every role, without I/O, clock or async: the client that proves a key, the authorization server that
//! binds a token to it, the resource server that checks both. Random octets are arguments, but for what is in
//! [`crypto::aws_lc`].
//!
//! A request to a protected resource goes one way, and each step takes what the last one proved:
//!
//! ```text
//!                 Presented::read          Verifier::verify          bind              admit
//! http::Parts ──► ResourceRequest ──► (ParsedProof) VerifiedProof ──► BoundToken ──────► Admission
//!                                                     ValidToken ──────┘   └─ ReplayStore::record
//!                                     TokenFacts::judge ─┘
//! ```
//!
//! | role | begins at |
//! |---|---|
//! | client | [`client::Prover`], [`client::Attempt`] |
//! | authorization server | [`authorization_server::AuthorizationServer`] |
//! | resource server | [`request::Presented`], [`verify::Verifier`], [`token`] |
//! | why was it refused | [`refusal::Reason`] |
//!
//! All three in one place, with a clock turned by hand:
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{HeaderMap, Method, Request};
//! use keybound::authorization_server::{AuthorizationServer, token_type};
//! use keybound::client::{Attempt, Credentials, PlainHttp, Prover, ServerMemory, permitted};
//! use keybound::crypto::aws_lc::{AwsLc, SoftwareKey, random_array};
//! use keybound::crypto::{Alg, AlgSet, Signer};
//! use keybound::jws::encode_base64url;
//! use keybound::nonce::{NonceKey, StatelessNonces};
//! use keybound::refusal::Reason;
//! use keybound::replay::memory::{MemoryLimits, MemoryStore};
//! use keybound::replay::Epoch;
//! use keybound::request::{Origin, Presented, TargetUri};
//! use keybound::time::UnixTime;
//! use keybound::token::TokenPolicy;
//! use keybound::token::jwt::{KeySet, SignedJwt};
//! use keybound::verify::Verifier;
//!
//! let now = UnixTime::from_secs(1_700_000_000);
//! let store = || -> Result<MemoryStore, Box<dyn std::error::Error>> {
//!     // Opened an hour ago: no proof of before could still be in its window.
//!     let epoch = Epoch::new(u64::from_be_bytes(random_array()?), UnixTime::from_secs(1_699_996_400));
//!     Ok(MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?)
//! };
//! let verifier = || -> Result<Verifier, Box<dyn std::error::Error>> {
//!     let nonces = StatelessNonces::new(NonceKey::new(1, random_array()?));
//!     Ok(Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)).build()?)
//! };
//!
//! // The client asks for a token.
//! let key = SoftwareKey::generate(Alg::Es256)?;
//! let (prover, servers) = (Prover::of(&key)?, ServerMemory::new());
//! let endpoint = TargetUri::parse("https://id.example.com/token")?;
//! let asked = Attempt::at_authorization_server(&Method::POST, permitted(&endpoint, PlainHttp::Never)?);
//! let mut fields = HeaderMap::new();
//! asked.prove(&prover, &servers, random_array()?, now).sign(&key)?.apply(&mut fields);
//!
//! // The authorization server binds it to the key of the proof.
//! let (server, used) = (AuthorizationServer::new(verifier()?), store()?);
//! let proven = server.verify(&fields, &endpoint, used.epoch(), now)?.ok_or(Reason::ProofRequired)?;
//! let seen = used.record_now(&proven.replay_entry(), now)?;
//! let binding = proven.bind(seen)?;
//! assert_eq!(token_type(Some(&binding)), "DPoP");
//! let own = SoftwareKey::generate(Alg::Es256)?;
//! let claims = serde_json::json!({
//!     "iss": "https://id.example.com", "aud": "https://api.example.com", "sub": "alice", "client_id": "app",
//!     "jti": "1", "iat": 1_700_000_000, "exp": 1_700_000_300, "cnf": binding.cnf(),
//! });
//! let input = [r#"{"typ":"at+jwt","alg":"ES256"}"#, &claims.to_string()].map(|part| encode_base64url(part.as_bytes())).join(".");
//! let token = [&*input, &encode_base64url(&own.sign(input.as_bytes())?)].join(".");
//!
//! // The client calls the API, with a proof for this very request.
//! let target = TargetUri::parse("https://api.example.com/orders")?;
//! let credentials = Credentials::new(&token)?;
//! let call = Attempt::at_resource(&Method::GET, permitted(&target, PlainHttp::Never)?, &credentials);
//! let mut fields = HeaderMap::new();
//! call.prove(&prover, &servers, random_array()?, now).sign(&key)?.apply(&mut fields);
//!
//! // The resource server checks both, and admits it once.
//! let mut request = Request::get("/orders").header("host", "api.example.com").body(())?;
//! request.headers_mut().extend(fields);
//! let (parts, ()) = request.into_parts();
//! let (verifier, used) = (verifier()?, store()?);
//! let origin: Origin = "https://api.example.com".parse()?;
//! let jwks = format!(r#"{{"keys":[{}]}}"#, own.public_jwk().to_json());
//! let keys = KeySet::read_strictly(jwks.as_bytes(), &AwsLc, AlgSet::ALL)?;
//! let policy = TokenPolicy::new("https://id.example.com", ["https://api.example.com"]);
//! let decide = || {
//!     let Presented::Dpop(request) = Presented::read(&parts, &origin)? else { panic!("the scheme is DPoP") };
//!     let proof = verifier.verify(&request, used.epoch(), now)?;
//!     let (facts, _) = SignedJwt::parse(request.access_token())?.verify(&keys)?;
//!     let bound = proof.bind(facts.judge(&policy, now)?)?;
//!     let seen = used.record_now(&bound.replay_entry(), now).expect("there is room");
//!     bound.admit(seen)
//! };
//! assert_eq!(decide()?.subject(), "alice");
//! assert_eq!(decide().unwrap_err().reason(), Reason::ReplaySeen);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects
    )
)]

pub mod authorization_server;
pub mod challenge;
pub mod client;
pub mod crypto;
pub mod jwk;
pub mod jws;
pub mod nonce;
pub mod proof;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod time;
pub mod token;
pub mod verify;
