//! One request and at most one retry: what to send, and what the response means. A second retry cannot be written.

use core::convert::Infallible;
use core::fmt;
use core::marker::PhantomData;
use core::str::FromStr as _;

use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::prover::{Credentials, Proof, ProofClaims, Prover, UnsignedProof};
use super::rules::Permitted;
use super::servers::ServerMemory;
use crate::challenge::{DPOP, DpopChallenge, ErrorCode, NonceField};
use crate::crypto::{Signer, SigningFailed};
use crate::jws::json::{Object, Value};
use crate::nonce::{Nonce, Role};
use crate::time::UnixTime;

/// The first try of a request.
#[derive(Debug)]
#[non_exhaustive]
pub struct First;

/// The one retry after a nonce was demanded.
#[derive(Debug)]
#[non_exhaustive]
pub struct Retry;

/// What is sent in each try alike.
#[derive(Debug)]
struct Request<'r> {
    method: &'r Method,
    target: Permitted<'r>,
    credentials: Option<&'r Credentials>,
    role: Role,
}

impl Request<'_> {
    fn origin(&self) -> &str {
        self.target.target().origin()
    }
}

/// One try of one request, which has no proof yet. The example of the [module](super) shows its whole way.
///
/// There is one way to a second try, and none to a third:
///
/// ```compile_fail,E0308
/// # use keybound::client::*;
/// fn again(sent: Sent<'_, Retry>, servers: &ServerMemory, answer: Answer<'_>, now: keybound::time::UnixTime) {
///     if let Verdict::RetryOnce(attempt) = sent.learn(servers, answer, now) {
///         let _: Attempt<'_, Retry> = attempt;
///     }
/// }
/// ```
#[derive(Debug)]
#[must_use = "an attempt does nothing until it is proved and sent"]
pub struct Attempt<'r, T = First> {
    request: Request<'r>,
    /// The nonce that was demanded, should the memory have forgotten it by the time of the retry.
    demanded: Option<Nonce>,
    turn: PhantomData<T>,
}

impl<'r> Attempt<'r, First> {
    /// A request to a protected resource, with an access token.
    pub const fn at_resource(method: &'r Method, target: Permitted<'r>, credentials: &'r Credentials) -> Self {
        Self::first(Request { method, target, credentials: Some(credentials), role: Role::ResourceServer })
    }

    /// A request to an authorization server, for a token or to push an authorization request; without an access token, so
    /// without `ath` (R-CLI-27).
    pub const fn at_authorization_server(method: &'r Method, target: Permitted<'r>) -> Self {
        Self::first(Request { method, target, credentials: None, role: Role::AuthorizationServer })
    }

    const fn first(request: Request<'r>) -> Self {
        Self { request, demanded: None, turn: PhantomData }
    }
}

impl<'r, T> Attempt<'r, T> {
    /// Writes a new proof, with the newest nonce of the server and the time by its clock. `jti` is 16 octets of a
    /// cryptographic generator; a retry needs other ones.
    pub fn prove<'p>(
        self,
        prover: &'p Prover,
        servers: &ServerMemory,
        jti: [u8; 16],
        now: UnixTime,
    ) -> Proving<'r, 'p, T> {
        let Request { method, target, credentials, role } = self.request;
        let origin = target.target().origin();
        let nonce = servers.newest(origin, role).or(self.demanded);
        let mut claims = ProofClaims::new(method, target.target(), jti, servers.time_at(origin, now));
        if let Some(credentials) = credentials {
            claims = claims.credentials(credentials);
        }
        if let Some(nonce) = &nonce {
            claims = claims.nonce(nonce);
        }
        Proving { proof: prover.prepare(&claims), request: self.request, turn: PhantomData }
    }
}

/// A try whose proof waits for its signature. For a key that answers slowly, take the octets out and put the signature in.
#[derive(Debug)]
#[must_use = "without a signature it cannot be sent"]
pub struct Proving<'r, 'p, T = First> {
    request: Request<'r>,
    proof: UnsignedProof<'p>,
    turn: PhantomData<T>,
}

impl<'r, T> Proving<'r, '_, T> {
    /// The octets to sign.
    pub fn signing_input(&self) -> &[u8] {
        self.proof.signing_input()
    }

    /// Puts the signature in.
    ///
    /// # Errors
    ///
    /// As [`UnsignedProof::with_signature`].
    pub fn with_signature(self, signature: &[u8]) -> Result<Sent<'r, T>, SigningFailed> {
        Sent::new(self.request, self.proof.with_signature(signature)?)
    }

    /// Signs with a key at hand.
    ///
    /// # Errors
    ///
    /// As [`UnsignedProof::sign`].
    pub fn sign(self, signer: &dyn Signer) -> Result<Sent<'r, T>, SigningFailed> {
        Sent::new(self.request, self.proof.sign(signer)?)
    }
}

/// A try with its proof: to be sent once, and then told of the response.
#[must_use = "send it, then let it learn from the response"]
pub struct Sent<'r, T = First> {
    request: Request<'r>,
    proof: HeaderValue,
    turn: PhantomData<T>,
}

impl<'r, T> Sent<'r, T> {
    fn new(request: Request<'r>, proof: Proof) -> Result<Self, SigningFailed> {
        let mut proof = HeaderValue::try_from(String::from(proof)).map_err(|_| SigningFailed::new("no field value"))?;
        proof.set_sensitive(true);
        Ok(Self { request, proof, turn: PhantomData })
    }

    /// Sets `DPoP`, and at a protected resource `Authorization`, in place of any that are there. Send the request with the
    /// method and to the target of the attempt.
    pub fn apply(&self, headers: &mut HeaderMap) {
        headers.insert(&DPOP, self.proof.clone());
        if let Some(credentials) = self.request.credentials {
            headers.insert(AUTHORIZATION, credentials.field().clone());
        }
    }

    /// Remembers what the response says of its server, and sorts it. `demanded` decides about a demand for a nonce.
    fn sort<R>(
        &self,
        servers: &ServerMemory,
        answer: Answer<'_>,
        now: UnixTime,
        demanded: impl FnOnce(NonceField) -> Verdict<R>,
    ) -> Verdict<R> {
        let field = servers.learn(self.request.origin(), self.request.role, answer.headers, now);
        match answer.error(self.request.role) {
            Some(ErrorCode::UseDpopNonce) => demanded(field),
            Some(ErrorCode::InvalidDpopProof) => Verdict::ProofRefused,
            Some(ErrorCode::InvalidToken) => Verdict::TokenRefused,
            Some(ErrorCode::InsufficientScope) => Verdict::ScopeInsufficient,
            _ => Verdict::Done,
        }
    }
}

impl<'r> Sent<'r, First> {
    /// Learns from the response, whatever it is, and says what is to do.
    pub fn learn(
        self,
        servers: &ServerMemory,
        answer: Answer<'_>,
        replay: Replay,
        now: UnixTime,
    ) -> Verdict<Attempt<'r, Retry>> {
        let verdict = self.sort(servers, answer, now, |field| match (field, replay) {
            (NonceField::One(nonce), Replay::Possible) => Verdict::RetryOnce(nonce),
            (NonceField::One(_), Replay::Impossible) => Verdict::Challenged(NoRetry::BodyGone),
            (NonceField::None, _) => Verdict::Challenged(NoRetry::NonceMissing),
            (NonceField::Several, _) => Verdict::Challenged(NoRetry::NonceSeveral),
            (NonceField::Malformed, _) => Verdict::Challenged(NoRetry::NonceMalformed),
        });
        verdict.map(|nonce| Attempt { request: self.request, demanded: Some(nonce), turn: PhantomData })
    }
}

impl Sent<'_, Retry> {
    /// Learns from the response to the retry. Another demand for a nonce goes to the caller; the nonce is kept for the
    /// next request (R-NONCE-19).
    pub fn learn(self, servers: &ServerMemory, answer: Answer<'_>, now: UnixTime) -> Verdict<Infallible> {
        self.sort(servers, answer, now, |_| Verdict::Challenged(NoRetry::AlreadyRetried))
    }
}

impl<T> fmt::Debug for Sent<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sent").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What a client looks at in a response.
#[derive(Clone, Copy, Debug)]
pub struct Answer<'a> {
    status: StatusCode,
    headers: &'a HeaderMap,
    token_error: Option<ErrorCode>,
}

impl<'a> Answer<'a> {
    /// Status and fields; enough for a protected resource.
    pub const fn new(status: StatusCode, headers: &'a HeaderMap) -> Self {
        Self { status, headers, token_error: None }
    }

    /// The `error` of an authorization server's JSON, where the caller has read it already.
    #[must_use]
    pub const fn token_error(mut self, error: Option<ErrorCode>) -> Self {
        self.token_error = error;
        self
    }

    /// Reads the `error` of an authorization server's body. The caller bounds what it reads of a body; what is not one
    /// strict JSON object has no error.
    #[must_use]
    pub fn token_body(self, body: &[u8]) -> Self {
        let error = Object::parse(body).ok().and_then(|object| {
            object.get("error").and_then(Value::as_str).and_then(|error| ErrorCode::from_str(error).ok())
        });
        self.token_error(error)
    }

    /// The error, where it stands for this role: an error elsewhere, or under another status, is not acted on (R-ERR-22).
    fn error(&self, role: Role) -> Option<ErrorCode> {
        let at_resource = || DpopChallenge::find(self.headers).and_then(|challenge| challenge.error());
        match (role, self.status) {
            (Role::AuthorizationServer, StatusCode::BAD_REQUEST) => {
                self.token_error.filter(|error| matches!(error, ErrorCode::UseDpopNonce | ErrorCode::InvalidDpopProof))
            }
            (Role::AuthorizationServer, _) => None,
            (Role::ResourceServer, StatusCode::UNAUTHORIZED) => {
                at_resource().filter(|error| *error != ErrorCode::InsufficientScope)
            }
            (Role::ResourceServer, StatusCode::FORBIDDEN) => {
                at_resource().filter(|error| *error == ErrorCode::InsufficientScope)
            }
            (Role::ResourceServer, _) => None,
        }
    }
}

/// Whether the body of the request can be sent again from its start (R-CLI-17).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Replay {
    /// It can, or there is none.
    Possible,
    /// It is gone: it was a stream.
    Impossible,
}

/// What a response means for the client.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "a demand for a nonce is answered by a retry"]
pub enum Verdict<R> {
    /// Nothing that this protocol has to do with: the response is the caller's.
    Done,
    /// The server wants a nonce and gave one: prove this and send the request again.
    RetryOnce(R),
    /// The server wants a nonce, and there is no retry.
    Challenged(NoRetry),
    /// `invalid_token`: refresh it once, and make a new attempt with the new one (R-CLI-16).
    TokenRefused,
    /// `invalid_dpop_proof`: something is wrong with the proof or the clock; to be reported, not retried blindly.
    ProofRefused,
    /// `insufficient_scope`: the token is good and not enough.
    ScopeInsufficient,
}

impl<R> Verdict<R> {
    fn map<S>(self, retry: impl FnOnce(R) -> S) -> Verdict<S> {
        match self {
            Self::Done => Verdict::Done,
            Self::RetryOnce(inner) => Verdict::RetryOnce(retry(inner)),
            Self::Challenged(why) => Verdict::Challenged(why),
            Self::TokenRefused => Verdict::TokenRefused,
            Self::ProofRefused => Verdict::ProofRefused,
            Self::ScopeInsufficient => Verdict::ScopeInsufficient,
        }
    }
}

/// Why a demand for a nonce is not answered by a retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoRetry {
    /// This was the retry.
    AlreadyRetried,
    /// The body cannot be sent again.
    BodyGone,
    /// The response has no nonce.
    NonceMissing,
    /// The response has several.
    NonceSeveral,
    /// What it has is no nonce, or is too long.
    NonceMalformed,
}

impl fmt::Display for NoRetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AlreadyRetried => "the server demanded a nonce again after the retry",
            Self::BodyGone => "the server demanded a nonce, and the request body cannot be sent again",
            Self::NonceMissing => "the server demanded a nonce and gave none",
            Self::NonceSeveral => "the server demanded a nonce and gave several",
            Self::NonceMalformed => "the server demanded a nonce and gave a malformed one",
        })
    }
}

impl core::error::Error for NoRetry {}
