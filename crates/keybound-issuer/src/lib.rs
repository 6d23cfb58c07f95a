//! An authorization server that binds its access tokens to the client's key (RFC 9449): metadata, JWKS and a token endpoint,
//! as a router for a server of yours, alone on a listener, or inside a test in one line.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let issuer = keybound_issuer::TestIssuer::start().await?;
//! assert!(issuer.token_endpoint().starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```
//!
//! The order at the token endpoint: verify the proof, authenticate the client, look at the grant, record the proof, redeem,
//! issue. Nothing that was refused consumes a client assertion or a grant.

mod answer;
mod authenticate;
mod client;
mod clock;
mod config;
mod form;
mod grant;
mod keys;
mod metadata;
mod replays;
mod serve;
mod test_issuer;
mod token;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use bytes::Bytes;
use http::Method;
use keybound::authorization_server::AuthorizationServer;
use keybound::challenge::Realm;
use keybound::replay::ReplayStore;
use keybound::request::Origins;
use keybound::token::jwt::KeySet;

use self::authenticate::Clients;
pub use self::client::{Authentication, Client, EmptySecret, GrantType, Secret, UnknownGrantType};
pub use self::clock::Clock;
pub use self::config::{ConfigError, ConfigErrors, DEFAULT_TOKEN_LIFETIME, IssuerConfig, LONG_TOKEN_LIFETIME};
pub use self::keys::Keys;
use self::metadata::Endpoints;
use self::replays::{AnyStore, Replays};
pub use self::test_issuer::TestIssuer;

/// How long caches may keep metadata and keys.
const PUBLIC_CACHE: &str = "public, max-age=300";

/// An authorization server. Clones share everything.
///
/// ```
/// # use std::sync::Arc;
/// use keybound::authorization_server::AuthorizationServer;
/// use keybound::crypto::aws_lc::{AwsLc, random_array};
/// use keybound::nonce::{NonceKey, StatelessNonces};
/// use keybound::replay::memory::{MemoryLimits, MemoryStore};
/// use keybound::replay::Epoch;
/// use keybound::verify::Verifier;
/// use keybound_issuer::{Clock, Issuer, IssuerConfig, Keys};
///
/// let clock = Clock::system();
/// let epoch = Epoch::new(u64::from_be_bytes(random_array()?), clock.now());
/// let replays = Arc::new(MemoryStore::new(MemoryLimits::new(), random_array()?, epoch)?);
/// let nonces = Arc::new(StatelessNonces::new(NonceKey::new(1, random_array()?)));
/// let server = AuthorizationServer::new(Verifier::builder(Arc::new(AwsLc), nonces).build()?);
///
/// let config = IssuerConfig::new("https://id.example.com", "https://api.example.com");
/// let issuer = Issuer::new(config, Keys::generate()?, server, replays, clock)?;
/// let app: axum::Router = axum::Router::new().merge(issuer.router());
/// # let _ = app;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Issuer {
    state: Arc<State>,
}

#[derive(Debug)]
struct State {
    config: IssuerConfig,
    endpoints: Endpoints,
    origins: Origins,
    clients: Clients,
    keys: Keys,
    key_set: KeySet,
    metadata: Bytes,
    jwks: Bytes,
    realm: Realm,
    server: AuthorizationServer,
    replays: Box<dyn Replays>,
    clock: Clock,
}

impl State {
    /// The names client assertions may be addressed to (RFC 7523 section 3).
    fn audience(&self) -> [&str; 2] {
        [&self.config.issuer, self.endpoints.token.as_str()]
    }
}

impl Issuer {
    /// An issuer with these settings. `server` verifies proofs by its own windows, algorithms and nonce policy; `replays`
    /// remembers used proofs and client assertions.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, at once.
    pub fn new(
        config: IssuerConfig,
        keys: Keys,
        server: AuthorizationServer,
        replays: Arc<impl ReplayStore + 'static>,
        clock: Clock,
    ) -> Result<Self, ConfigErrors> {
        let mut mistakes = config.mistakes();
        let uri = config::issuer_uri(&config.issuer);
        let endpoints = uri.as_ref().and_then(Endpoints::of);
        let origins = uri.and_then(|uri| Origins::new(vec![uri.origin().parse().ok()?]).ok());
        let published = keys.key_set().ok().zip(keys.jwks().ok());
        if published.is_none() {
            mistakes.push(ConfigError::Keys);
        }
        let (Some(endpoints), Some(origins), Some((key_set, jwks)), []) = (endpoints, origins, published, &*mistakes)
        else {
            return Err(ConfigErrors(mistakes));
        };
        if config.token_lifetime > LONG_TOKEN_LIFETIME {
            tracing::warn!(
                seconds = config.token_lifetime.as_secs(),
                "access tokens live longer than an hour"
            );
        }
        let metadata = metadata::document(&config, &endpoints, server.verifier().algorithms());
        let realm = Realm::new("token endpoint").expect("words and a space are a realm");
        Ok(Self {
            state: Arc::new(State {
                clients: Clients::new(&config.clients, key_set.clone()),
                metadata: metadata.to_string().into(),
                jwks: jwks.into(),
                replays: Box::new(AnyStore(replays)),
                config,
                endpoints,
                origins,
                keys,
                key_set,
                realm,
                server,
                clock,
            }),
        })
    }

    /// Routes at the public paths of the issuer, to be merged into a server at the root of the issuer's origin. An issuer
    /// with a path also answers for everything else under that path.
    pub fn router(&self) -> Router {
        let endpoints = &self.state.endpoints;
        let mut router = Router::new()
            // A path by RFC 3986 may begin a segment with a colon or a star.
            .without_v07_checks()
            .route(endpoints.token.path(), self.route(Endpoint::Token))
            .route(endpoints.jwks.path(), self.route(Endpoint::Jwks))
            .route(&endpoints.metadata, self.route(Endpoint::Metadata));
        if !endpoints.prefix.is_empty() {
            let below = [&*endpoints.prefix, "/{*rest}"].concat();
            router = router
                .route(&endpoints.prefix, self.route(Endpoint::Unknown))
                .route(&below, self.route(Endpoint::Unknown));
        }
        router
    }

    /// The keys its tokens are signed with, for a resource server in the same process.
    pub fn key_set(&self) -> &KeySet {
        &self.state.key_set
    }

    /// The issuer identifier: `iss` of its tokens.
    pub fn identifier(&self) -> &str {
        &self.state.config.issuer
    }

    /// The resources its tokens are for, the default first.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.state.config.audience.iter().map(|resource| &**resource)
    }

    /// Where tokens are asked for.
    pub fn token_endpoint(&self) -> &str {
        self.state.endpoints.token.as_str()
    }

    fn route(&self, endpoint: Endpoint) -> axum::routing::MethodRouter {
        let state = Arc::clone(&self.state);
        any(move |request: Request| {
            let state = Arc::clone(&state);
            async move { endpoint.answer(&state, request).await }
        })
    }
}

#[derive(Clone, Copy)]
enum Endpoint {
    Token,
    Jwks,
    Metadata,
    Unknown,
}

impl Endpoint {
    async fn answer(self, state: &State, request: Request) -> Response {
        let (parts, body) = request.into_parts();
        let mut response = match state.origins.choose(&parts) {
            Ok(_) if parts.method == Method::OPTIONS => answer::preflight(self.methods()),
            Ok(_) => self.dispatch(state, parts, body).await,
            Err(refusal) => token::refused_as_http(refusal),
        };
        answer::readable_anywhere(&mut response);
        response
    }

    async fn dispatch(self, state: &State, parts: http::request::Parts, body: Body) -> Response {
        match (self, &parts.method) {
            (Self::Unknown, _) => answer::not_found(),
            (Self::Token, &Method::POST) => token::endpoint(state, parts, body).await,
            (Self::Jwks, &Method::GET | &Method::HEAD) => answer::public(state.jwks.clone(), PUBLIC_CACHE),
            (Self::Metadata, &Method::GET | &Method::HEAD) => answer::public(state.metadata.clone(), PUBLIC_CACHE),
            _ => answer::method_not_allowed(self.methods()),
        }
    }

    const fn methods(self) -> &'static str {
        match self {
            Self::Token => "POST, OPTIONS",
            Self::Jwks | Self::Metadata => "GET, HEAD, OPTIONS",
            Self::Unknown => "OPTIONS",
        }
    }
}
