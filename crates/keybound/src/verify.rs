//! The checks of RFC 9449 section 4.3, in the precedence of R-ERR-20. A [`VerifiedProof`] has no other origin.

mod check;
mod known;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use http::Method;

use self::check::{Checking, Freshness};
pub use self::check::{Examination, Finding};
use self::known::{KnownHeader, KnownHeaders};
use crate::crypto::{AlgSet, Crypto};
use crate::jwk::Thumbprint;
use crate::nonce::{NODE_SKEW, Nonce, NonceSource, Purpose, Role};
use crate::proof::{ParsedProof, SplitProof};
use crate::refusal::Refusal;
use crate::replay::{Epoch, ReplayEntry};
use crate::request::{ProofField, ResourceRequest, TargetUri};
use crate::time::UnixTime;

/// The longest future allowance anybody may configure: the barrier counts on it (R-PRF-36).
pub const FUTURE_CAP: Duration = Duration::from_secs(60);

/// How far from now the `iat` of a proof may be whose time is told by its nonce.
const IAT_WITH_NONCE: Duration = Duration::from_secs(24 * 60 * 60);

/// When a nonce is asked for. Nonces exist under every policy: they are the way out at a barrier.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoncePolicy {
    /// Only at a barrier; elsewhere a `nonce` claim is ignored.
    Off,
    /// Given with answers, demanded of a proof outside the window and at a barrier, judged wherever one is sent.
    Offer,
    /// Demanded of every proof.
    Require,
}

/// What is wrong with the settings of a [`Verifier`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No algorithm is allowed.
    NoAlgorithm,
    /// `max_age` is zero or more than a day.
    MaxAge,
    /// `max_future` is more than [`FUTURE_CAP`].
    MaxFuture,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAlgorithm => "no signature algorithm is allowed",
            Self::MaxAge => "the age limit of proofs is between one second and one day",
            Self::MaxFuture => "proofs from more than 60 seconds ahead are never accepted",
        })
    }
}

impl core::error::Error for ConfigError {}

/// Settings of a [`Verifier`]: what has no safe default is an argument of [`Verifier::builder`], the rest has one.
#[derive(Clone, Debug)]
#[must_use]
pub struct VerifierBuilder {
    crypto: Arc<dyn Crypto>,
    nonces: Arc<dyn NonceSource>,
    policy: NoncePolicy,
    algs: AlgSet,
    max_age: Duration,
    max_future: Duration,
    iat_with_nonce: Option<Duration>,
    known_headers: usize,
}

impl VerifierBuilder {
    /// The algorithms accepted and advertised; all of them unless set.
    pub const fn algorithms(mut self, algs: AlgSet) -> Self {
        self.algs = algs;
        self
    }

    /// How old a proof may be, in whole seconds; 300 s unless set.
    pub const fn max_age(mut self, limit: Duration) -> Self {
        self.max_age = limit;
        self
    }

    /// How far ahead a proof may be, in whole seconds; 60 s unless set, which is also the most.
    pub const fn max_future(mut self, limit: Duration) -> Self {
        self.max_future = limit;
        self
    }

    /// When a nonce is asked for; [`NoncePolicy::Offer`] unless set.
    pub const fn nonce_policy(mut self, policy: NoncePolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Holds `iat` to the window even where a nonce tells the time, as the FAPI profile wants; otherwise a day of
    /// difference passes then, so that a client with a wrong clock recovers.
    pub const fn iat_always_in_window(mut self) -> Self {
        self.iat_with_nonce = None;
        self
    }

    /// How many header segments of returning clients are remembered; 8192 unless set, 0 for none. Each costs about 2 KiB.
    pub const fn known_headers(mut self, most: usize) -> Self {
        self.known_headers = most;
        self
    }

    /// The verifier.
    ///
    /// # Errors
    ///
    /// [`ConfigError`].
    pub fn build(self) -> Result<Verifier, ConfigError> {
        if self.algs.is_empty() {
            return Err(ConfigError::NoAlgorithm);
        }
        if self.max_age < Duration::from_secs(1) || self.max_age > IAT_WITH_NONCE {
            return Err(ConfigError::MaxAge);
        }
        if self.max_future > FUTURE_CAP {
            return Err(ConfigError::MaxFuture);
        }
        let known = Arc::new(KnownHeaders::new(self.known_headers));
        Ok(Verifier { settings: self, known })
    }
}

/// Verifies proofs, for a resource server and for an authorization server.
///
/// It reads no clock and keeps no record of proofs: `now` and the [`Epoch`] of the replay store are arguments, and what it
/// returns says what to record.
#[derive(Debug)]
pub struct Verifier {
    settings: VerifierBuilder,
    known: Arc<KnownHeaders>,
}

impl Verifier {
    /// Begins the settings: `crypto` checks signatures, `nonces` makes and knows nonces.
    pub fn builder(crypto: Arc<dyn Crypto>, nonces: Arc<dyn NonceSource>) -> VerifierBuilder {
        VerifierBuilder {
            crypto,
            nonces,
            policy: NoncePolicy::Offer,
            algs: AlgSet::ALL,
            max_age: Duration::from_secs(300),
            max_future: Duration::from_secs(60),
            iat_with_nonce: Some(IAT_WITH_NONCE),
            known_headers: 8192,
        }
    }

    /// The algorithms accepted: what to advertise in `algs` and in metadata (R-RS-27).
    pub const fn algorithms(&self) -> AlgSet {
        self.settings.algs
    }

    /// For how long a proof has to be kept at most: one whose `iat` is in the window, and one with a nonce, whose `iat` may be further
    /// ahead.
    pub fn kept(&self) -> (Duration, Duration) {
        let settings = &self.settings;
        let age = settings.max_age.max(settings.nonces.lifetime());
        let ahead = settings.max_future.max(NODE_SKEW);
        let near = [ahead, NODE_SKEW, Duration::from_secs(1)].into_iter().fold(age, Duration::saturating_add);
        (near, near.saturating_add(settings.iat_with_nonce.unwrap_or_default()))
    }

    /// When a nonce is asked for.
    pub const fn nonce_policy(&self) -> NoncePolicy {
        self.settings.policy
    }

    /// The same with another nonce policy, for some of the targets of one server. What is known of returning clients is shared.
    ///
    /// # Security
    ///
    /// Each target needs one policy at a time: how long a used proof is kept follows from it. To change it, begin an [`Epoch`].
    #[must_use]
    pub fn with_nonce_policy(&self, policy: NoncePolicy) -> Self {
        let settings = self.settings.clone().nonce_policy(policy);
        Self { settings, known: Arc::clone(&self.known) }
    }

    /// Verifies the proof of a request to a protected resource: form, algorithm, key, signature, method, URI, nonce, time,
    /// and that `ath` is this very token.
    ///
    /// It does not look at the token itself, its binding or replays: go on with [`VerifiedProof::bind`].
    ///
    /// # Errors
    ///
    /// The first reason in the precedence of R-ERR-20.
    pub fn verify<'r>(
        &self,
        request: &ResourceRequest<'r>,
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<VerifiedProof<'r>, Refusal> {
        self.verify_request(request, Recorder::Here, epoch, now)
    }

    /// As [`Verifier::verify`], for a proof that a service behind judges too and records: [`BoundToken::admit`] does not
    /// admit it, only [`BoundToken::danger_admit_unrecorded`] does.
    ///
    /// A nonce in it is that service's, which alone knows it: none is demanded or judged here, and none is due. No barrier
    /// stands, for nothing was ever recorded here. So the time is that of `iat`, inside the window.
    ///
    /// # Errors
    ///
    /// As [`Verifier::verify`], less those of nonces.
    ///
    /// [`BoundToken::admit`]: crate::token::BoundToken::admit
    /// [`BoundToken::danger_admit_unrecorded`]: crate::token::BoundToken::danger_admit_unrecorded
    pub fn verify_for_upstream<'r>(
        &self,
        request: &ResourceRequest<'r>,
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<VerifiedProof<'r>, Refusal> {
        self.verify_request(request, Recorder::Upstream, epoch, now)
    }

    fn verify_request<'r>(
        &self,
        request: &ResourceRequest<'r>,
        recorder: Recorder,
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<VerifiedProof<'r>, Refusal> {
        let ath = request.token.hash();
        let purpose = Purpose::new(Role::ResourceServer, request.origin.as_str(), epoch.id());
        let expected = Expected { method: request.method, target: &request.target, ath: Some(ath), purpose, recorder };
        self.verify_field(request.proof, &expected, epoch, now)
    }

    /// A new nonce for clients of this origin in this role.
    pub fn issue_nonce(&self, role: Role, origin: &str, epoch: Epoch, now: UnixTime) -> Nonce {
        self.settings.nonces.issue(Purpose::new(role, origin, epoch.id()), now)
    }

    /// Remembers what was learnt from the header of a proof, for the client's next ones; of a key that comes for the first
    /// time, only that it came. To be called once its request is admitted: a stranger, who can sign a good proof with a fresh
    /// key, is never remembered.
    pub fn remember(&self, proof: &VerifiedProof<'_>) {
        if let Some(segment) = proof.new_header {
            self.known.insert(segment, &proof.key);
        }
    }

    /// Runs every check of a parsed proof whatever the others say, for a person to read. It returns no [`VerifiedProof`]: it
    /// admits nobody. Without an access token, `ath` is not looked at.
    pub fn examine(
        &self,
        proof: &ParsedProof<'_>,
        method: &Method,
        target: &TargetUri,
        token: Option<crate::request::AccessToken<'_>>,
        epoch: Epoch,
        now: UnixTime,
    ) -> Examination {
        let purpose = Purpose::new(Role::ResourceServer, target.origin(), epoch.id());
        let ath = token.map(|token| token.hash());
        let expected = Expected { method, target, ath, purpose, recorder: Recorder::Here };
        Checking::new(self, proof, &expected, epoch, now).examine()
    }

    pub(crate) fn verify_field<'r>(
        &self,
        field: ProofField<'r>,
        expected: &Expected<'_>,
        epoch: Epoch,
        now: UnixTime,
    ) -> Result<VerifiedProof<'r>, Refusal> {
        let split = SplitProof::split(field)?;
        let header_segment = split.header_segment();
        let known = self.known.get(header_segment);
        let proof = match &known {
            Some(known) => split.with_header(|| known.header.clone())?,
            None => ParsedProof::parse_split(split)?,
        };
        let new_header = known.is_none().then_some(header_segment);
        let mut checking = Checking::new(self, &proof, expected, epoch, now);
        checking.key = known;
        checking.run()?;
        let Checking { key: Some(key), freshness: Some(freshness), .. } = checking else {
            return Err(crate::refusal::Reason::SignatureInvalid.into());
        };
        let offset = i64::try_from(freshness.iat.as_secs())
            .unwrap_or(i64::MAX)
            .saturating_sub(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
        Ok(VerifiedProof {
            jti: proof.claims.jti?,
            htu: proof
                .claims
                .htu
                .ok()
                .filter(|htu| **htu == *expected.target.as_str())
                .unwrap_or_else(|| expected.target.as_str().into()),
            new_header,
            key,
            recorder: expected.recorder,
            epoch,
            expires: self.expires(&freshness),
            nonce_due: freshness.nonce_due,
            iat_offset: offset,
        })
    }

    /// The last second in which the proof could be accepted, by its own time and never by that of its arrival, and what
    /// clocks of nodes may differ by (R-SEC-03).
    fn expires(&self, freshness: &Freshness) -> UnixTime {
        let by_iat = freshness.iat.plus(self.settings.max_age);
        let by_nonce = freshness.nonce_issued.map(|issued| issued.plus(self.settings.nonces.lifetime()));
        by_iat.max(by_nonce.unwrap_or(by_iat)).plus(NODE_SKEW).plus(Duration::from_secs(1))
    }
}

/// What a proof must speak about.
pub(crate) struct Expected<'e> {
    pub(crate) method: &'e Method,
    pub(crate) target: &'e TargetUri,
    /// The hash of the access token that came along; an authorization server ignores `ath`.
    pub(crate) ath: Option<[u8; 32]>,
    pub(crate) purpose: Purpose<'e>,
    pub(crate) recorder: Recorder,
}

/// Who remembers that a proof was used, and so whose nonces count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recorder {
    Here,
    Upstream,
}

/// A proof that passed (1) to (11) of RFC 9449 section 4.3 and, at a resource, the first half of (12). It grants nothing by
/// itself (R-SEC-10), and a stranger with a key of their own can make one.
#[must_use = "a verified proof is not yet an admission"]
pub struct VerifiedProof<'r> {
    jti: Box<str>,
    /// The target in normal form.
    htu: Box<str>,
    /// The header segment, unless it is remembered already.
    new_header: Option<&'r str>,
    key: Arc<KnownHeader>,
    recorder: Recorder,
    epoch: Epoch,
    expires: UnixTime,
    nonce_due: bool,
    iat_offset: i64,
}

impl VerifiedProof<'_> {
    /// The thumbprint of the key that signed.
    pub fn jkt(&self) -> &Thumbprint {
        &self.key.jkt
    }

    /// The `jti`, at most 256 octets.
    pub fn jti(&self) -> &str {
        &self.jti
    }

    /// Whether the answer, whatever it is, should bring a new nonce (R-NONCE-10).
    pub const fn nonce_due(&self) -> bool {
        self.nonce_due
    }

    /// By how many seconds `iat` is ahead of now; negative for the past.
    pub const fn iat_offset(&self) -> i64 {
        self.iat_offset
    }

    /// Whether a record of it says anything: where another service records it, nobody looked at nonce and barrier here.
    pub(crate) fn is_recorded_here(&self) -> bool {
        self.recorder == Recorder::Here
    }

    pub(crate) fn replay_entry(&self) -> ReplayEntry<'_> {
        ReplayEntry::new(*self.jkt(), &self.jti, &self.htu, self.epoch, self.expires)
    }
}

impl fmt::Debug for VerifiedProof<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedProof").field("jkt", self.jkt()).field("htu", &self.htu).finish_non_exhaustive()
    }
}
