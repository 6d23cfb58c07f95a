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
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `endpoints.rs`, `endpoints/` | the paths and what is answered there, a file for each endpoint |
//! | `exchange.rs` | what endpoints for clients share: body, proof, client, record, commit, nonce in the answer |
//! | `proof_endpoint.rs` | the endpoints that take proofs, each with its nonce policy |
//! | `grants.rs`, `grants/` | every way a token leaves, as one table; a file for each grant, which looks and changes nothing |
//! | `tokens.rs` | the only place where access tokens, refresh tokens and ID tokens are made |
//! | `authorization.rs` | the authorization request, read once whichever way it came; a code comes of it |
//! | `people.rs`, `people/` | who sits at the browser: sessions and pages, whose words stand in `templates/` |
//! | `webauthn.rs`, `upstream.rs` | what a passkey brings, and what another provider says: judged, and nothing else |
//! | [`users`] | local users, in the configuration and in the store |
//! | [`admin`] | what an administrator does, on the store and over HTTP |
//! | [`audit`] | what happened, and where it is noted |
//! | [`store`] | what must not be forgotten: one trait, three stores, and all SQL |
//! | `client.rs`, `authenticate.rs` | clients, and whether a request is one's |
//!
//! The order at every endpoint that takes a proof: [`verify`](AuthorizationServer::verify) it, authenticate the client, look at
//! the grant, record the proof, redeem in one atomic [`store::Store::write`], issue. What was refused before the record has
//! consumed nothing, and what was refused before the write has consumed the proof alone. Client assertions are used up in that
//! same write.
//!
//! A person at a browser sees pages for as long as they like, and ends in `Asked::approve` or `Asked::refuse`, which send the
//! browser back. A new way to sign in ends in `signed_in` of `people/pages.rs`. A new kind of record is a `Kind` of
//! the store and a `serde` structure beside its use; the tables stay as they are.

pub mod admin;
mod answer;
pub mod audit;
mod authenticate;
mod authorization;
mod client;
mod clock;
mod config;
mod endpoints;
mod exchange;
mod form;
mod grants;
mod handle;
pub mod keys;
mod metadata;
mod people;
mod proof_endpoint;
mod quota;
mod registered;
mod replays;
mod room;
mod serve;
pub mod store;
mod test_issuer;
mod tokens;
mod upstream;
pub mod users;
mod webauthn;

use core::time::Duration;
use std::sync::Arc;

use axum::Router;
use keybound::authorization_server::AuthorizationServer;
use keybound::challenge::Realm;
use keybound::replay::ReplayStore;
use keybound::request::Origins;
use keybound_tower::FixedKeys;

use self::admin::Administration;
use self::audit::Audit;
use self::authenticate::Clients;
pub use self::client::{Authentication, Client, EmptySecret, GrantType, Secret, UnknownGrantType};
pub use self::clock::Clock;
pub use self::config::{
    ConfigError, ConfigErrors, DEFAULT_ASSERTIONS_PER_CLIENT, DEFAULT_REFRESH_LIFETIME, DEFAULT_SESSION_LIFETIME,
    DEFAULT_TOKEN_LIFETIME, IssuerConfig, LONG_TOKEN_LIFETIME, Registration, is_redirect_uri,
};
use self::endpoints::userinfo::Guard;
pub use self::keys::Keys;
use self::metadata::Endpoints;
use self::people::People;
pub use self::people::{Connection, PasswordHash, PasswordHashError};
pub use self::proof_endpoint::ProofEndpoint;
use self::proof_endpoint::ProofServers;
use self::quota::Quota;
use self::replays::Shared;
pub use self::room::DEFAULT_ROOM_FOR_STRANGERS;
use self::room::{Proofs, Room, Shares};
use self::store::{MemoryStore, Store};
pub use self::test_issuer::TestIssuer;
use self::upstream::Provider;
pub use self::upstream::{SignInAuthentication, SignInError, SignInProvider};
use self::users::{Noting, Users};
use self::webauthn::RelyingParty;

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

/// In which strangers may register so many clients and no more.
const A_DAY: Duration = Duration::from_secs(86_400);

#[derive(Debug)]
struct State {
    config: IssuerConfig,
    endpoints: Endpoints,
    origins: Origins,
    clients: Clients,
    keys: Keys,
    key_set: FixedKeys,
    realm: Realm,
    server: AuthorizationServer,
    /// The same at each endpoint that takes proofs, by its nonce policy.
    proof_servers: ProofServers,
    replays: Shared,
    userinfo: Guard,
    store: Arc<dyn Store>,
    people: People,
    /// Whose passkeys are made here, where browsers make any.
    relying_party: Option<RelyingParty>,
    /// Where else users may sign in.
    providers: Vec<Provider>,
    users: Users,
    audit: Audit,
    clock: Clock,
    /// For what clients push that anybody can be.
    pushed: Room,
    /// For the codes of their devices.
    devices: Room,
    /// For what browsers begin.
    interactions: Shares,
    /// For clients that register themselves where anybody may.
    registrations: Room,
    /// For the assertions of each client.
    assertions: Arc<Quota>,
    /// For the assertions of those that registered themselves where anybody may, all together.
    strangers_assertions: Shares,
    /// For the proofs of clients that anybody can be.
    proofs: Proofs,
}

impl State {
    /// Whether the client registered itself where anybody may: nobody knows whose it is, and who has one can have a thousand.
    fn came_unasked(&self, client: &Client) -> bool {
        matches!(self.config.registration, Registration::Open) && !client.is_vouched_for()
    }

    /// Whether anybody can be this client, or one like it.
    fn is_anybodys(&self, client: &Client) -> bool {
        client.is_public() || self.came_unasked(client)
    }

    /// The names client assertions may be addressed to (RFC 7523 section 3).
    fn audience(&self) -> [&str; 2] {
        [&self.config.issuer, self.endpoints.token.as_str()]
    }
}

impl Issuer {
    /// An issuer with these settings that keeps everything in memory. `server` verifies proofs by its own windows, algorithms
    /// and nonce policy, as far as [`IssuerConfig::nonce_policy`] has no other; `replays` remembers used proofs.
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
        // What is in memory is as old as the process, and so is the memory of proofs.
        let store = Arc::new(MemoryStore::new(replays.epoch().opened()));
        Self::with_store(config, keys, server, replays, store, clock)
    }

    /// The same with a store of this kind for codes, tokens and clients.
    ///
    /// # Errors
    ///
    /// Everything that is wrong with the settings, at once.
    pub fn with_store(
        config: IssuerConfig,
        keys: Keys,
        server: AuthorizationServer,
        replays: Arc<impl ReplayStore + 'static>,
        store: Arc<dyn Store>,
        clock: Clock,
    ) -> Result<Self, ConfigErrors> {
        let mut mistakes = config.mistakes();
        let uri = config::issuer_uri(&config.issuer);
        let endpoints = uri.as_ref().and_then(Endpoints::of);
        let origins = uri.and_then(|uri| Origins::new(vec![uri.origin().parse().ok()?]).ok());
        let noting = Noting { audit: config.audit.clone(), by: "program" };
        let users = Users::with_configured(config.users(), Arc::clone(&store)).noting(noting);
        let key_set = keys.key_set();
        if key_set.is_none() {
            mistakes.push(ConfigError::Keys);
        }
        if !keys.outlast(config.token_lifetime) {
            mistakes.push(ConfigError::KeyLifetime);
        }
        let (Some(endpoints), Some(origins), Some(key_set), []) = (endpoints, origins, key_set, &*mistakes) else {
            return Err(ConfigErrors(mistakes));
        };
        if config.token_lifetime > LONG_TOKEN_LIFETIME {
            tracing::warn!(seconds = config.token_lifetime.as_secs(), "access tokens live longer than an hour");
        }
        let replays = Shared::new(replays);
        let proof_servers = ProofServers::of(&server, &config.nonces);
        let (verifier, keys_of_ours) = (proof_servers.verifier_at(ProofEndpoint::Userinfo), key_set.clone());
        let guard = Guard::new(&config.issuer, keys_of_ours, verifier, origins.clone(), replays.clone(), clock.clone());
        let userinfo = guard.ok_or_else(|| ConfigErrors(vec![ConfigError::Keys]))?;
        let relying_party = RelyingParty::of(&endpoints.sign_in);
        let providers = config.sign_in.iter().map(|settings| {
            let address = [endpoints.sign_in.as_str(), "/from/", &settings.name].concat();
            Provider::new(settings.clone(), &address)
        });
        let providers = providers.collect();
        let (near, far) = server.verifier().kept();
        let proofs = Proofs::of(config.replay_memory, near, far);
        let room = config.room_for_strangers;
        let realm = Realm::new("token endpoint").expect("words and a space are a realm");
        Ok(Self {
            state: Arc::new(State {
                clients: Clients::new(&config.clients, (*key_set.current()).clone()),
                userinfo,
                replays,
                audit: config.audit.clone(),
                assertions: Quota::of(authenticate::ASSERTIONS_KEPT, config.assertions_per_client),
                strangers_assertions: Shares::of_things(authenticate::ASSERTIONS_KEPT, config.assertions_per_client),
                config,
                endpoints,
                origins,
                keys,
                key_set,
                realm,
                server,
                proof_servers,
                users,
                store,
                people: People::new(),
                relying_party,
                providers,
                clock,
                pushed: Room::of(room, endpoints::PUSHED),
                devices: Room::of(room, endpoints::DEVICES),
                interactions: Shares::of(room, people::interaction::LIFETIME),
                registrations: Room::of(room, A_DAY),
                proofs,
            }),
        })
    }

    /// Routes at the public paths of the issuer, to be merged into a server at the root of the issuer's origin. An issuer
    /// with a path also answers for everything else under that path.
    pub fn router(&self) -> Router {
        endpoints::router(&self.state)
    }

    /// Looks after its clients and users, over HTTP for example: see [`Administration::router`].
    pub fn administration(&self) -> Administration {
        let State { config, store, clock, .. } = &*self.state;
        let administration = Administration::new(Arc::clone(store), config.audit.clone(), clock.clone(), "api");
        administration.with_configuration(config).with_keys(self.state.keys.clone())
    }

    /// Where it notes what happens, and counts it.
    pub fn audit(&self) -> &Audit {
        &self.state.audit
    }

    /// Whether its store takes what is written, as it must for anything to be issued.
    pub async fn is_ready(&self) -> bool {
        // Nothing has this name, so nothing changes; but what can only be read refuses even that.
        let nothing = store::Change::Delete { kind: store::Kind::GRANT, id: Box::default() };
        let asked = self.state.store.write(vec![nothing], self.state.clock.now());
        tokio::time::timeout(Duration::from_secs(2), asked).await.is_ok_and(|answered| answered.is_ok())
    }

    /// What its tokens are verified with, for a resource server in the same process. It follows every change of the keys.
    pub fn key_set(&self) -> &FixedKeys {
        &self.state.key_set
    }

    /// The keys its tokens are signed with.
    pub fn keys(&self) -> &Keys {
        &self.state.keys
    }

    /// The issuer identifier: `iss` of its tokens.
    pub fn identifier(&self) -> &str {
        &self.state.config.issuer
    }

    /// The resources its tokens are for, the default first.
    pub fn audience(&self) -> impl Iterator<Item = &str> {
        self.state.config.audience.iter().map(|resource| &**resource)
    }

    /// Its local users: those of the configuration and those of the store.
    pub fn users(&self) -> &Users {
        &self.state.users
    }

    /// Where tokens are asked for.
    pub fn token_endpoint(&self) -> &str {
        self.state.endpoints.token.as_str()
    }
}
