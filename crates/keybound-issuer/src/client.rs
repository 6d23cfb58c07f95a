//! Registered clients: who they are, how they prove it, and what they may ask for (names of RFC 7591).

use core::fmt;
use core::str::FromStr;

use keybound::authorization_server::GrantBinding;
use keybound::token::jwt::KeySet;
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use zeroize::Zeroize as _;

/// One registered client. It may use no grant and no scope unless told so.
///
/// ```
/// use keybound_issuer::{Authentication, Client, GrantType, Secret};
///
/// let secret = Secret::new("7Fjfp0ZBr1KtDRbnfVdmIw".to_owned())?;
/// let client = Client::new("s6BhdRkqt3", Authentication::SecretBasic(secret))
///     .grant_type(GrantType::ClientCredentials)
///     .scope("orders:read orders:write")
///     .dpop_bound_access_tokens();
/// # let _ = client;
/// # Ok::<(), keybound_issuer::EmptySecret>(())
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Client {
    pub(crate) id: Box<str>,
    /// What people know it by.
    name: Option<Box<str>>,
    pub(crate) authentication: Authentication,
    pub(crate) grant_types: Vec<GrantType>,
    pub(crate) scope: Box<str>,
    pub(crate) redirect_uris: Vec<Box<str>>,
    pub(crate) post_logout_redirect_uris: Vec<Box<str>>,
    /// What it signs request objects with.
    pub(crate) keys: Option<KeySet>,
    bound: bool,
    /// Whether it registered itself, and nobody knows whose it is.
    is_stranger: bool,
}

impl Client {
    /// The client with this `client_id`, which authenticates in this way and no other.
    pub fn new(id: impl Into<Box<str>>, authentication: Authentication) -> Self {
        Self {
            id: id.into(),
            name: None,
            authentication,
            grant_types: Vec::new(),
            scope: Box::default(),
            redirect_uris: Vec::new(),
            post_logout_redirect_uris: Vec::new(),
            keys: None,
            bound: false,
            is_stranger: false,
        }
    }

    /// What people know it by: pages show it. Without one they show the `client_id`.
    pub fn name(mut self, name: impl Into<Box<str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Allows a grant.
    pub fn grant_type(mut self, grant_type: GrantType) -> Self {
        if !self.grant_types.contains(&grant_type) {
            self.grant_types.push(grant_type);
        }
        self
    }

    /// Every scope it may have, with spaces between; what it gets when it asks for none in particular.
    pub fn scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scope = scope.into();
        self
    }

    /// An address its users may be sent back to.
    pub fn redirect_uri(mut self, uri: impl Into<Box<str>>) -> Self {
        self.redirect_uris.push(uri.into());
        self
    }

    /// An address its users may be sent to when they have signed out.
    pub fn post_logout_redirect_uri(mut self, uri: impl Into<Box<str>>) -> Self {
        self.post_logout_redirect_uris.push(uri.into());
        self
    }

    /// The keys it signs request objects with (RFC 9101); those of `private_key_jwt` unless set.
    pub fn keys(mut self, keys: KeySet) -> Self {
        self.keys = Some(keys);
        self
    }

    /// Refuses it every token that is not bound to a key (RFC 9449 section 5.2).
    pub const fn dpop_bound_access_tokens(mut self) -> Self {
        self.bound = true;
        self
    }

    /// The `client_id`.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// What people know it by.
    pub(crate) fn shown(&self) -> &str {
        self.name.as_deref().filter(|name| !name.trim().is_empty()).unwrap_or(&self.id)
    }

    /// The scopes it may have.
    pub fn scopes(&self) -> impl Iterator<Item = &str> + Clone {
        self.scope.split(' ').filter(|scope| !scope.is_empty())
    }

    /// Whether users may be sent there: to an address of its registration, octet by octet; on loopback, where a native
    /// application takes the port it gets, with any port (RFC 8252 section 7.3).
    pub(crate) fn redirects_to(&self, uri: &str) -> bool {
        let portless = without_loopback_port(uri);
        self.redirect_uris
            .iter()
            .any(|known| **known == *uri || portless.is_some() && without_loopback_port(known) == portless)
    }

    /// It registered itself.
    pub(crate) const fn stranger(mut self) -> Self {
        self.is_stranger = true;
        self
    }

    /// Whether the operator put it here, by the configuration or as an administrator.
    pub(crate) const fn is_vouched_for(&self) -> bool {
        !self.is_stranger
    }

    /// The keys a request object of it may be signed with.
    pub(crate) const fn request_keys(&self) -> Option<&KeySet> {
        match (&self.keys, &self.authentication) {
            (Some(keys), _) | (None, Authentication::PrivateKeyJwt(keys)) => Some(keys),
            _ => None,
        }
    }

    /// Whether it cannot keep a secret, and so does not authenticate.
    pub(crate) const fn is_public(&self) -> bool {
        matches!(self.authentication, Authentication::None)
    }

    /// Whether it may have no token without a proof (RFC 9449 section 5.2).
    pub(crate) const fn is_bound(&self) -> bool {
        self.bound
    }

    /// What its token requests must prove, whatever the grant (R-AS-10).
    pub(crate) const fn binding(&self) -> GrantBinding {
        if self.bound { GrantBinding::AnyKey } else { GrantBinding::Free }
    }
}

/// What is before and after the port of an `http` URI on a loopback address.
fn without_loopback_port(uri: &str) -> Option<(&str, &str)> {
    let host = ["http://127.0.0.1", "http://[::1]"].into_iter().find(|host| uri.starts_with(host))?;
    let rest = uri.strip_prefix(host)?;
    let path = match rest.strip_prefix(':') {
        Some(port) => port.trim_start_matches(|digit: char| digit.is_ascii_digit()),
        None => rest,
    };
    (path.is_empty() || path.starts_with(['/', '?'])).then_some((host, path))
}

/// How a client authenticates at the token endpoint (`token_endpoint_auth_method`).
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Authentication {
    /// `none`: a public client, which cannot keep a secret.
    None,
    /// `client_secret_basic`
    SecretBasic(Secret),
    /// `client_secret_post`
    SecretPost(Secret),
    /// `private_key_jwt`, with the public keys of the client.
    PrivateKeyJwt(KeySet),
}

/// A grant of the token endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum GrantType {
    /// `authorization_code` (RFC 6749 section 4.1)
    AuthorizationCode,
    /// `client_credentials` (RFC 6749 section 4.4)
    ClientCredentials,
    /// `refresh_token` (RFC 6749 section 6)
    RefreshToken,
    /// `urn:ietf:params:oauth:grant-type:device_code` (RFC 8628)
    DeviceCode,
    /// `urn:ietf:params:oauth:grant-type:token-exchange` (RFC 8693)
    TokenExchange,
}

impl GrantType {
    /// Every grant this server knows.
    pub const ALL: &'static [Self] =
        &[Self::AuthorizationCode, Self::ClientCredentials, Self::RefreshToken, Self::DeviceCode, Self::TokenExchange];

    /// The value of `grant_type`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::AuthorizationCode => "authorization_code",
            Self::ClientCredentials => "client_credentials",
            Self::RefreshToken => "refresh_token",
            Self::DeviceCode => "urn:ietf:params:oauth:grant-type:device_code",
            Self::TokenExchange => "urn:ietf:params:oauth:grant-type:token-exchange",
        }
    }
}

impl FromStr for GrantType {
    type Err = UnknownGrantType;

    fn from_str(text: &str) -> Result<Self, UnknownGrantType> {
        Self::ALL.iter().copied().find(|grant| grant.as_str() == text).ok_or(UnknownGrantType)
    }
}

impl fmt::Display for GrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Not a grant this server knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnknownGrantType;

impl fmt::Display for UnknownGrantType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a grant type of this issuer; it knows")?;
        for (position, grant) in GrantType::ALL.iter().enumerate() {
            write!(f, "{} {grant}", if position == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for UnknownGrantType {}

/// A client's secret, of which only a digest is kept.
///
/// # Security
///
/// The digest is plain SHA-256: good for a secret made of 128 random bits or more, worthless for a password.
#[derive(Clone)]
pub struct Secret([u8; 32]);

impl Secret {
    /// Takes the digest of `secret` and wipes it.
    ///
    /// # Errors
    ///
    /// [`EmptySecret`].
    pub fn new(mut secret: String) -> Result<Self, EmptySecret> {
        if secret.is_empty() {
            return Err(EmptySecret);
        }
        let digest = Sha256::digest(secret.as_bytes()).into();
        secret.zeroize();
        Ok(Self(digest))
    }

    /// What no secret is equal to: compared with when there is no client, so that the answer takes the same time.
    pub(crate) const NOBODYS: Self = Self([0; 32]);

    /// Of a digest that was stored.
    pub(crate) fn of_digest(digest: &str) -> Option<Self> {
        keybound::jws::decode_base64url(digest).ok()?.try_into().ok().map(Self)
    }

    /// Whether this is the secret, in constant time.
    pub(crate) fn is(&self, secret: &str) -> bool {
        let digest: [u8; 32] = Sha256::digest(secret.as_bytes()).into();
        digest.ct_eq(&self.0).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// A secret of no characters is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct EmptySecret;

impl fmt::Display for EmptySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a client secret must not be empty")
    }
}

impl core::error::Error for EmptySecret {}
