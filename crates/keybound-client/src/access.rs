//! How a client gets its tokens: from whom, as whom, what for, and by which grant.

use std::fmt;
use std::sync::Arc;

use keybound::client::Secret;
use keybound::jwk::Thumbprint;
use sha2::{Digest as _, Sha256};

use crate::authentication::Authentication;
use crate::login::{DeviceCode, Login};

/// How to get tokens.
///
/// ```
/// use keybound_client::{Access, Authentication, Secret};
///
/// let access = Access::client_credentials("https://id.example.com", "orders-job")
///     .authentication(Authentication::Secret(Secret::new("…")))
///     .scope("orders:read")
///     .resource("https://api.example.com");
/// # let _ = access;
/// ```
#[derive(Clone, Debug)]
#[must_use = "to be given to ClientBuilder::access"]
pub struct Access {
    pub(crate) issuer: Box<str>,
    pub(crate) client_id: Box<str>,
    pub(crate) authentication: Authentication,
    pub(crate) scope: Option<Box<str>>,
    pub(crate) resources: Vec<Box<str>>,
    pub(crate) grant: Grant,
}

/// By what right a token is asked for.
#[derive(Clone, Debug)]
pub(crate) enum Grant {
    ClientCredentials,
    Refresh { token: Secret, jkt: Option<Thumbprint> },
    AuthorizationCode(Box<Login>),
    DeviceCode(DeviceCode),
    Exchange(Box<TokenExchange>),
}

impl Grant {
    /// Tokens of different grants are not taken for each other: they speak for different people.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::ClientCredentials => "client",
            // One session, whichever way it began.
            Self::Refresh { .. } | Self::AuthorizationCode(_) | Self::DeviceCode(_) => "user",
            Self::Exchange(_) => "exchange",
        }
    }

    /// What else tells its tokens apart: those on whose behalf they are exchanged.
    pub(crate) fn subject(&self) -> Option<[u8; 32]> {
        match self {
            Self::Exchange(exchange) => Some(Sha256::digest(exchange.subject.expose()).into()),
            _ => None,
        }
    }
}

impl Access {
    fn new(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>, grant: Grant) -> Self {
        Self {
            issuer: issuer.into(),
            client_id: client_id.into(),
            authentication: Authentication::None,
            scope: None,
            resources: Vec::new(),
            grant,
        }
    }

    /// For the client itself (RFC 6749 section 4.4).
    pub fn client_credentials(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>) -> Self {
        Self::new(issuer, client_id, Grant::ClientCredentials)
    }

    /// For a user, by a refresh token that is at hand (RFC 6749 section 6). If the issuer gives a newer one, that is used from
    /// then on, and kept where tokens are.
    pub fn refresh(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>, token: Secret) -> Self {
        Self::new(issuer, client_id, Grant::Refresh { token, jkt: None })
    }

    /// The same, where the refresh token is bound to the key of this thumbprint. A client without that key says so before it
    /// sends anything (R-CLI-08).
    pub fn refresh_bound(
        issuer: impl Into<Box<str>>,
        client_id: impl Into<Box<str>>,
        token: Secret,
        jkt: Thumbprint,
    ) -> Self {
        Self::new(issuer, client_id, Grant::Refresh { token, jkt: Some(jkt) })
    }

    /// For a user who logs in with a browser on this machine: authorization code with PKCE and `dpop_jkt`, pushed where the
    /// issuer takes that, answered on loopback (RFC 6749 section 4.1, RFC 7636, RFC 8252, RFC 9126, RFC 9207).
    pub fn authorization_code(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>, login: Login) -> Self {
        Self::new(issuer, client_id, Grant::AuthorizationCode(Box::new(login)))
    }

    /// For a user who logs in on another device (RFC 8628).
    pub fn device_code(issuer: impl Into<Box<str>>, client_id: impl Into<Box<str>>, device: DeviceCode) -> Self {
        Self::new(issuer, client_id, Grant::DeviceCode(device))
    }

    /// For another token (RFC 8693).
    pub fn token_exchange(
        issuer: impl Into<Box<str>>,
        client_id: impl Into<Box<str>>,
        exchange: TokenExchange,
    ) -> Self {
        Self::new(issuer, client_id, Grant::Exchange(Box::new(exchange)))
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

    /// Whether its refresh tokens are bound to the key: those of clients that do not authenticate are (RFC 9449 section 5).
    pub(crate) const fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }
}

/// What a token is exchanged for another by (RFC 8693 section 2.1).
#[derive(Clone)]
#[must_use = "to be given to Access::token_exchange"]
pub struct TokenExchange {
    pub(crate) subject: Secret,
    pub(crate) subject_type: Box<str>,
    pub(crate) actor: Option<(Secret, Box<str>)>,
    pub(crate) audiences: Vec<Box<str>>,
}

impl TokenExchange {
    /// The type of an access token.
    pub const ACCESS_TOKEN: &'static str = "urn:ietf:params:oauth:token-type:access_token";

    /// For this access token.
    pub fn of_access_token(token: Secret) -> Self {
        Self::of(token, Self::ACCESS_TOKEN)
    }

    /// For a token of this type, a URI of RFC 8693 section 3.
    pub fn of(token: Secret, token_type: impl Into<Box<str>>) -> Self {
        Self { subject: token, subject_type: token_type.into(), actor: None, audiences: Vec::new() }
    }

    /// On behalf of its subject acts the one whom this token speaks for.
    pub fn actor(mut self, token: Secret, token_type: impl Into<Box<str>>) -> Self {
        self.actor = Some((token, token_type.into()));
        self
    }

    /// The name of a service the token is for; may be given several times. For a URL there is [`Access::resource`].
    pub fn audience(mut self, audience: impl Into<Box<str>>) -> Self {
        self.audiences.push(audience.into());
        self
    }
}

impl fmt::Debug for TokenExchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenExchange").field("subject_type", &self.subject_type).finish_non_exhaustive()
    }
}

/// Shows a user where to log in.
pub trait Show: Send + Sync + fmt::Debug {
    /// The user is to open this URL. Whoever shows it does not wait for the user.
    ///
    /// # Errors
    ///
    /// It cannot be shown: there is no browser, or nobody to look.
    fn show(&self, prompt: &Prompt<'_>) -> std::io::Result<()>;
}

/// Where a user is to log in.
#[derive(Debug)]
#[non_exhaustive]
pub struct Prompt<'p> {
    /// The URL to open.
    pub url: &'p str,
    /// The code to type there; with a browser on this machine there is none.
    pub user_code: Option<&'p str>,
    /// The same URL with the code in it, if the issuer gave one.
    pub complete: Option<&'p str>,
}

pub(crate) type Shown = Arc<dyn Show>;
