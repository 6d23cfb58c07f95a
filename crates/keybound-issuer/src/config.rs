//! The settings of an issuer as values, and everything that can be wrong with them.

use core::fmt;
use core::time::Duration;

use keybound::replay::memory::DEFAULT_BYTES;
use keybound::request::TargetUri;
use keybound::verify::NoncePolicy;

use crate::audit::Audit;
use crate::client::{Authentication, Client, GrantType, Secret};
use crate::proof_endpoint::ProofEndpoint;
use crate::room::DEFAULT_ROOM_FOR_STRANGERS;
use crate::upstream::{SignInError, SignInProvider};
use crate::users::{NewUser, User, UserError};

/// How long access tokens live unless set otherwise.
pub const DEFAULT_TOKEN_LIFETIME: Duration = Duration::from_secs(300);

/// Beyond this a stolen token is worth having even where it is bound, and the issuer warns (R-SEC-08).
pub const LONG_TOKEN_LIFETIME: Duration = Duration::from_secs(3600);

/// How long a refresh token is good for that nobody uses.
pub const DEFAULT_REFRESH_LIFETIME: Duration = Duration::from_secs(30 * 24 * 3600);

/// How long somebody who signed in stays signed in.
pub const DEFAULT_SESSION_LIFETIME: Duration = Duration::from_secs(12 * 3600);

/// How many assertions of one client are remembered at once unless set otherwise: some 300 a second.
pub const DEFAULT_ASSERTIONS_PER_CLIENT: u32 = 100_000;

pub(crate) const MAX_TOKEN_LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// What an issuer is called, whom it knows and what its tokens are good for.
///
/// ```
/// use core::time::Duration;
/// use keybound_issuer::IssuerConfig;
///
/// let config = IssuerConfig::new("https://id.example.com", "https://api.example.com")
///     .audience("https://billing.example.com")
///     .token_lifetime(Duration::from_secs(600));
/// # let _ = config;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct IssuerConfig {
    pub(crate) issuer: Box<str>,
    /// The first is the default resource indicator (RFC 9068 section 3).
    pub(crate) audience: Vec<Box<str>>,
    pub(crate) clients: Vec<Client>,
    users: Vec<NewUser>,
    pub(crate) token_lifetime: Duration,
    pub(crate) refresh_lifetime: Duration,
    pub(crate) session_lifetime: Duration,
    pub(crate) auto_approve: Option<Box<str>>,
    pub(crate) fapi: bool,
    pub(crate) registration: Registration,
    pub(crate) registration_scope: Box<str>,
    pub(crate) audit: Audit,
    pub(crate) sign_in: Vec<SignInProvider>,
    pub(crate) assertions_per_client: u32,
    pub(crate) replay_memory: usize,
    pub(crate) nonces: Vec<(ProofEndpoint, NoncePolicy)>,
    pub(crate) room_for_strangers: usize,
}

/// Who may register clients at run time (RFC 7591).
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Registration {
    /// Nobody.
    #[default]
    Off,
    /// Anybody. Such clients act for users and not for themselves.
    Open,
    /// Whoever has this initial access token.
    WithToken(Secret),
}

impl IssuerConfig {
    /// An issuer with this identifier, whose tokens are for `audience` unless a client asks for another one.
    pub fn new(issuer: impl Into<Box<str>>, audience: impl Into<Box<str>>) -> Self {
        Self {
            issuer: issuer.into(),
            audience: vec![audience.into()],
            clients: Vec::new(),
            users: Vec::new(),
            token_lifetime: DEFAULT_TOKEN_LIFETIME,
            refresh_lifetime: DEFAULT_REFRESH_LIFETIME,
            session_lifetime: DEFAULT_SESSION_LIFETIME,
            auto_approve: None,
            fapi: false,
            registration: Registration::Off,
            registration_scope: Box::default(),
            audit: Audit::default(),
            sign_in: Vec::new(),
            assertions_per_client: DEFAULT_ASSERTIONS_PER_CLIENT,
            replay_memory: DEFAULT_BYTES,
            nonces: Vec::new(),
            room_for_strangers: DEFAULT_ROOM_FOR_STRANGERS,
        }
    }

    /// Another resource that clients may name in `resource` (RFC 8707).
    pub fn audience(mut self, resource: impl Into<Box<str>>) -> Self {
        self.audience.push(resource.into());
        self
    }

    /// Registers a client.
    pub fn client(mut self, client: Client) -> Self {
        self.clients.push(client);
        self
    }

    /// A user who can sign in, and whom nothing changes at run time. `sub` of their tokens is the name; it has to be nobody else's.
    pub fn user(mut self, user: NewUser) -> Self {
        self.users.push(user);
        self
    }

    /// Another OpenID provider, through which users may sign in.
    pub fn sign_in(mut self, provider: SignInProvider) -> Self {
        self.sign_in.push(provider);
        self
    }

    /// How long access tokens live, in whole seconds; [`DEFAULT_TOKEN_LIFETIME`] unless set.
    pub const fn token_lifetime(mut self, lifetime: Duration) -> Self {
        self.token_lifetime = lifetime;
        self
    }

    /// How long a refresh token is good for that nobody uses; [`DEFAULT_REFRESH_LIFETIME`] unless set.
    pub const fn refresh_lifetime(mut self, lifetime: Duration) -> Self {
        self.refresh_lifetime = lifetime;
        self
    }

    /// How long somebody who signed in stays signed in, whatever they do; [`DEFAULT_SESSION_LIFETIME`] unless set.
    pub const fn session_lifetime(mut self, lifetime: Duration) -> Self {
        self.session_lifetime = lifetime;
        self
    }

    /// For development: this user is signed in and agrees to everything, with no page.
    ///
    /// # Security
    ///
    /// It holds only where nobody else can be: the issuer and the connection are on loopback, both ends of it known
    /// ([`Connection`](crate::Connection)), `Host` too, nothing was forwarded, and the client stands in the configuration.
    /// A browser that brings the code of a device is shown a page with one link first, for any page may have led it there.
    pub fn auto_approve(mut self, subject: impl Into<Box<str>>) -> Self {
        self.auto_approve = Some(subject.into());
        self
    }

    /// By the FAPI 2.0 security profile (section 5.3.2.1): no token for anybody without a proof, and refresh tokens of clients
    /// that authenticate stay as they are. The windows and algorithms of proofs are settings of the verifier.
    pub const fn fapi(mut self) -> Self {
        self.fapi = true;
        self
    }

    /// When this endpoint asks for a nonce; that of the verifier unless set. Windows, algorithms, the memory of used proofs and the keys
    /// of nonces are the same everywhere, so that a nonce of one endpoint is good at another; at [`ProofEndpoint::Userinfo`], a
    /// protected resource, nonces are others.
    ///
    /// # Security
    ///
    /// Where one replay store outlives two issuers of other policies for an endpoint, begin an [`Epoch`](keybound::replay::Epoch)
    /// in between. A store of nonces alone ([`Epoch::of_nonces_alone`](keybound::replay::Epoch::of_nonces_alone)) has each endpoint
    /// demand one, whatever is set here.
    pub fn nonce_policy(mut self, endpoint: ProofEndpoint, policy: NoncePolicy) -> Self {
        self.nonces.push((endpoint, policy));
        self
    }

    /// Lets clients register themselves, with scopes among these at most.
    pub fn registration(mut self, who: Registration, scope: impl Into<Box<str>>) -> Self {
        self.registration = who;
        self.registration_scope = scope.into();
        self
    }

    /// How many assertions of one client (`private_key_jwt`) are remembered at once, by this process; one more gets 429 with
    /// `Retry-After`. A client with a good key cannot fill the store for all others. Those that registered themselves where anybody may
    /// have the quota of four together, and 503 beyond it. [`DEFAULT_ASSERTIONS_PER_CLIENT`] unless set.
    pub const fn assertions_per_client(mut self, most: u32) -> Self {
        self.assertions_per_client = most;
        self
    }

    /// How many octets of used proofs the replay store may hold; [`DEFAULT_BYTES`] unless set. A half of them, and not more, can be filled
    /// by strangers, by this process: by clients that registered themselves where anybody may, and by what public clients ask for that
    /// nobody has agreed to. No network has more than a thirty-second part of that; one proof more gets 429 with `Retry-After`.
    pub const fn replay_memory(mut self, octets: usize) -> Self {
        self.replay_memory = octets;
        self
    }

    /// How many octets strangers may leave, by this process, in its store: of pushed requests, of devices' codes, of registrations and of
    /// what browsers begin, each so many. What goes beyond gets 503. [`DEFAULT_ROOM_FOR_STRANGERS`] unless set.
    pub const fn room_for_strangers(mut self, octets: usize) -> Self {
        self.room_for_strangers = octets;
        self
    }

    /// Where it is noted what happens; in the log and the store unless set.
    pub fn audit(mut self, audit: Audit) -> Self {
        self.audit = audit;
        self
    }

    /// Everything that is wrong.
    pub(crate) fn mistakes(&self) -> Vec<ConfigError> {
        let mut mistakes = Vec::new();
        if issuer_uri(&self.issuer).is_none() {
            mistakes.push(ConfigError::Issuer(self.issuer.clone()));
        }
        let unfit = self.audience.iter().filter(|resource| !is_resource(resource));
        mistakes.extend(unfit.cloned().map(ConfigError::Audience));
        if self.token_lifetime < Duration::from_secs(1) || self.token_lifetime > MAX_TOKEN_LIFETIME {
            mistakes.push(ConfigError::TokenLifetime);
        }
        if self.auto_approve.is_some() && !issuer_uri(&self.issuer).is_some_and(|uri| uri.is_loopback()) {
            mistakes.push(ConfigError::AutoApprove);
        }
        if self.fapi {
            let off = self.nonces.iter().filter(|(_, policy)| *policy == NoncePolicy::Off);
            mistakes.extend(off.map(|(endpoint, _)| ConfigError::NonceOff(*endpoint)));
        }
        let subjects = self.auto_approve.iter().chain(self.users.iter().map(|user| &user.name));
        let doubtful = subjects.filter(|subject| self.clients.iter().any(|client| client.id == **subject));
        mistakes.extend(doubtful.cloned().map(ConfigError::Subject));
        mistakes.extend(self.mistakes_of_users());
        for (position, provider) in self.sign_in.iter().enumerate() {
            let is_taken = self.sign_in.iter().take(position).any(|other| other.name == provider.name);
            let mistake = provider.mistake().or(is_taken.then_some(SignInError::NameTaken));
            mistakes.extend(mistake.map(|error| ConfigError::SignIn(provider.name.clone(), error)));
        }
        for (position, client) in self.clients.iter().enumerate() {
            if self.clients.iter().take(position).any(|other| other.id == client.id) {
                mistakes.push(ConfigError::ClientRepeated(client.id.clone()));
            }
            mistakes.extend(mistakes_of(client));
        }
        mistakes
    }

    fn mistakes_of_users(&self) -> Vec<ConfigError> {
        let mut known: Vec<User> = Vec::new();
        let mut mistakes = Vec::new();
        for new in &self.users {
            match new.configured() {
                Ok(user) if known.iter().any(|known| known.id() == user.id()) => {
                    mistakes.push(ConfigError::User(new.name.clone(), UserError::Taken));
                }
                Ok(user) => known.push(user),
                Err(error) => mistakes.push(ConfigError::User(new.name.clone(), error)),
            }
        }
        mistakes
    }

    /// The users, as far as nothing is wrong with them.
    pub(crate) fn users(&self) -> Vec<User> {
        self.users.iter().filter_map(|user| user.configured().ok()).collect()
    }
}

fn mistakes_of(client: &Client) -> Vec<ConfigError> {
    let mut mistakes = Vec::new();
    if !is_client_id(&client.id) {
        mistakes.push(ConfigError::ClientId(client.id.clone()));
    }
    let for_machines = [GrantType::ClientCredentials, GrantType::TokenExchange];
    if matches!(client.authentication, Authentication::None)
        && client.grant_types.iter().any(|grant| for_machines.contains(grant))
    {
        mistakes.push(ConfigError::PublicClient(client.id.clone()));
    }
    if !client.scope.is_empty() && !client.scope.split(' ').all(is_scope_token) {
        mistakes.push(ConfigError::Scope(client.id.clone()));
    }
    let unfit = client.redirect_uris.iter().filter(|uri| !is_redirect_uri(uri));
    mistakes.extend(unfit.map(|uri| ConfigError::RedirectUri(client.id.clone(), uri.clone())));
    mistakes
}

/// VSCHAR, RFC 6749 appendix A.1; a blank at either end is a slip of the pen.
pub(crate) fn is_client_id(id: &str) -> bool {
    !id.trim().is_empty() && id.trim() == id && id.bytes().all(|octet| matches!(octet, 0x20..=0x7e))
}

/// The issuer identifier as a URI: https, or http on loopback, without query and fragment (RFC 8414 section 2).
pub(crate) fn issuer_uri(issuer: &str) -> Option<TargetUri> {
    let uri = TargetUri::parse(issuer).ok()?;
    ((uri.is_https() || uri.is_loopback()) && !issuer.contains(['?', '#'])).then_some(uri)
}

/// An absolute URI without fragment (RFC 8707 section 2), printable so that it can stand in a configuration.
fn is_resource(resource: &str) -> bool {
    let printable = resource.bytes().all(|octet| matches!(octet, 0x21..=0x7e));
    let has_scheme = resource.split_once(':').is_some_and(|(scheme, rest)| is_scheme(scheme) && !rest.is_empty());
    printable && has_scheme && !resource.contains('#')
}

/// Whether users may be sent there: an absolute URI without fragment (RFC 6749 section 3.1.2), of https, of http on loopback, or
/// of a scheme that is the reverse of a domain name, as an app has it for its own (RFC 8252 section 7.1). A browser makes something
/// else of `javascript:` and its like than going back to a client, and nothing here is a pattern.
///
/// ```
/// use keybound_issuer::is_redirect_uri;
///
/// assert!(is_redirect_uri("https://app.example.com/back"));
/// assert!(is_redirect_uri("com.example.app:/back"));
/// assert!(!is_redirect_uri("javascript:alert(1)"));
/// ```
pub fn is_redirect_uri(uri: &str) -> bool {
    let scheme = uri.split_once(':').map_or("", |(scheme, _)| scheme);
    let is_safe = match scheme.to_ascii_lowercase().as_str() {
        "http" | "https" => TargetUri::parse(uri).is_ok_and(|uri| uri.is_https() || uri.is_loopback()),
        own => own.contains('.'),
    };
    is_resource(uri) && is_safe && !uri.contains('*')
}

fn is_scheme(text: &str) -> bool {
    text.starts_with(|first: char| first.is_ascii_alphabetic())
        && text.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'+' | b'-' | b'.'))
}

/// One scope: `1*( %x21 / %x23-5B / %x5D-7E )` (RFC 6749 section 3.3).
pub(crate) fn is_scope_token(scope: &str) -> bool {
    !scope.is_empty() && scope.bytes().all(|octet| matches!(octet, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// One thing that is wrong with the settings of an issuer.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The identifier is no https URL, or http on loopback, or has a query or fragment.
    Issuer(Box<str>),
    /// An audience is no absolute URI without fragment.
    Audience(Box<str>),
    /// Tokens live between one second and one day.
    TokenLifetime,
    /// Two clients have this identifier.
    ClientRepeated(Box<str>),
    /// A client identifier is empty or not printable ASCII.
    ClientId(Box<str>),
    /// This public client may use `client_credentials`, or token exchange, which are for clients that authenticate.
    PublicClient(Box<str>),
    /// The scope of this client is malformed.
    Scope(Box<str>),
    /// This client has a redirect URI that is none.
    RedirectUri(Box<str>, Box<str>),
    /// A user is approved without a page, which is for issuers on loopback.
    AutoApprove,
    /// Nonces are off at this endpoint, and FAPI has them.
    NonceOff(ProofEndpoint),
    /// A user and a client have this one name, and `sub` of their tokens would be the same (RFC 9068 section 5).
    Subject(Box<str>),
    /// The user of this name cannot be one.
    User(Box<str>, UserError),
    /// The provider of this name, through which users may sign in, cannot be one.
    SignIn(Box<str>, SignInError),
    /// The signing keys cannot be published.
    Keys,
    /// Tokens live longer than their keys stay published.
    KeyLifetime,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Issuer(url) => write!(
                f,
                "{url:?} is no issuer: it takes an https URL, or http on loopback, without query and fragment"
            ),
            Self::Audience(resource) => write!(f, "the audience {resource:?} is not an absolute URI without fragment"),
            Self::TokenLifetime => f.write_str("access tokens live between one second and one day"),
            Self::ClientRepeated(id) => write!(f, "the client {id:?} is registered twice"),
            Self::ClientId(id) => write!(f, "the client identifier {id:?} is not printable ASCII"),
            Self::PublicClient(id) => {
                write!(
                    f,
                    "the client {id:?} does not authenticate, so it cannot use client_credentials or token exchange"
                )
            }
            Self::Scope(id) => write!(f, "the scope of client {id:?} is not a list of scopes with one space between"),
            Self::RedirectUri(id, uri) => write!(
                f,
                "the client {id:?} has the redirect URI {uri:?}, which is not one of https, of http on loopback or of a scheme like com.example.app, without fragment"
            ),
            Self::AutoApprove => f.write_str("auto_approve is for development: the issuer has to be on loopback"),
            Self::NonceOff(endpoint) => {
                write!(
                    f,
                    "nonces are off at the endpoint {endpoint}, and by the profile of FAPI clients are given them"
                )
            }
            Self::Subject(name) => write!(f, "{name:?} is a user and a client: sub of their tokens would be the same"),
            Self::User(name, error) => write!(f, "the user {name:?}: {error}"),
            Self::SignIn(name, error) => write!(f, "the provider {name:?} to sign in through: {error}"),
            Self::Keys => f.write_str("a signing key cannot be published"),
            Self::KeyLifetime => {
                f.write_str("tokens live longer than their keys stay published: KeySettings::token_lifetime")
            }
        }
    }
}

impl core::error::Error for ConfigError {}

/// Everything that is wrong with the settings of an issuer, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub(crate) Vec<ConfigError>);

impl ConfigErrors {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, mistake) in self.0.iter().enumerate() {
            let between = if position == 0 { "" } else { "; " };
            write!(f, "{between}{mistake}")?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigErrors {}
