//! `[authorization_server]`: the embedded issuer, its clients and its users.

use core::fmt;
use core::time::Duration;
use std::path::PathBuf;

use keybound_issuer::store::Location;
use keybound_issuer::{GrantType, PasswordHash, ProofEndpoint, SignInProvider};

use super::{KeyFile, NoncePolicy, PublicUrl, SigningKeys};

/// `[authorization_server]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct AuthorizationServer {
    /// Its identifier.
    pub url: PublicUrl,
    /// What its tokens may be for besides the origins.
    pub audience: Vec<String>,
    /// Where codes, refresh tokens and registered clients are kept.
    pub store: Location,
    /// Where the one key is kept that signs its tokens; `None`: it makes keys by itself.
    pub signing_key: Option<PathBuf>,
    /// The keys it makes.
    pub keys: SigningKeys,
    /// When single endpoints ask for nonces; the others, by `[proof]`.
    pub nonces: Vec<(ProofEndpoint, NoncePolicy)>,
    /// Who may register clients.
    pub registration: Registration,
    /// Scopes those clients may have.
    pub registration_scope: Vec<String>,
    /// How long the audit log stays in the store; `None`: it is not there.
    pub audit_lifetime: Option<Duration>,
    /// A file that the audit log is appended to.
    pub audit_file: Option<PathBuf>,
    /// The user who is signed in and agrees to everything, on loopback.
    pub auto_approve: Option<String>,
    /// How long people stay signed in.
    pub session_lifetime: Duration,
    /// Its clients.
    pub clients: Vec<Client>,
    /// People who may sign in, besides those of the store.
    pub users: Vec<User>,
    /// Other providers through which its users may sign in.
    pub sign_in: Vec<SignInProvider>,
}

/// Who may register clients at the embedded issuer.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Registration {
    /// Nobody.
    Off,
    /// Anybody.
    Open,
    /// Whoever has this token.
    WithToken(String),
}

impl fmt::Debug for Registration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "Off",
            Self::Open => "Open",
            Self::WithToken(_) => "WithToken(..)",
        })
    }
}

/// `[[authorization_server.client]]`
#[derive(Clone)]
#[non_exhaustive]
pub struct Client {
    /// Its name.
    pub id: String,
    /// What people know it by.
    pub name: Option<String>,
    /// What it authenticates with, if the method is one with a secret.
    pub secret: Option<String>,
    /// How it authenticates, by the registered name.
    pub authentication: ClientAuthentication,
    /// Its grants.
    pub grant_types: Vec<GrantType>,
    /// Its public keys, for request objects too.
    pub keys: Option<KeyFile>,
    /// Where its users may be sent back to.
    pub redirect_uris: Vec<String>,
    /// Where its users may be sent when they have signed out.
    pub post_logout_redirect_uris: Vec<String>,
    /// Scopes it may have.
    pub scope: Vec<String>,
    /// Whether every token request needs a proof.
    pub dpop_bound_access_tokens: bool,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("authentication", &self.authentication)
            .finish_non_exhaustive()
    }
}

/// `[[authorization_server.user]]`
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct User {
    /// What they sign in with, and `sub` of their tokens.
    pub username: String,
    /// The hash of their password.
    pub password_hash: PasswordHash,
    /// As people call them.
    pub name: Option<String>,
    /// Where mail reaches them.
    pub email: Option<String>,
}

/// How a client authenticates at the token endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// HTTP Basic.
    SecretBasic,
    /// In the form.
    SecretPost,
    /// A signed assertion, under a key of this file.
    PrivateKeyJwt(KeyFile),
    /// Not at all: a public client.
    None,
}
