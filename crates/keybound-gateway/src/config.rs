//! The configuration: a TOML file, the environment over it, flags over both; out comes a [`Config`] that can run, or every
//! mistake at once with its place. Nothing in a `Config` is a text that has yet to be interpreted.

use core::net::SocketAddr;
use core::num::NonZero;
use core::time::Duration;
use std::path::{Path, PathBuf};

use http::{HeaderName, Method};
use keybound::crypto::AlgSet;
use keybound::nonce::NonceRing;
use keybound_issuer::keys::SealingKeys;
use keybound_postgres::PostgresSettings;
use keybound_redis::RedisSettings;

mod authorization_server;
mod check;
mod document;
mod file;
mod health;
mod introspection;
mod keys;
mod mistake;
mod postgres;
mod read;
mod redis;
mod reference;
mod secret;
mod section;
mod sign_in;
mod signing;
mod source;
mod telemetry;
mod tls;
mod url;

pub use authorization_server::{AuthorizationServer, Client, ClientAuthentication, Registration, User};
pub use document::{default_text, schema};
pub use file::KeyFile;
pub use health::HealthCheck;
pub use introspection::Introspection;
pub use mistake::{ConfigError, ConfigErrors, Place};
pub use reference::reference_text;
pub use secret::AdminSecret;
pub use signing::{KeyInModule, Sealing, SigningKeys};
pub use telemetry::{ParentDecision, Telemetry};
pub use tls::Tls;
pub(crate) use tls::provider;
pub(crate) use url::is_authority;
pub use url::{HttpVersion, Network, Prefix, PublicUrl, UpstreamUrl};

/// A configuration that can run.
///
/// ```
/// use keybound_gateway::config::Config;
///
/// let errors = Config::parse("[[route]]\npath = \"orders\"\n", "keybound.toml".as_ref()).unwrap_err();
/// assert!(errors.to_string().starts_with("keybound.toml:1: route[0].upstream: is missing"));
/// assert!(errors.to_string().contains("keybound.toml:2: route[0].path: \"orders\" does not begin with /"));
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Where to listen, and whom to believe about a connection.
    pub listen: Listen,
    /// The public origins; at least one for `serve`.
    pub origins: Vec<PublicUrl>,
    /// Whose access tokens are accepted.
    pub issuers: Vec<Issuer>,
    /// At least one for `serve`; the longest prefix first, so that the first that covers a path is the one.
    pub routes: Vec<Route>,
    /// What tells the decision listener of the request it is asked about.
    pub decisions: DecisionFields,
    /// The statements for upstreams.
    pub attestation: Attestation,
    /// What is asked of a proof.
    pub proof: ProofPolicy,
    /// Where the keys of nonces come from.
    pub nonce_ring: NonceRingPlace,
    /// The memory of used proofs.
    pub replay: Replay,
    /// What one client, request or upstream may take.
    pub limits: Limits,
    /// How decisions are written down.
    pub log: Log,
    /// Where traces go; `None`: there are none.
    pub telemetry: Option<Telemetry>,
    /// The embedded issuer, if there is to be one.
    pub authorization_server: Option<AuthorizationServer>,
}

/// `[listen]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Listen {
    /// For clients.
    pub address: SocketAddr,
    /// For console and metrics; off loopback only with a secret.
    pub admin: SocketAddr,
    /// Whether somebody asked for that very address; the default one gives way where it is taken.
    pub admin_is_chosen: bool,
    /// Without it, whoever reaches `admin` may read what is there.
    pub admin_secret: Option<AdminSecret>,
    /// Proxies in front of this one.
    pub trusted_peers: Vec<Network>,
    /// Proxies whose connections begin with a PROXY header.
    pub proxy_protocol_peers: Vec<Network>,
    /// Certificate and key; `None`: plain HTTP.
    pub tls: Option<Tls>,
    /// For proxies that ask whether a request may pass.
    pub decisions: Option<DecisionListener>,
    /// The same for Envoy, by gRPC.
    pub ext_authz: Option<DecisionListener>,
    /// Threads that serve; `None`: one for each processor.
    pub workers: Option<NonZero<usize>>,
}

/// `listen.decisions` or `listen.ext_authz`, and `listen.decision_peers`
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecisionListener {
    /// Where it listens.
    pub address: SocketAddr,
    /// Who may ask; at least one.
    pub peers: Vec<Network>,
}

/// `[decisions]`: the fields that tell of the request that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DecisionFields {
    /// Its method.
    pub method: HeaderName,
    /// Its path and query, as the client sent them.
    pub uri: HeaderName,
    /// Its `Host`, where there are several origins.
    pub host: HeaderName,
}

/// `[[issuer]]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Issuer {
    /// Its identifier.
    pub url: PublicUrl,
    /// Any one of these in `aud` is enough; at least one.
    pub audience: Vec<String>,
    /// Where its keys come from.
    pub keys: KeySource,
    /// What its tokens, or its answers about them, may be signed with.
    pub algorithms: AlgSet,
    /// How it is asked about its tokens, if they are not read here.
    pub introspection: Option<Introspection>,
}

/// Where the keys of an issuer come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum KeySource {
    /// From its metadata, over the network.
    Discovery,
    /// From this file.
    File(KeyFile),
}

/// `[[route]]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Route {
    /// Which paths.
    pub path: Prefix,
    /// Where to; none if the route is for decisions alone.
    pub upstreams: Vec<UpstreamUrl>,
    /// How these are looked after; `None`: what becomes of requests tells.
    pub health: Option<HealthCheck>,
    /// What the path begins with when it is sent on, instead of `path`; `None`: as it came.
    pub rewrite: Option<Prefix>,
    /// On what terms.
    pub mode: Mode,
    /// Scopes a token must have, all of them.
    pub scope: Vec<String>,
    /// Instead of the issuer's audience, if not empty.
    pub audience: Vec<String>,
    /// Whose tokens, of those of the configuration; all of them, if empty.
    pub issuers: Vec<String>,
    /// What may be done there, `HEAD` wherever `GET` may; anything, if empty.
    pub methods: Vec<Method>,
    /// What becomes of the proof.
    pub proof: ProofHandling,
    /// Whom a statement about it is for; with [`ProofHandling::Attest`], at least one.
    pub attestation_audience: Vec<String>,
    /// What the upstream sees in `Authorization`.
    pub upstream_authorization: UpstreamAuthorization,
    /// Whether paths that servers read in different ways go through.
    pub ambiguous_paths: AmbiguousPaths,
}

/// Terms of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mode {
    /// Bound tokens only.
    Required,
    /// A valid token, bound or not; a bound one with its proof.
    Optional,
    /// Everything is checked and counted, nothing is refused or vouched for.
    Report,
    /// Nothing is checked or vouched for.
    Open,
}

/// What becomes of a proof that passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofHandling {
    /// Recorded here, not forwarded.
    Consume,
    /// Forwarded, to be recorded by the upstream.
    Check,
    /// Recorded here, not forwarded; the upstream gets a signed statement about it instead.
    Attest,
}

/// What the upstream sees in `Authorization`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum UpstreamAuthorization {
    /// Nothing.
    Strip,
    /// What the client sent.
    Pass,
    /// The client's token, under the scheme `Bearer`.
    Bearer,
}

/// What happens to a path with an encoded slash, backslash or null.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum AmbiguousPaths {
    /// 400 `path.ambiguous`.
    Refuse,
    /// It is forwarded as it is.
    Allow,
}

/// `[attestation]`: see [`attestation`](crate::attestation).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Attestation {
    /// Where the key that signs is kept; `None`: it ends with the process.
    pub signing_key: Option<PathBuf>,
    /// How long a statement is good.
    pub lifetime: Duration,
}

/// `[proof]`
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct ProofPolicy {
    /// How old `iat` may be.
    pub max_age: Duration,
    /// How far ahead `iat` may be; at most 60 s.
    pub max_future: Duration,
    /// What is asked in the way of nonces.
    pub nonce: NoncePolicy,
    /// How long a nonce is good.
    pub nonce_lifetime: Duration,
    /// Accepted and advertised.
    pub algorithms: AlgSet,
    /// How far off `iat` may be where a nonce tells the time; the presets `fapi` and `mcp` hold it to the window.
    pub iat_with_nonce: IatWithNonce,
    /// Whether the preset is `fapi`: the embedded issuer keeps to that profile too.
    pub fapi: bool,
}

/// Where the keys of nonces come from.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum NonceRingPlace {
    /// This process draws them at random, and nobody else has them.
    Own,
    /// Somebody hands them to all processes, and turns them.
    Shared(NonceRingAt),
    /// They are kept where used proofs are, and processes turn them there.
    Kept(KeptRing),
}

impl NonceRingPlace {
    /// The ring that somebody hands around.
    pub const fn shared(&self) -> Option<&NonceRingAt> {
        match self {
            Self::Shared(shared) => Some(shared),
            Self::Own | Self::Kept(_) => None,
        }
    }

    /// How it is kept where used proofs are.
    pub const fn kept(&self) -> Option<&KeptRing> {
        match self {
            Self::Kept(kept) => Some(kept),
            Self::Own | Self::Shared(_) => None,
        }
    }
}

/// `proof.nonce_keys` or `proof.nonce_ring`.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct NonceRingAt {
    /// The file, which is looked at while the process runs; `None`: the ring stands in the configuration.
    pub file: Option<PathBuf>,
    pub(crate) ring: NonceRing,
}

/// `proof.nonce_sealing_key_file` or `proof.nonce_sealing_key`: a ring in the replay store.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeptRing {
    /// What it is sealed under there.
    pub sealing: SealingKeys,
    /// How old its current key becomes.
    pub rotate_every: Duration,
}

/// How far off the `iat` of a proof with a nonce may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IatWithNonce {
    /// A day, so that a client with a wrong clock recovers by a nonce.
    WithinDay,
    /// As far as without a nonce.
    InWindow,
}

/// What is asked in the way of nonces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoncePolicy {
    /// Only at the barrier after a restart.
    Off,
    /// Given and judged, not demanded inside the window.
    Offer,
    /// Every proof carries one.
    Require,
}

impl NoncePolicy {
    pub(crate) fn named(name: &str) -> Option<Self> {
        [Self::Off, Self::Offer, Self::Require].into_iter().find(|policy| policy.name() == name)
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Offer => "offer",
            Self::Require => "require",
        }
    }
}

/// Where used proofs are remembered.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ReplayLocation {
    /// In this process, which then is the only one.
    Memory,
    /// In this folder, for one process at a time.
    File(PathBuf),
    /// On Redis, which many processes share.
    Redis(RedisSettings),
    /// In PostgreSQL, which many processes share.
    Postgres(PostgresSettings),
}

impl ReplayLocation {
    /// Whether another server may take over, and every proof needs a nonce.
    pub(crate) const fn needs_nonces(&self) -> bool {
        match self {
            Self::Memory | Self::File(_) => false,
            Self::Redis(settings) => settings.needs_nonces(),
            Self::Postgres(settings) => settings.needs_nonces(),
        }
    }
}

/// `[replay]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay {
    /// Where.
    pub store: ReplayLocation,
    /// Octets that the store in memory may hold.
    pub memory: u64,
    /// Live proofs of one key.
    pub per_key: u32,
    /// What happens when it is full or away.
    pub when_unavailable: WhenUnavailable,
    /// Octets that are held for that time.
    pub reserve: u64,
}

/// What happens when the replay memory is full or away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WhenUnavailable {
    /// 503.
    Refuse,
    /// Proofs with a nonce that this process has made since are admitted, any other is asked for one.
    NonceOnly,
}

/// `[limits]`: what each is for, and its default, stands in [`default_text`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "each is documented once, in the table of keys")]
pub struct Limits {
    pub connections: usize,
    pub streams: u32,
    pub header_bytes: usize,
    pub header_fields: usize,
    pub body_bytes: u64,
    pub header_timeout: Duration,
    pub handshake_timeout: Duration,
    pub idle_timeout: Duration,
    pub client_timeout: Duration,
    pub request_timeout: Duration,
    pub connect_timeout: Duration,
    pub response_timeout: Duration,
    pub stream_timeout: Duration,
    pub tunnel_timeout: Duration,
    pub upstream_idle: usize,
    pub upstream_idle_timeout: Duration,
    pub drain_delay: Option<Duration>,
    pub drain_timeout: Duration,
    pub drain_idle_timeout: Duration,
}

/// `[log]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Log {
    /// How a line looks. What writes the log is set up by whoever starts the gateway.
    pub format: LogFormat,
    /// Which decisions get a line.
    pub decisions: LoggedDecisions,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// Which decisions are logged at the level `info`; the others are at `debug`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LoggedDecisions {
    /// Refusals and failures.
    Refused,
    /// Admissions too.
    All,
}

/// Which command reads the configuration: it decides which tables must be there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reader {
    /// `keybound serve`: origins and routes, and somebody whose tokens are accepted.
    #[default]
    Serve,
    /// `keybound issuer`: an authorization server, and something that its tokens are for.
    Issuer,
}

/// What the command line says over the file and the environment.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Overrides {
    /// `--listen`
    pub listen: Option<String>,
    /// The command itself.
    pub reader: Reader,
}

impl Overrides {
    /// With `--listen`, if it was given.
    pub const fn listen(listen: Option<String>) -> Self {
        Self { listen, reader: Reader::Serve }
    }

    /// For this command instead of `serve`.
    #[must_use]
    pub const fn reader(mut self, reader: Reader) -> Self {
        self.reader = reader;
        self
    }
}

impl Config {
    /// Reads the file at `path`, with the variables of `environment` over it and `flags` over both.
    ///
    /// # Errors
    ///
    /// Every mistake there is, at once.
    pub fn load(
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Result<Self, ConfigErrors> {
        let text = file::text(path, file::LARGE).map_err(|error| ConfigErrors::unreadable(path, &error))?;
        Self::from_parts(&text, path, environment, flags)
    }

    /// Reads `text` as the file at `path` would be read, and nothing else.
    ///
    /// # Errors
    ///
    /// Every mistake there is, at once.
    pub fn parse(text: &str, path: &Path) -> Result<Self, ConfigErrors> {
        Self::from_parts(text, path, [], &Overrides::default())
    }

    /// Reads `text` as the file at `path`, with the variables of `environment` over it and `flags` over both. Paths in it
    /// are relative to the folder of `path`.
    ///
    /// # Errors
    ///
    /// Every mistake there is, at once.
    pub fn from_parts(
        text: &str,
        path: &Path,
        environment: impl IntoIterator<Item = (String, String)>,
        flags: &Overrides,
    ) -> Result<Self, ConfigErrors> {
        let mistakes = mistake::Mistakes::default();
        let (mut root, syntax) = source::document(text);
        source::overlay_environment(&mut root, environment, &mistakes);
        source::overlay_flags(&mut root, flags);
        let config = read::config(&root, path.parent().unwrap_or(Path::new("")), flags.reader, &mistakes);
        mistakes.into_result(&path.display().to_string(), syntax, config)
    }
}

impl Default for Limits {
    fn default() -> Self {
        read::default_limits()
    }
}
