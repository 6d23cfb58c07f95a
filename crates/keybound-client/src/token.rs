//! The life of an access token: got from the issuer, kept, renewed before it expires and when a server refuses it. However many
//! requests want one, one of them asks for it.

mod grant;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use keybound::client::Credentials;
use keybound::jwk::Thumbprint;
use keybound::time::UnixTime;
use parking_lot::RwLock;
use sha2::{Digest as _, Sha256};
use tokio::sync::Mutex;
use zeroize::Zeroizing;

use crate::authentication::Authentication;
use crate::client::{Core, now};
use crate::error::Error;
use crate::metadata::Metadata;

/// How long before its end a token is renewed; of a short life, a tenth.
const EARLY: Duration = Duration::from_secs(60);

/// How long metadata of the issuer is used before it is read again.
const METADATA_LIFE: Duration = Duration::from_secs(3600);

/// How to get tokens by the client credentials grant.
#[derive(Clone, Debug)]
#[must_use = "to be given to ClientBuilder::client_credentials"]
pub struct ClientCredentials {
    issuer: Box<str>,
    client_id: Box<str>,
    authentication: Authentication,
    scope: Option<Box<str>>,
    resources: Vec<Box<str>>,
}

impl ClientCredentials {
    /// From this issuer, as this client.
    pub fn new(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
            authentication: Authentication::None,
            scope: None,
            resources: Vec::new(),
        }
    }

    /// How the client authenticates; not at all unless set.
    pub fn authentication(mut self, authentication: Authentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// The scope to ask for, names with spaces between.
    pub fn scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// A resource the token is for (RFC 8707); may be given several times.
    pub fn resource(mut self, resource: impl Into<Box<str>>) -> Self {
        self.resources.push(resource.into());
        self
    }
}

/// Everything that shapes a token. Tokens are kept under this, so that none is taken for another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TokenId {
    issuer: Box<str>,
    client_id: Box<str>,
    scope: Option<Box<str>>,
    resources: Vec<Box<str>>,
    jkt: Thumbprint,
}

impl TokenId {
    fn new(access: &ClientCredentials, jkt: Thumbprint) -> Self {
        Self {
            issuer: access.issuer.clone(),
            client_id: access.client_id.clone(),
            scope: access.scope.clone(),
            resources: access.resources.clone(),
            jkt,
        }
    }

    /// The thumbprint of the key the token is bound to.
    pub const fn jkt(&self) -> &Thumbprint {
        &self.jkt
    }

    /// A name for files and maps: 64 hexadecimal digits of a digest over all of it.
    pub fn digest(&self) -> String {
        let mut digest = Sha256::new();
        let mut add = |part: &[u8]| {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        };
        add(self.issuer.as_bytes());
        add(self.client_id.as_bytes());
        match &self.scope {
            Some(scope) => [b"scope", scope.as_bytes()].into_iter().for_each(&mut add),
            None => add(b"none"),
        }
        add(self.jkt.as_bytes());
        self.resources.iter().for_each(|resource| add(resource.as_bytes()));
        HEXLOWER.encode(&digest.finalize())
    }
}

/// An access token that is bound to a key.
pub struct Token {
    text: Zeroizing<String>,
    credentials: Credentials,
    scope: Option<Box<str>>,
    obtained: UnixTime,
    expires: Option<UnixTime>,
}

impl Token {
    /// The token as the issuer gave it; nothing is known of its scope and its end.
    ///
    /// # Errors
    ///
    /// [`Error::MalformedToken`] if it cannot be sent in `Authorization`.
    pub fn new(text: impl Into<String>) -> Result<Self, Error> {
        let text = Zeroizing::new(text.into());
        Ok(Self {
            credentials: Credentials::new(&text)?,
            text,
            scope: None,
            obtained: now(),
            expires: None,
        })
    }

    /// Obtained then, expiring then.
    #[must_use]
    pub const fn lives(mut self, obtained: UnixTime, expires: Option<UnixTime>) -> Self {
        self.obtained = obtained;
        self.expires = expires;
        self
    }

    /// Good for this scope.
    #[must_use]
    pub fn with_scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// The token itself.
    ///
    /// # Security
    ///
    /// It is of no use without the key, and still does not belong into logs.
    pub fn secret(&self) -> &str {
        &self.text
    }

    /// The scope it is good for, if the issuer said.
    pub fn scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    /// When it was obtained.
    pub const fn obtained(&self) -> UnixTime {
        self.obtained
    }

    /// When it expires, if the issuer said.
    pub const fn expires(&self) -> Option<UnixTime> {
        self.expires
    }

    /// Whether it is time for a new one.
    pub fn is_due(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| {
            let early = EARLY.min(expires.since(self.obtained) / 10);
            // A clock that went back makes it look younger than it is.
            now.plus(early) >= expires || now < self.obtained
        })
    }

    fn is_expired(&self, now: UnixTime) -> bool {
        self.expires.is_some_and(|expires| now >= expires)
    }

    pub(crate) const fn credentials(&self) -> &Credentials {
        &self.credentials
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Token")
            .field("scope", &self.scope)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// Keeps tokens between runs.
pub trait TokenStore: Send + Sync + fmt::Debug {
    /// The token kept under `id`, whatever its age. What cannot be read is as good as absent: a new one is asked for.
    fn load(&self, id: &TokenId) -> Option<Token>;

    /// Keeps `token` in place of any that is there.
    ///
    /// # Errors
    ///
    /// Whatever kept it from being written.
    fn save(&self, id: &TokenId, token: &Token) -> io::Result<()>;
}

/// Where a client's tokens come from, and the one it has.
pub(crate) struct Tokens {
    /// `None` if it has no more than the one it was given.
    issuer: Option<Issuer>,
    current: RwLock<Option<Arc<Token>>>,
    flight: Mutex<Flight>,
}

struct Issuer {
    access: ClientCredentials,
    id: TokenId,
    store: Option<Arc<dyn TokenStore>>,
}

/// What the one that asks for a token holds meanwhile.
#[derive(Default)]
struct Flight {
    metadata: Option<(Metadata, Instant)>,
    /// The last failure, for those who waited for it: they are not to fail one after the other.
    failed: Option<(Arc<Error>, Instant)>,
}

impl Tokens {
    /// This token and no other, or none at all.
    pub(crate) fn fixed(token: Option<Token>) -> Self {
        Self::new(None, token.map(Arc::new))
    }

    pub(crate) fn issued(access: ClientCredentials, jkt: &Thumbprint, store: Option<Arc<dyn TokenStore>>) -> Self {
        let id = TokenId::new(&access, *jkt);
        Self::new(Some(Issuer { access, id, store }), None)
    }

    fn new(issuer: Option<Issuer>, current: Option<Arc<Token>>) -> Self {
        Self {
            issuer,
            current: RwLock::new(current),
            flight: Mutex::default(),
        }
    }

    /// The token to send now.
    pub(crate) async fn current(&self, core: &Core) -> Result<Arc<Token>, Error> {
        let asked = Instant::now();
        let Some(issuer) = &self.issuer else {
            return self.held().ok_or(Error::NoToken);
        };
        let fresh = || self.held().filter(|token| !token.is_due(now()));
        if let Some(token) = fresh() {
            return Ok(token);
        }
        let mut flight = self.flight.lock().await;
        if let Some(token) = fresh() {
            return Ok(token); // got by another while this one waited
        }
        let kept = issuer.store.as_ref().and_then(|store| store.load(&issuer.id));
        if let Some(token) = kept.filter(|token| token.expires.is_some() && !token.is_due(now())) {
            return Ok(self.hold(token));
        }
        match self.fetch(&mut flight, issuer, asked, core).await {
            // Renewal comes early, so that an issuer may be away for a moment.
            Err(error @ Error::TokenRequest(_)) => self.held().filter(|token| !token.is_expired(now())).ok_or(error),
            done => done,
        }
    }

    /// Another token than `refused`, if there can be one.
    pub(crate) async fn renewed(&self, refused: &Arc<Token>, core: &Core) -> Result<Option<Arc<Token>>, Error> {
        let Some(issuer) = &self.issuer else { return Ok(None) };
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        match self.held().filter(|held| !Arc::ptr_eq(held, refused)) {
            Some(newer) => Ok(Some(newer)),
            None => self.fetch(&mut flight, issuer, asked, core).await.map(Some),
        }
    }

    /// Asks the issuer, on behalf of everybody who waits for the flight to end.
    async fn fetch(
        &self,
        flight: &mut Flight,
        issuer: &Issuer,
        asked: Instant,
        core: &Core,
    ) -> Result<Arc<Token>, Error> {
        if let Some((error, when)) = &flight.failed
            && *when > asked
        {
            return Err(Error::TokenRequest(error.clone()));
        }
        match issuer.ask(flight, core).await {
            Ok(token) => {
                flight.failed = None;
                let kept = issuer.keep(&token);
                let token = self.hold(token);
                kept.map_err(Error::Store).map(|()| token)
            }
            Err(error) => {
                let error = Arc::new(error);
                flight.failed = Some((error.clone(), Instant::now()));
                Err(Error::TokenRequest(error))
            }
        }
    }

    fn held(&self) -> Option<Arc<Token>> {
        self.current.read().clone()
    }

    fn hold(&self, token: Token) -> Arc<Token> {
        let token = Arc::new(token);
        *self.current.write() = Some(token.clone());
        token
    }
}

impl Issuer {
    async fn ask(&self, flight: &mut Flight, core: &Core) -> Result<Token, Error> {
        let known = flight
            .metadata
            .take()
            .filter(|(_, read)| read.elapsed() < METADATA_LIFE);
        let (metadata, read) = match known {
            Some(known) => known,
            None => {
                let metadata =
                    Metadata::discover(&self.access.issuer, &core.transport, &core.servers, core.plain).await?;
                (metadata, Instant::now())
            }
        };
        let token = grant::ask(&self.access, &metadata, core).await?;
        flight.metadata = Some((metadata, read)); // after a failure it is read anew: the endpoint may have moved
        Ok(token)
    }

    fn keep(&self, token: &Token) -> io::Result<()> {
        self.store.as_ref().map_or(Ok(()), |store| store.save(&self.id, token))
    }
}
