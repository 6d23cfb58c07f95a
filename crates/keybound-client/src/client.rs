//! The client and its settings.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use http::Method;
use keybound::client::{PlainHttp, Prover, ServerMemory};
use keybound::crypto::Signer;
use keybound::crypto::aws_lc::random_array;
use keybound::jwk::Thumbprint;
use keybound::time::UnixTime;

use crate::error::Error;
use crate::request::RequestBuilder;
use crate::token::{ClientCredentials, Token, TokenStore, Tokens};
use crate::transport::{Limits, Transport, Watch};

/// Holds a key, gets tokens bound to it and proves it on every request. Clones share all of that, and are cheap.
#[derive(Clone)]
pub struct Client {
    pub(crate) core: Arc<Core>,
}

/// What all requests of a client share.
pub(crate) struct Core {
    pub(crate) transport: Transport,
    pub(crate) key: Arc<dyn Signer>,
    pub(crate) prover: Prover,
    pub(crate) servers: Arc<ServerMemory>,
    pub(crate) tokens: Tokens,
    pub(crate) plain: PlainHttp,
    pub(crate) redirects: usize,
}

impl Client {
    /// A client that proves this key.
    pub fn builder(key: Arc<dyn Signer>) -> ClientBuilder {
        ClientBuilder {
            key,
            access: Access::Token(None),
            store: None,
            servers: None,
            plain: PlainHttp::Never,
            redirects: 5,
            limits: Limits { connect: Duration::from_secs(10), answer: Duration::from_secs(60) },
            watch: None,
            http: reqwest::Client::builder().user_agent(concat!("keybound/", env!("CARGO_PKG_VERSION"))),
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

    /// The thumbprint of the key.
    pub fn jkt(&self) -> Thumbprint {
        self.core.prover.public_jwk().thumbprint()
    }

    /// The token that a request would carry now, got from the issuer if there is none or it is about to expire.
    ///
    /// # Errors
    ///
    /// [`Error::NoToken`], [`Error::TokenRequest`], [`Error::Store`].
    pub async fn token(&self) -> Result<Arc<Token>, Error> {
        self.core.tokens.current(&self.core).await
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("key", &self.core.key).finish_non_exhaustive()
    }
}

/// Settings of a [`Client`].
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    key: Arc<dyn Signer>,
    access: Access,
    store: Option<Arc<dyn TokenStore>>,
    servers: Option<Arc<ServerMemory>>,
    plain: PlainHttp,
    redirects: usize,
    limits: Limits,
    watch: Option<Box<dyn Watch>>,
    http: reqwest::ClientBuilder,
}

enum Access {
    Token(Option<Token>),
    ClientCredentials(Box<ClientCredentials>),
}

impl ClientBuilder {
    /// Sends this token, which is bound to the key already. It is not renewed.
    pub fn token(mut self, token: Token) -> Self {
        self.access = Access::Token(Some(token));
        self
    }

    /// Gets tokens by the client credentials grant (RFC 6749 section 4.4), and new ones before they expire.
    pub fn client_credentials(mut self, access: ClientCredentials) -> Self {
        self.access = Access::ClientCredentials(Box::new(access));
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
        self.http = self.http.tls_certs_merge([certificate]);
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// [`Error::AlgMisfit`] if the key cannot sign with its algorithm, [`Error::Settings`].
    pub fn build(self) -> Result<Client, Error> {
        let prover = Prover::of(&*self.key)?;
        let tokens = match self.access {
            Access::Token(token) => Tokens::fixed(token),
            Access::ClientCredentials(access) => {
                let jkt = prover.public_jwk().thumbprint();
                Tokens::issued(*access, &jkt, self.store)
            }
        };
        Ok(Client {
            core: Arc::new(Core {
                transport: Transport::new(self.http, self.limits, self.watch)?,
                key: self.key,
                prover,
                servers: self.servers.unwrap_or_default(),
                tokens,
                plain: self.plain,
                redirects: self.redirects,
            }),
        })
    }
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder").field("key", &self.key).finish_non_exhaustive()
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
