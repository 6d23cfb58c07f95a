//! The settings of a provider that users may come from, and what can be wrong with them.

use core::fmt;
use std::sync::Arc;

use keybound::client::Secret;
use keybound::crypto::Signer;
use keybound::request::TargetUri;

/// Another OpenID provider through which users may sign in. Only users come in who have connected their account there with theirs
/// here, unless it [creates users](Self::creates_users).
///
/// ```
/// use keybound::client::Secret;
/// use keybound_issuer::{SignInProvider, SignInAuthentication};
///
/// let secret = SignInAuthentication::SecretBasic(Secret::new("7Fjfp0ZBr1KtDRbnfVdmIw"));
/// let provider = SignInProvider::new("work", "https://login.example.com", "keybound", secret).shown("Example Inc.").creates_users();
/// # let _ = provider;
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct SignInProvider {
    pub(crate) name: Box<str>,
    pub(crate) issuer: Box<str>,
    pub(crate) client_id: Box<str>,
    pub(crate) authentication: SignInAuthentication,
    pub(crate) shown: Box<str>,
    pub(crate) scopes: Vec<Box<str>>,
    pub(crate) creates_users: bool,
}

/// How this issuer shows a provider that it is its client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum SignInAuthentication {
    /// `client_secret_basic`
    SecretBasic(Secret),
    /// `client_secret_post`
    SecretPost(Secret),
    /// `private_key_jwt`
    PrivateKeyJwt {
        /// What assertions are signed with.
        key: Arc<dyn Signer>,
        /// Its name at the provider.
        kid: Option<Box<str>>,
    },
    /// `none`: PKCE alone.
    None,
}

impl SignInProvider {
    /// The provider with this issuer identifier, at which this issuer is registered as `client_id`. `name` stands in the address it
    /// sends browsers back to, `{issuer}/sign-in/from/{name}`: letters, digits and `-`.
    pub fn new(
        name: impl Into<Box<str>>,
        issuer: impl Into<Box<str>>,
        client_id: impl Into<Box<str>>,
        authentication: SignInAuthentication,
    ) -> Self {
        let name = name.into();
        Self {
            shown: name.clone(),
            name,
            issuer: issuer.into(),
            client_id: client_id.into(),
            authentication,
            scopes: Vec::new(),
            creates_users: false,
        }
    }

    /// What people know it as; its name unless set.
    pub fn shown(mut self, shown: impl Into<Box<str>>) -> Self {
        self.shown = shown.into();
        self
    }

    /// Another scope that is asked for beside `openid`, such as `profile`.
    pub fn scope(mut self, scope: impl Into<Box<str>>) -> Self {
        self.scopes.push(scope.into());
        self
    }

    /// Whoever comes from there for the first time becomes a user. Whom that provider lets in, this issuer lets in.
    pub const fn creates_users(mut self) -> Self {
        self.creates_users = true;
        self
    }

    pub(super) fn scope_text(&self) -> String {
        let others = self.scopes.iter().map(|scope| &**scope).filter(|scope| *scope != "openid");
        core::iter::once("openid").chain(others).collect::<Vec<_>>().join(" ")
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What is wrong with it.
    pub fn mistake(&self) -> Option<SignInError> {
        let is_name = |octet: u8| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'-';
        if self.name.is_empty() || self.name.len() > 32 || !self.name.bytes().all(is_name) {
            return Some(SignInError::Name);
        }
        let uri = TargetUri::parse(&self.issuer).ok().filter(|_| !self.issuer.contains(['?', '#']));
        if !uri.is_some_and(|uri| uri.is_https() || uri.is_loopback()) {
            return Some(SignInError::Issuer);
        }
        let is_token = |text: &str| !text.is_empty() && text.bytes().all(|octet| octet.is_ascii_graphic());
        if !is_token(&self.client_id) {
            return Some(SignInError::ClientId);
        }
        if !self.scopes.iter().all(|scope| is_token(scope) && !scope.contains(['"', '\\'])) {
            return Some(SignInError::Scope);
        }
        let is_line = |text: &str| !text.trim().is_empty() && text.len() <= 64 && !text.chars().any(char::is_control);
        (!is_line(&self.shown)).then_some(SignInError::Shown)
    }
}

/// What is wrong with the settings of a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SignInError {
    /// The name is not 1 to 32 small letters, digits and `-`.
    Name,
    /// Another provider has this name.
    NameTaken,
    /// The issuer is no https URL without query and fragment, or http on loopback.
    Issuer,
    /// The client identifier is not of printable ASCII without blanks.
    ClientId,
    /// A scope is none.
    Scope,
    /// What is shown is no line of at most 64 octets.
    Shown,
}

impl fmt::Display for SignInError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Name => "a name is 1 to 32 small letters, digits and -",
            Self::NameTaken => "another one has this name",
            Self::Issuer => "the issuer is an https URL, or http on loopback, without query and fragment",
            Self::ClientId => "the client_id is of printable ASCII without blanks",
            Self::Scope => "a scope is of printable ASCII without blanks, quotation marks and backslashes",
            Self::Shown => "what people see is a line of at most 64 octets",
        })
    }
}

impl core::error::Error for SignInError {}
