//! The whole decision about one request: proof, token, binding, scope, and last of all the replay record.

mod builder;

use core::fmt;
use std::sync::Arc;

use http::request::Parts;
use keybound::challenge::Challenges;
use keybound::nonce::Role;
use keybound::refusal::{Denial, Reason};
use keybound::replay::{Epoch, ReplayStore, Seen};
use keybound::request::{AccessToken, Origin, Origins, Presented, ResourceRequest};
use keybound::verify::Verifier;

pub use self::builder::{ConfigError, ConfigErrors, ResourceServerBuilder};
use crate::answer::Form;
use crate::judgement::{Access, Findings, Judgement};
use crate::policy::{Mode, Policy, ProofHandling};
use crate::tokens::{KeyState, Resolved, Tokens};
use crate::{Clock, tokens};

/// A resource server: everything the decision about a request needs. Clones share it.
///
/// ```
/// use std::sync::Arc;
///
/// use keybound::crypto::aws_lc::{AwsLc, random_array};
/// use keybound::nonce::{NonceKey, StatelessNonces};
/// use keybound::replay::memory::{MemoryLimits, MemoryStore};
/// use keybound::replay::Epoch;
/// use keybound::request::Origins;
/// use keybound::token::TokenPolicy;
/// use keybound::token::jwt::KeySet;
/// use keybound::verify::Verifier;
/// use keybound_tower::{Clock, ResourceServer, SystemClock};
///
/// # fn server(keys: KeySet) -> Result<(), Box<dyn std::error::Error>> {
/// let nonces = StatelessNonces::new(NonceKey::new(1, random_array()?));
/// let verifier = Verifier::builder(Arc::new(AwsLc), Arc::new(nonces)).build()?;
/// let origins = Origins::new(vec!["https://api.example.com".parse()?])?;
/// let epoch = Epoch::new(u64::from_ne_bytes(random_array()?), SystemClock::new().now());
/// let replays = MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?;
///
/// let policy = TokenPolicy::new("https://id.example.com", ["https://api.example.com"]);
/// let server = ResourceServer::builder(verifier, origins, replays)
///     .issuer(policy, keys)
///     .build()?;
/// # let _ = server;
/// # Ok(())
/// # }
/// ```
pub struct ResourceServer<S> {
    inner: Arc<Inner<S>>,
}

struct Inner<S> {
    verifier: Arc<Verifier>,
    origins: Origins,
    tokens: Tokens,
    replays: Arc<S>,
    clock: Arc<dyn Clock>,
    challenges: Challenges,
}

impl<S: ReplayStore> ResourceServer<S> {
    /// Begins the settings. `origins` are what clients aim at, whatever `Host` says.
    pub fn builder(
        verifier: impl Into<Arc<Verifier>>,
        origins: Origins,
        replays: impl Into<Arc<S>>,
    ) -> ResourceServerBuilder<S> {
        ResourceServerBuilder::new(verifier.into(), origins, replays.into())
    }

    /// The origins that clients aim at: [`Origins::choose`] says which one a request came to.
    pub fn origins(&self) -> &Origins {
        &self.inner.origins
    }

    /// The verifier of proofs.
    pub fn verifier(&self) -> &Verifier {
        &self.inner.verifier
    }

    /// The replay store.
    pub fn replays(&self) -> &S {
        &self.inner.replays
    }

    /// Begins to fetch the keys of every issuer in the background, so that the first request need not wait for them.
    pub fn prefetch(&self) {
        for issuer in self.inner.tokens.issuers() {
            issuer.voucher.prefetch(&self.inner.clock);
        }
    }

    /// How it stands with the keys of every issuer. Nobody is asked for it.
    pub fn key_states(&self) -> Vec<KeyState> {
        self.inner.tokens.key_states(&self.inner.clock)
    }

    /// Decides about a request at `origin`: reads the credentials, verifies the proof, resolves the token, binds it to the
    /// key of the proof, looks at scopes, and records the proof when all else has passed (R-ERR-20).
    ///
    /// The body is not looked at: a form with a token in it is for the caller to refuse
    /// ([`announces_form`](keybound::request::announces_form), [`FormScan`](keybound::request::FormScan)).
    ///
    /// A proof is recorded at the last await. A caller that drops this future before its end may have spent the proof.
    pub async fn decide(&self, parts: &Parts, origin: &Origin, policy: &Policy) -> Judgement {
        let mut findings = Findings::default();
        let mut extras = Extras::default();
        let result = self.examine(parts, origin, policy, &mut findings, &mut extras).await;
        let demanded = matches!(&result, Err(Denial::Refused(refusal)) if refusal.demands_nonce());
        // The epoch may have changed meanwhile: the nonce is of the one that is in force now.
        let nonce = (extras.nonce_due || demanded).then(|| {
            self.inner.verifier.issue_nonce(
                Role::ResourceServer,
                origin.as_str(),
                self.inner.replays.epoch(),
                self.inner.clock.now(),
            )
        });
        Judgement {
            result,
            scheme: Presented::scheme(&parts.headers),
            form: Form::wanted(&parts.headers),
            nonce,
            retry_after: extras.retry_after,
            findings,
        }
    }

    /// Finds out whose token came with a request that was denied before anybody looked at it: for whoever denies nobody and
    /// counts by client. It may ask the issuer, and remembers nothing.
    pub async fn name_client(&self, parts: &Parts, mut judgement: Judgement) -> Judgement {
        if judgement.result.is_err()
            && judgement.findings.facts.is_none()
            && let Some(token) = Presented::token_of(&parts.headers)
        {
            judgement.findings.facts = self.inner.tokens.facts(token, &self.inner.clock).await.ok(); // I/O
        }
        judgement
    }

    async fn examine(
        &self,
        parts: &Parts,
        origin: &Origin,
        policy: &Policy,
        findings: &mut Findings,
        extras: &mut Extras,
    ) -> Result<Access, Denial> {
        match Presented::read(parts, origin)? {
            Presented::Dpop(request) => self.bound(&request, policy, findings, extras).await.map(Access::Bound),
            Presented::Bearer(token) => self.bearer(token, policy, findings).await,
            _ => Err(Reason::CredentialsMissing.into()),
        }
    }

    async fn bound(
        &self,
        request: &ResourceRequest<'_>,
        policy: &Policy,
        findings: &mut Findings,
        extras: &mut Extras,
    ) -> Result<keybound::token::Admission, Denial> {
        let Inner { verifier, replays, clock, .. } = &*self.inner;
        let epoch: Epoch = replays.epoch();
        let proof = match policy.proof_handling() {
            ProofHandling::Consume => verifier.verify(request, epoch, clock.now())?,
            ProofHandling::Check => verifier.verify_for_upstream(request, epoch, clock.now())?,
        };
        findings.jkt = Some(*proof.jkt());
        findings.iat_offset = Some(proof.iat_offset());
        extras.nonce_due = proof.nonce_due();

        let (token, unremembered) = self.resolve(request.access_token(), policy, findings).await?; // I/O
        let bound = proof.bind(token)?.require_scope(policy.scopes())?;
        let seen = match policy.proof_handling() {
            ProofHandling::Check => None,
            ProofHandling::Consume => Some(replays.record(&bound.replay_entry(), clock.now()).await?), // I/O
        };
        match seen {
            Some(Seen::OverQuota { retry_after }) => extras.retry_after = Some(retry_after),
            None | Some(Seen::Never) => {
                verifier.remember(bound.proof());
                self.inner.tokens.remember(unremembered);
            }
            _ => {}
        }
        match seen {
            Some(seen) => Ok(bound.admit(seen)?),
            None => Ok(bound.danger_admit_unrecorded()),
        }
    }

    /// The token is resolved where bearer tokens are not served as well, so that the answer names the true reason.
    async fn bearer(&self, token: AccessToken<'_>, policy: &Policy, findings: &mut Findings) -> Result<Access, Denial> {
        let (token, unremembered) = self.resolve(token, policy, findings).await?; // I/O
        let token = token.as_bearer()?;
        if policy.mode() != Mode::Optional {
            return Err(Reason::TokenUnbound.into());
        }
        let token = token.require_scope(policy.scopes())?;
        self.inner.tokens.remember(unremembered);
        Ok(Access::Bearer(token))
    }

    async fn resolve(
        &self,
        token: AccessToken<'_>,
        policy: &Policy,
        findings: &mut Findings,
    ) -> Result<(keybound::token::ValidToken, tokens::Unremembered), Denial> {
        let resolved: Resolved = self.inner.tokens.resolve(token, policy, &self.inner.clock).await?;
        let facts = resolved.token.facts();
        findings.facts = Some(Arc::clone(facts));
        if !policy.serves(facts.claims()) {
            return Err(Reason::TokenAudience.into());
        }
        Ok(resolved.split())
    }
}

impl<S> ResourceServer<S> {
    pub(crate) fn challenges(&self) -> &Challenges {
        &self.inner.challenges
    }
}

/// What goes along with the answer.
#[derive(Default)]
struct Extras {
    nonce_due: bool,
    retry_after: Option<u32>,
}

impl<S> Clone for ResourceServer<S> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<S> fmt::Debug for ResourceServer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer")
            .field("origins", &self.inner.origins)
            .field("issuers", &self.inner.tokens.issuers())
            .finish_non_exhaustive()
    }
}
