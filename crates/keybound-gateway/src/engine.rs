//! From a configuration to the parts that decide: one verifier, one replay memory, the keys of every issuer, and the embedded
//! issuer. Everything that can be wrong is said here, before the first request.

use core::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use keybound::authorization_server::AuthorizationServer;
use keybound::crypto::AlgSet;
use keybound::crypto::aws_lc::{AwsLc, random_array};
use keybound::nonce::{NonceKey, StatelessNonces};
use keybound::replay::Epoch;
use keybound::replay::memory::{MemoryLimits, MemoryStore};
use keybound::request::Origins;
use keybound::token::TokenPolicy;
use keybound::token::jwt::KeySet;
use keybound::verify::{self, Verifier};
use keybound_issuer::{Authentication, Clock, GrantType, Issuer, IssuerConfig, Keys, Secret};
use keybound_tower::fetch::HttpFetch;
use keybound_tower::{DiscoveredKeys, FixedKeys, Policy, ProofHandling, ResourceServer};

use crate::config::{self, ClientAuthentication, Config, IatWithNonce, KeySource, Mode, NoncePolicy};
use crate::signing_key;

/// A configuration that could not be put to work, in words for its author.
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

/// What all workers share.
#[derive(Debug)]
pub struct Engine {
    pub(crate) server: ResourceServer<MemoryStore>,
    pub(crate) issuer: Option<Issuer>,
    pub(crate) config: Config,
    pub(crate) policies: Vec<Policy>,
}

impl Engine {
    /// Puts a configuration to work. Keys that are fetched are not waited for: an issuer that is down is asked again, and
    /// its tokens are answered with 503 until then.
    ///
    /// # Errors
    ///
    /// The first thing that cannot be had: a key file, a policy that contradicts itself, random numbers.
    pub fn new(config: Config) -> Result<Self, EngineError> {
        let origins = config.origins.iter().map(|origin| origin.as_str().parse());
        let origins = origins.collect::<Result<Vec<_>, _>>().map_err(|error| EngineError::new("origin", error))?;
        let origins = Origins::new(origins).map_err(|error| EngineError::new("origin", error))?;
        let nonces = nonces(&config.proof)?;
        let store = Arc::new(replay_memory(&config.replay)?);
        let issuer = match &config.authorization_server {
            Some(settings) => Some(embedded_issuer(settings, &config, nonces.clone(), Arc::clone(&store))?),
            None => None,
        };
        let mut builder = ResourceServer::builder(verifier(&config.proof, nonces)?, origins, store);
        for accepted in &config.issuers {
            let policy = TokenPolicy::new(accepted.url.as_str(), accepted.audience.iter().map(String::as_str));
            builder = match &accepted.keys {
                KeySource::File(path) => builder.issuer(policy, FixedKeys::new(key_file(path, accepted.algorithms)?)),
                KeySource::Discovery => builder.issuer(policy, discovered(accepted)?),
            };
        }
        if let Some(issuer) = &issuer {
            let audience = config.origins.iter().map(config::PublicUrl::as_str);
            let policy = TokenPolicy::new(issuer.identifier(), audience);
            builder = builder.issuer(policy, FixedKeys::new(issuer.key_set().clone()));
        }
        let server = builder.build().map_err(|error| EngineError::new("issuer", error))?;
        let policies = config.routes.iter().map(policy).collect::<Result<_, _>>()?;
        Ok(Self { server, issuer, config, policies })
    }
}

/// The embedded issuer by itself, with no gateway around it.
///
/// # Errors
///
/// The first thing that cannot be had.
pub fn issuer_alone(config: &Config) -> Result<Issuer, EngineError> {
    let settings = config.authorization_server.as_ref();
    let settings = settings.ok_or_else(|| EngineError("authorization_server: there is none".to_owned()))?;
    embedded_issuer(settings, config, nonces(&config.proof)?, Arc::new(replay_memory(&config.replay)?))
}

fn nonces(proof: &config::ProofPolicy) -> Result<StatelessNonces, EngineError> {
    let secret = random_array().map_err(|error| EngineError::new("random numbers", error))?;
    Ok(StatelessNonces::new(NonceKey::new(1, secret)).lives(proof.nonce_lifetime))
}

fn replay_memory(replay: &config::Replay) -> Result<MemoryStore, EngineError> {
    let random = |error| EngineError::new("random numbers", error);
    let epoch = Epoch::new(u64::from_be_bytes(random_array().map_err(random)?), SystemTime::now().into());
    let bytes = usize::try_from(replay.memory).unwrap_or(usize::MAX);
    let limits = MemoryLimits::new().bytes(bytes).per_key(replay.per_key);
    MemoryStore::new(limits, random_array().map_err(random)?, epoch).map_err(|error| EngineError::new("replay", error))
}

fn verifier(proof: &config::ProofPolicy, nonces: StatelessNonces) -> Result<Verifier, EngineError> {
    let policy = match proof.nonce {
        NoncePolicy::Off => verify::NoncePolicy::Off,
        NoncePolicy::Offer => verify::NoncePolicy::Offer,
        NoncePolicy::Require => verify::NoncePolicy::Require,
    };
    let builder = Verifier::builder(Arc::new(AwsLc), Arc::new(nonces));
    let builder = match proof.iat_with_nonce {
        IatWithNonce::WithinDay => builder,
        IatWithNonce::InWindow => builder.iat_always_in_window(),
    };
    builder
        .algorithms(proof.algorithms)
        .max_age(proof.max_age)
        .max_future(proof.max_future)
        .nonce_policy(policy)
        .build()
        .map_err(|error| EngineError::new("proof", error))
}

fn key_file(path: &std::path::Path, algs: AlgSet) -> Result<KeySet, EngineError> {
    let name = path.display().to_string();
    let text = std::fs::read(path).map_err(|error| EngineError::new(&name, error))?;
    KeySet::read_strictly(&text, &AwsLc, algs).map_err(|error| EngineError::new(&name, error))
}

fn discovered(issuer: &config::Issuer) -> Result<DiscoveredKeys, EngineError> {
    DiscoveredKeys::new(issuer.url.as_str(), Arc::new(AwsLc), issuer.algorithms, Arc::new(HttpFetch::new()))
        .map_err(|error| EngineError::new(issuer.url.as_str(), error))
}

fn policy(route: &config::Route) -> Result<Policy, EngineError> {
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
    Ok(match route.proof {
        // What `report` looks at is not used up: the service behind may record it.
        _ if route.mode == Mode::Report => policy.proof(ProofHandling::Check),
        config::ProofHandling::Check => policy.proof(ProofHandling::Check),
        config::ProofHandling::Consume => policy,
    })
}

fn embedded_issuer(
    settings: &config::AuthorizationServer,
    config: &Config,
    nonces: StatelessNonces,
    store: Arc<MemoryStore>,
) -> Result<Issuer, EngineError> {
    let origins = config.origins.iter().map(config::PublicUrl::as_str);
    let mut audience = origins.chain(settings.audience.iter().map(String::as_str));
    let mut issuer = IssuerConfig::new(settings.url.as_str(), audience.next().unwrap_or_default());
    for resource in audience {
        issuer = issuer.audience(resource);
    }
    for client in &settings.clients {
        issuer = issuer.client(registered(client)?);
    }
    let keys = match &settings.signing_key {
        Some(path) => signing_key::open(path).map(Keys::new),
        None => Keys::generate().map_err(|error| EngineError::new("signing key", error)),
    }?;
    let server = AuthorizationServer::new(verifier(&config.proof, nonces)?);
    Issuer::new(issuer, keys, server, store, Clock::system())
        .map_err(|error| EngineError::new("authorization_server", error))
}

fn registered(client: &config::Client) -> Result<keybound_issuer::Client, EngineError> {
    let name = format!("client {}", client.id);
    let secret = || {
        let secret = client.secret.clone().unwrap_or_default();
        Secret::new(secret).map_err(|error| EngineError::new(&name, error))
    };
    let authentication = match &client.authentication {
        ClientAuthentication::SecretBasic => Authentication::SecretBasic(secret()?),
        ClientAuthentication::SecretPost => Authentication::SecretPost(secret()?),
        ClientAuthentication::PrivateKeyJwt(path) => Authentication::PrivateKeyJwt(key_file(path, AlgSet::ALL)?),
        ClientAuthentication::None => Authentication::None,
    };
    let mut registered = keybound_issuer::Client::new(client.id.as_str(), authentication).scope(client.scope.join(" "));
    for grant_type in &client.grant_types {
        let grant_type: GrantType = grant_type.parse().map_err(|error| EngineError::new(&name, error))?;
        registered = registered.grant_type(grant_type);
    }
    for uri in &client.redirect_uris {
        registered = registered.redirect_uri(uri.as_str());
    }
    Ok(if client.dpop_bound_access_tokens { registered.dpop_bound_access_tokens() } else { registered })
}
