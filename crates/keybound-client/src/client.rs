//! The client and its settings.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use keybound::client::{PlainHttp, ServerMemory};
use keybound::crypto::aws_lc::random_array;
use keybound::jwk::Thumbprint;
use keybound::time::UnixTime;

use crate::access::Access;
use crate::bearer::BearerOrigins;
use crate::discovery::{Choose, Discovered};
use crate::error::Error;
use crate::key::{Holder, Key, Keys};
use crate::registration::{Registered, Registration};
use crate::request::RequestBuilder;
use crate::token::{Token, TokenStore};
use crate::tokens::Tokens;
use crate::transport::{Limits, Settings, Transport, Watch};

/// Holds a key, gets tokens bound to it and proves it on every request. Clones share all of that, and are cheap.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

/// What all requests of a client share.
pub(crate) struct Core {
    pub(crate) transport: Transport,
    pub(crate) keys: Keys,
    pub(crate) servers: Arc<ServerMemory>,
    pub(crate) source: Source,
    pub(crate) bearer: BearerOrigins,
    pub(crate) accept_unbound: bool,
    pub(crate) plain: PlainHttp,
    pub(crate) redirects: usize,
}

/// Where tokens come from.
pub(crate) enum Source {
    /// One place for all requests.
    One(Box<Tokens>),
    /// What the resources name.
    Discovered(Discovered),
}

impl Client {
    /// A client that proves this key.
    pub fn builder(key: impl Into<Key>) -> ClientBuilder {
        ClientBuilder {
            keys: vec![key.into()],
            former: Vec::new(),
            access: From::Token(None),
            store: None,
            servers: None,
            bearer: Vec::new(),
            accept_unbound: false,
            plain: PlainHttp::Never,
            redirects: 5,
            limits: Limits { connect: Duration::from_secs(10), answer: Duration::from_secs(60) },
            watch: None,
            roots: Vec::new(),
            http2: false,
        }
    }

    /// A GET request.
    pub fn get(&self, url: &str) -> RequestBuilder {
        self.request(Method::GET, url)
    }

    /// A request. The URL is looked at when it is sent.
    pub fn request(&self, method: Method, url: &str) -> RequestBuilder {
        RequestBuilder::new(self.clone(), method, url)
    }

    /// The thumbprint of the key for new tokens.
    pub fn jkt(&self) -> Thumbprint {
        self.core.keys.current().first().map(|holder| *holder.jkt()).expect("a client has a key")
    }

    /// Takes this key for new tokens in place of the first. Tokens that are there keep their key until they end, and so do the
    /// refresh tokens of a client that does not authenticate: they are bound to it (RFC 9449 section 5).
    ///
    /// # Errors
    ///
    /// [`Error::AlgMisfit`] if the key cannot sign with its algorithm.
    pub fn rotate(&self, key: impl Into<Key>) -> Result<(), Error> {
        self.core.keys.rotate(Arc::new(Holder::of(key.into())?));
        Ok(())
    }

    /// The token that a request would carry now, got from the issuer if there is none or it is about to expire.
    ///
    /// # Errors
    ///
    /// [`Error::NoToken`], [`Error::TokenRequest`], [`Error::Store`]. A client that
    /// [discovers](ClientBuilder::discover) its issuers has a token for each resource, and none to show here.
    pub async fn token(&self) -> Result<Arc<Token>, Error> {
        self.token_and_key().await.map(|(token, _)| token)
    }

    /// The same, with the thumbprint of the key it is bound to. After a [rotation](Self::rotate) that is the former key for a while.
    ///
    /// # Errors
    ///
    /// Those of [`Client::token`].
    pub async fn token_and_key(&self) -> Result<(Arc<Token>, Thumbprint), Error> {
        match &self.core.source {
            Source::One(tokens) => {
                let held = tokens.current(&self.core).await?;
                Ok((Arc::clone(&held.token), *held.holder.jkt()))
            }
            Source::Discovered(_) => Err(Error::NoToken),
        }
    }

    /// Registers a client with an issuer that lets anybody do that (RFC 7591).
    ///
    /// # Errors
    ///
    /// [`Error::Metadata`], [`Error::TokenRefused`] if the issuer does not want to, [`Error::TokenResponse`].
    pub async fn register(&self, issuer: &str, registration: &Registration) -> Result<Registered, Error> {
        registration.send(issuer, &self.core).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("keys", &self.core.keys).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`].
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    keys: Vec<Key>,
    former: Vec<Key>,
    access: From,
    store: Option<Arc<dyn TokenStore>>,
    servers: Option<Arc<ServerMemory>>,
    bearer: Vec<String>,
    accept_unbound: bool,
    plain: PlainHttp,
    redirects: usize,
    limits: Limits,
    watch: Option<Box<dyn Watch>>,
    roots: Vec<reqwest::Certificate>,
    http2: bool,
}

enum From {
    Token(Option<Token>),
    Issuer(Box<Access>),
    Discovery(Box<dyn Choose>),
}

impl ClientBuilder {
    /// Sends this token, which is bound to the key already. It is not renewed.
    pub fn token(mut self, token: Token) -> Self {
        self.access = From::Token(Some(token));
        self
    }

    /// Gets tokens from an issuer, and new ones before they expire.
    pub fn access(mut self, access: Access) -> Self {
        self.access = From::Issuer(Box::new(access));
        self
    }

    /// Asks resources where their tokens come from (RFC 9728): the first request to each goes without a token, and the metadata
    /// that its 401 names says which issuers there are. `choose` is shown them one after the other, and says how to get tokens
    /// from one that is to be trusted. The scope is what the resource wants, and `resource` its identifier, unless the access
    /// says otherwise.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use keybound::crypto::{Alg, aws_lc::SoftwareKey};
    /// # use keybound_client::{Access, Client};
    /// # let key = Arc::new(SoftwareKey::generate(Alg::Es256)?);
    /// let client = Client::builder(key).discover(|issuer: &str| {
    ///     (issuer == "https://id.example.com").then(|| Access::client_credentials(issuer, "orders-job"))
    /// });
    /// # let _ = client;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn discover(mut self, choose: impl Choose + 'static) -> Self {
        self.access = From::Discovery(Box::new(choose));
        self
    }

    /// A further key, for servers that do not take the algorithm of those before (R-CLI-13).
    pub fn or_key(mut self, key: impl Into<Key>) -> Self {
        self.keys.push(key.into());
        self
    }

    /// A key that was replaced: not for new tokens, but for those of the [store](Self::store) that are bound to it, until they end.
    /// The one replaced last first.
    pub fn former_key(mut self, key: impl Into<Key>) -> Self {
        self.former.push(key.into());
        self
    }

    /// Sends the token as a bearer token to this origin, if it asks for that and nothing else (RFC 9449 section 7.2, R-CLI-11).
    ///
    /// # Security
    ///
    /// What is sent there without a proof can be used by whoever sees it, wherever proofs are not asked for.
    pub fn danger_bearer_at(mut self, origin: impl Into<String>) -> Self {
        self.bearer.push(origin.into());
        self
    }

    /// Keeps tokens that the issuer did not bind, and sends them as bearer tokens (R-CLI-09).
    ///
    /// # Security
    ///
    /// Whoever gets hold of such a token can use it.
    pub const fn danger_accept_unbound(mut self) -> Self {
        self.accept_unbound = true;
        self
    }

    /// Keeps tokens there between runs. Without this they live as long as the client.
    pub fn store(mut self, store: Arc<dyn TokenStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Shares nonces and clock offsets with other clients. Without this, each client and its clones have their own.
    pub fn servers(mut self, servers: Arc<ServerMemory>) -> Self {
        self.servers = Some(servers);
        self
    }

    /// Whether plain http to this machine is let through; never unless set.
    pub const fn plain_http(mut self, plain: PlainHttp) -> Self {
        self.plain = plain;
        self
    }

    /// How many redirects in a row are followed, 5 unless set; with 0 a redirect is the answer.
    pub const fn redirects(mut self, limit: usize) -> Self {
        self.redirects = limit;
        self
    }

    /// How long connecting may take, 10 s unless set.
    pub const fn connect_timeout(mut self, limit: Duration) -> Self {
        self.limits.connect = limit;
        self
    }

    /// How long may pass from sending a request, its body included, to the head of its answer, and between two pieces of
    /// the answer's body: 60 s unless set.
    pub const fn answer_timeout(mut self, limit: Duration) -> Self {
        self.limits.answer = limit;
        self
    }

    /// Shows every request and answer to `watch`, token requests and retries included.
    pub fn watch(mut self, watch: impl Watch + 'static) -> Self {
        self.watch = Some(Box::new(watch));
        self
    }

    /// Trusts this certificate authority as well as those of the platform.
    pub fn root_certificate(mut self, certificate: reqwest::Certificate) -> Self {
        self.roots.push(certificate);
        self
    }

    /// Speaks HTTP/2 with resources even where nobody has agreed on it: by plain http as well, for gRPC on this machine. Without
    /// this it is spoken where TLS negotiates it. Issuers are asked as before.
    pub const fn http2_prior_knowledge(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::AlgMisfit`] if the key cannot sign with its algorithm, [`Error::Settings`].
    pub fn build(self) -> Result<Client, Error> {
        let ready =
            |keys: Vec<Key>| keys.into_iter().map(|key| Holder::of(key).map(Arc::new)).collect::<Result<_, _>>();
        let (holders, former): (Vec<_>, Vec<_>) = (ready(self.keys)?, ready(self.former)?);
        let settings = Settings { limits: self.limits, roots: self.roots, http2: self.http2 };
        let source = match self.access {
            From::Token(token) => {
                let holder = holders.first().expect("a builder has a key");
                Source::One(Box::new(Tokens::fixed(token, holder)))
            }
            From::Issuer(access) => Source::One(Box::new(Tokens::issued(*access, self.store, None))),
            From::Discovery(choose) => Source::Discovered(Discovered::new(choose, self.store)),
        };
        Ok(Client {
            core: Arc::new(Core {
                transport: Transport::new(&settings, self.watch)?,
                keys: Keys::new(holders, former),
                servers: self.servers.unwrap_or_default(),
                source,
                bearer: BearerOrigins::new(&self.bearer)?,
                accept_unbound: self.accept_unbound,
                plain: self.plain,
                redirects: self.redirects,
            }),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("keys", &self.keys).finish_non_exhaustive()
    }
}

/// The time by the clock of this machine.
pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// 128 random bits for a `jti` (R-CLI-04).
pub(crate) fn jti() -> Result<[u8; 16], Error> {
    random_array().map_err(|_| Error::Random)
}
