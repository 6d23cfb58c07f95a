//! From a configuration to the parts that decide: one verifier, one replay memory, the keys of every issuer, and the embedded
//! issuer. Everything that can be wrong is said here, before the first request.

mod barrier;
mod issuer;
mod records;
mod replays;
mod shared_ring;

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::SystemTime;

use keybound::crypto::aws_lc::{AwsLc, SoftwareKey, random_array};
use keybound::nonce::{NonceKey, NonceRing};
use keybound::replay::Epoch;
use keybound::request::{Origin, Origins};
use keybound::time::UnixTime;
use keybound::token::TokenPolicy;
use keybound::verify::{self, Verifier};
use keybound_issuer::audit::Audit;
use keybound_issuer::store::Store;
use keybound_issuer::{Issuer, Keys};
use keybound_tower::fetch::HttpFetch;
use keybound_tower::introspection::{HttpAsk, Introspection};
use keybound_tower::{
    DiscoveredKeys, FixedKeys, IssuerKeys, Policy, ProofHandling, ResourceServer, RingNonces, Voucher,
};

pub use self::issuer::{IssuerAlone, administration, administration_or_new, administration_with_keys, stored_keys};
use self::issuer::{Parts, embedded_issuer, issuer_audit, issuer_store, key_of_file, signing_keys};
use self::records::{Generation, Records};
pub use self::replays::{Replays, Standing};
pub use self::shared_ring::RingStanding;
use crate::attestation::{self, Attestor};
use crate::config::{self, Config, IatWithNonce, KeySource, Mode, NoncePolicy};
use crate::health::{self, Address};
use crate::metadata::{Accepted, Resource};
use crate::nonce_ring::Watched;
use crate::observe::{Meter, Observe, Terms};
use crate::passage::Lenient;

/// A configuration that could not be put to work, in words for its author: a line for each mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EngineError(String);

impl EngineError {
    pub(crate) fn new(what: &str, why: impl fmt::Display) -> Self {
        Self(format!("{what}: {why}"))
    }
}

impl fmt::Display for EngineError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl core::error::Error for EngineError {}

/// What all workers share, of one configuration.
#[derive(Debug)]
pub struct Engine {
    pub(crate) server: ResourceServer<Records<Replays>>,
    /// Of its windows: who has another records nothing.
    generation: u64,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) config: Config,
    /// By origin, then by route.
    pub(crate) policies: Vec<Vec<Policy>>,
    pub(crate) resources: Vec<Resource>,
    /// If any route has statements for its upstream.
    pub(crate) attestor: Option<Attestor>,
    /// How servers that read paths in another way understand the routes.
    pub(crate) lenient: Lenient,
    /// One for each route.
    pub(crate) meters: Vec<Arc<Meter>>,
    /// By route: where its requests go.
    pub(crate) upstreams: Vec<Vec<Arc<Address>>>,
    /// For what the embedded issuer answers.
    pub(crate) issuer_meter: Arc<Meter>,
    /// At which of the declared origins the embedded issuer lives.
    pub(crate) issuer_at: Option<usize>,
    /// Where it lives, if that is none of them.
    pub(crate) issuer_origin: Option<Origins>,
    discovered: Vec<(config::Issuer, DiscoveredKeys)>,
    /// What the file of the embedded issuer's key holds since it is read again.
    next_key: Option<SoftwareKey>,
    lasting: Lasting,
}

/// What outlives a configuration.
#[derive(Clone, Debug)]
struct Lasting {
    store: Arc<Replays>,
    generation: Generation,
    nonces: RingNonces,
    issuer_keys: Option<Keys>,
    attestation_keys: Option<attestation::Keys>,
    /// Of the embedded issuer: its codes, tokens and clients.
    issuer_store: Option<Arc<dyn Store>>,
    /// Where it notes what happens, and counts it.
    issuer_audit: Option<Audit>,
    observe: Arc<Observe>,
}

impl Lasting {
    fn new(config: &Config, telemetry: Option<&config::Telemetry>) -> Result<Self, EngineError> {
        let store = Arc::new(Replays::open(config)?);
        let observe = Observe::new(telemetry).map_err(|error| EngineError::new("telemetry", error))?;
        let nonces = nonces(config, &store)?;
        let generation = Generation::default();
        Ok(Self {
            store,
            generation,
            nonces,
            issuer_keys: None,
            attestation_keys: None,
            issuer_store: None,
            issuer_audit: None,
            observe,
        })
    }
}

impl Engine {
    /// Puts a configuration to work. Keys that are fetched are not waited for: an issuer that is down is asked again, and
    /// its tokens are answered with 503 until then.
    ///
    /// # Errors
    ///
    /// What cannot be had: a key file, a policy that contradicts itself, random numbers.
    pub fn new(config: Config) -> Result<Self, EngineError> {
        let lasting = Lasting::new(&config, config.telemetry.as_ref())?;
        Self::build(config, lasting, &[], 0)
    }

    /// The memory of used proofs. It outlives the engine.
    pub fn replays(&self) -> &Replays {
        &self.lasting.store
    }

    /// Takes over the nonce ring from its file, if that has changed.
    pub(crate) fn look_at_ring(&self, watched: &mut Watched) {
        look_at_ring(&self.config, watched, &self.lasting.nonces);
    }

    /// Where its requests are counted, and those of every engine before and after it.
    pub fn observe(&self) -> &Arc<Observe> {
        &self.lasting.observe
    }

    /// The engine of another configuration, which takes over replay memory, nonce key, the embedded issuer's keys, what was
    /// fetched from the same issuers and what is known of the same upstreams. What was remembered of tokens ends with this one.
    ///
    /// Nothing has changed until [`Successor::take_over`].
    pub(crate) fn successor(&self, config: Config) -> Result<Successor, EngineError> {
        let barrier = barrier::is_due(&self.config, &config).then(random_epoch).transpose()?;
        let generation = self.generation + u64::from(barrier.is_some());
        let mut engine = Self::build(config, self.lasting.clone(), &self.discovered, generation)?;
        engine.upstreams = health::addresses(&engine.config.routes, &self.upstreams);
        Ok(Successor { engine, barrier })
    }

    fn build(
        config: Config,
        mut lasting: Lasting,
        earlier: &[(config::Issuer, DiscoveredKeys)],
        generation: u64,
    ) -> Result<Self, EngineError> {
        let origins = config.origins.iter().map(|origin| origin.as_str().parse());
        let origins = origins.collect::<Result<Vec<_>, _>>().map_err(|error| EngineError::new("origin", error))?;
        let origins = Origins::new(origins).map_err(|error| EngineError::new("origin", error))?;
        let nonces = lasting.nonces.lives(config.proof.nonce_lifetime);
        let records = Arc::new(Records::new(Arc::clone(&lasting.store), Arc::clone(&lasting.generation), generation));
        let kept = lasting.issuer_keys.take();
        let mut next_key = None;
        let issuer = match &config.authorization_server {
            Some(settings) => {
                let store = lasting.issuer_store.take().map_or_else(|| issuer_store(settings), Ok)?;
                lasting.issuer_store = Some(Arc::clone(&store));
                let audit = lasting.issuer_audit.take().map_or_else(|| issuer_audit(settings), Ok)?;
                lasting.issuer_audit = Some(audit.clone());
                let keys = match kept {
                    Some(keys) => {
                        next_key = key_of_file(settings)?;
                        keys
                    }
                    None => signing_keys(settings, &store, &audit)?,
                };
                lasting.issuer_keys = Some(keys.clone());
                let parts = Parts { keys, store, audit };
                Some(embedded_issuer(settings, &config, nonces.clone(), Arc::clone(&records), parts)?)
            }
            None => None,
        };
        let attestor = attests(&config).then(|| attestor(&config, &mut lasting)).transpose()?;
        let mut builder = ResourceServer::builder(verifier(&config.proof, nonces)?, origins, records);
        let mut mistakes = Vec::new();
        let mut discovered = Vec::new();
        for accepted in &config.issuers {
            let policy = TokenPolicy::new(accepted.url.as_str(), accepted.audience.iter().map(String::as_str));
            let keys = accepted.needs_keys().then(|| keys_of(accepted, earlier, &lasting.observe)).transpose();
            match keys.and_then(|keys| Ok((voucher(accepted, keys.clone(), &lasting.observe)?, keys))) {
                Ok((voucher, keys)) => {
                    if let Some(IssuerKeys::Discovered(keys)) = keys {
                        discovered.push((accepted.clone(), keys));
                    }
                    builder = builder.issuer(policy, voucher);
                }
                Err(EngineError(mistake)) => mistakes.push(mistake),
            }
        }
        if !mistakes.is_empty() {
            return Err(EngineError(mistakes.join("\n")));
        }
        if let Some(issuer) = &issuer {
            let audience = config.origins.iter().map(config::PublicUrl::as_str);
            let policy = TokenPolicy::new(issuer.identifier(), audience);
            builder = builder.issuer(policy, issuer.key_set().clone());
        }
        if config.routes.iter().all(|route| route.mode == Mode::Open) {
            builder = builder.may_trust_nobody();
        }
        let server = builder.build().map_err(|error| EngineError::new("issuer", error))?;
        let resources = resources(&server, &config, issuer.as_ref());
        let policies = (0..config.origins.len()).map(|origin| {
            let policy = |route| policy(route, Resource::of_route(&resources, origin, route));
            config.routes.iter().map(policy).collect::<Result<Vec<_>, _>>()
        });
        let policies = policies.collect::<Result<_, _>>()?;
        let observe = &lasting.observe;
        let meters = config.routes.iter().map(|route| observe.meter(route.path.as_str(), route.mode.into())).collect();
        let issuers = config.authorization_server.as_ref().map_or("", |settings| settings.url.path());
        let issuer_meter = observe.meter(issuers, Terms::Issuer);
        let home = config.authorization_server.as_ref().map(|settings| &settings.url);
        let named = |origin: &Origin| home.is_some_and(|url| server.origins().named(url.authority()) == Some(origin));
        let issuer_at = server.origins().iter().position(named);
        let issuer_origin = home.filter(|_| issuer_at.is_none()).map(own_origin).transpose()?;
        Ok(Self {
            server,
            generation,
            issuer,
            policies,
            resources,
            attestor,
            upstreams: health::addresses(&config.routes, &[]),
            lenient: Lenient::of(config.routes.iter().map(|route| route.path.as_str())),
            config,
            meters,
            issuer_meter,
            issuer_at,
            issuer_origin,
            discovered,
            next_key,
            lasting,
        })
    }
}

/// An engine that is ready and not yet in force.
#[derive(Debug)]
pub(crate) struct Successor {
    engine: Engine,
    /// The epoch to raise, if what was recorded so far does not hold for its windows.
    barrier: Option<u64>,
}

impl Successor {
    /// The engine, now that the replay memory has the epoch it records under. What the engine before is about to record is
    /// [`Forgotten`](keybound::replay::Seen::Forgotten) from now on.
    pub(crate) fn take_over(mut self) -> Engine {
        if let Some(shared) = self.engine.config.nonce_ring.shared() {
            self.engine.lasting.nonces.replace(shared.ring.clone());
        }
        let settings = self.engine.config.authorization_server.as_ref();
        if let (Some(next), Some(issuer), Some(settings)) = (self.engine.next_key.take(), &self.engine.issuer, settings)
        {
            issuer.keys().follow_with(next, settings.keys.settings.ahead(), SystemTime::now().into());
        }
        if let Some(id) = self.barrier {
            // Whatever is accepted until the epoch is raised is accepted in this second or the next.
            let opened = UnixTime::from(SystemTime::now()).plus(Duration::from_secs(1));
            self.engine.lasting.generation.store(self.engine.generation, Ordering::Release);
            self.engine.replays().raise(Epoch::new(id, opened), &self.engine.config);
            tracing::info!("what proofs are judged by has changed: those of before need a nonce, once");
        } else {
            self.engine.replays().judge_by(&self.engine.config);
        }
        self.engine
    }
}

/// Nonces under the ring of the configuration. The store has opened the one that is kept in it.
fn nonces(config: &Config, store: &Replays) -> Result<RingNonces, EngineError> {
    if let Some(kept) = store.ring() {
        return Ok(kept.nonces().clone());
    }
    if let Some(shared) = config.nonce_ring.shared() {
        return Ok(RingNonces::new(shared.ring.clone()));
    }
    let secret = random_array().map_err(|error| EngineError::new("random numbers", error))?;
    Ok(RingNonces::new(NonceRing::new(NonceKey::new(1, secret))))
}

/// Takes over the ring of the file, if there is one and it has changed.
fn look_at_ring(config: &Config, watched: &mut Watched, nonces: &RingNonces) {
    let file = config.nonce_ring.shared().and_then(|shared| shared.file.as_ref());
    if let Some(ring) = file.and_then(|file| watched.look(file)) {
        tracing::info!(key = ring.current_id(), "the nonce ring was read");
        nonces.replace(ring);
    }
}

/// The origin of an issuer that has one of its own.
fn own_origin(url: &config::PublicUrl) -> Result<Origins, EngineError> {
    let fault = |error: &dyn fmt::Display| EngineError::new("authorization_server.url", error);
    let origin = format!("{}://{}", url.scheme(), url.authority()).parse().map_err(|error| fault(&error))?;
    Origins::new(vec![origin]).map_err(|error| fault(&error))
}

fn random_epoch() -> Result<u64, EngineError> {
    random_array().map(u64::from_be_bytes).map_err(|error| EngineError::new("random numbers", error))
}

/// The resources of every origin, and whose tokens they take.
fn resources(server: &ResourceServer<Records<Replays>>, config: &Config, own: Option<&Issuer>) -> Vec<Resource> {
    let mut all: Vec<Accepted<'_>> = config.issuers.iter().map(Accepted::of).collect();
    let audience = config.origins.iter().map(config::PublicUrl::as_str);
    all.extend(own.map(|issuer| Accepted { issuer: issuer.identifier(), audience: audience.collect() }));
    let algs = server.verifier().algorithms(); // R-RS-27
    let origins = server.origins().iter().enumerate();
    origins.flat_map(|(position, origin)| Resource::at(origin, position, config, &all, algs)).collect()
}

const fn policy_of_nonces(policy: NoncePolicy) -> verify::NoncePolicy {
    match policy {
        NoncePolicy::Off => verify::NoncePolicy::Off,
        NoncePolicy::Offer => verify::NoncePolicy::Offer,
        NoncePolicy::Require => verify::NoncePolicy::Require,
    }
}

fn verifier(proof: &config::ProofPolicy, nonces: RingNonces) -> Result<Verifier, EngineError> {
    let builder = Verifier::builder(Arc::new(AwsLc), Arc::new(nonces));
    let builder = match proof.iat_with_nonce {
        IatWithNonce::WithinDay => builder,
        IatWithNonce::InWindow => builder.iat_always_in_window(),
    };
    builder
        .algorithms(proof.algorithms)
        .max_age(proof.max_age)
        .max_future(proof.max_future)
        .nonce_policy(policy_of_nonces(proof.nonce))
        .build()
        .map_err(|error| EngineError::new("proof", error))
}

/// The keys of an issuer: from its file as it was when the configuration was read, or those that were fetched before.
fn keys_of(
    issuer: &config::Issuer,
    earlier: &[(config::Issuer, DiscoveredKeys)],
    observe: &Observe,
) -> Result<IssuerKeys, EngineError> {
    match &issuer.keys {
        KeySource::File(file) => Ok(FixedKeys::new(file.keys.clone()).into()),
        KeySource::Discovery => {
            let same = |(known, _): &&(config::Issuer, DiscoveredKeys)| {
                known.url == issuer.url && known.algorithms == issuer.algorithms
            };
            match earlier.iter().find(same) {
                Some((_, keys)) => Ok(keys.clone().into()),
                None => discovered(issuer, observe).map(Into::into),
            }
        }
    }
}

/// Who vouches for the tokens of an issuer: its keys, or it itself where it is asked.
fn voucher(issuer: &config::Issuer, keys: Option<IssuerKeys>, observe: &Observe) -> Result<Voucher, EngineError> {
    let fault = |error: &dyn fmt::Display| EngineError::new(issuer.url.as_str(), error);
    let Some(asked) = &issuer.introspection else {
        return keys.map(Voucher::Keys).ok_or_else(|| fault(&"its tokens have no keys"));
    };
    let ask = Arc::new(observe.metered_ask(issuer.url.as_str(), HttpAsk::new()));
    let introspection = Introspection::new(&asked.endpoint, &asked.client_id, asked.ask_as.clone(), ask)
        .and_then(|introspection| introspection.keep(asked.keep))
        .map_err(|error| fault(&error))?
        .missing_audience(asked.missing_audience);
    Ok(match keys {
        Some(keys) => introspection.signed(keys),
        None => introspection,
    }
    .into())
}

fn discovered(issuer: &config::Issuer, observe: &Observe) -> Result<DiscoveredKeys, EngineError> {
    let fetch = observe.metered(issuer.url.as_str(), HttpFetch::new());
    DiscoveredKeys::new(issuer.url.as_str(), Arc::new(AwsLc), issuer.algorithms, Arc::new(fetch))
        .map_err(|error| EngineError::new(issuer.url.as_str(), error))
}

fn policy(route: &config::Route, resource: Option<&Resource>) -> Result<Policy, EngineError> {
    let fault = |error| EngineError::new(&format!("route {}", route.path.as_str()), error);
    let mut policy = match route.mode {
        Mode::Optional => Policy::optional(),
        Mode::Required | Mode::Report | Mode::Open => Policy::required(),
    };
    if !route.scope.is_empty() {
        policy = policy.scope(&route.scope.join(" ")).map_err(fault)?;
    }
    if !route.audience.is_empty() {
        policy = policy.audience(route.audience.iter().map(String::as_str));
    }
    if !route.issuers.is_empty() {
        policy = policy.issuers(route.issuers.iter().map(String::as_str));
    }
    if let Some(resource) = resource {
        policy = policy.resource_metadata(resource.location()).map_err(fault)?;
    }
    Ok(match route.proof {
        config::ProofHandling::Check => policy.proof(ProofHandling::Check),
        config::ProofHandling::Consume | config::ProofHandling::Attest => policy,
    })
}

fn attests(config: &Config) -> bool {
    config.routes.iter().any(|route| route.proof == config::ProofHandling::Attest)
}

/// With the keys of the configuration before, if there were any.
fn attestor(config: &Config, lasting: &mut Lasting) -> Result<Attestor, EngineError> {
    let keys = attestation::Keys::open(config, lasting.attestation_keys.take())?;
    let attestor = Attestor::new(&keys, config.attestation.lifetime);
    lasting.attestation_keys = Some(keys);
    Ok(attestor)
}
