//! The settings of a resource server, and what can be wrong with them.

use core::fmt;
use std::sync::Arc;

use keybound::challenge::{ChallengeError, Challenges, Realm};
use keybound::request::Origins;
use keybound::token::TokenPolicy;
use keybound::verify::Verifier;

use super::{Inner, ResourceServer};
use crate::tokens::{Issuer, TokenMemory, Tokens, Voucher};
use crate::{Clock, SystemClock};

/// Room for some ten thousand tokens of usual length.
const TOKEN_MEMORY: u64 = 32 << 20;

/// What is wrong with the settings of a [`ResourceServer`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// No issuer is named: no token could be accepted.
    NoIssuer,
    /// This issuer is named twice.
    IssuerRepeated(Box<str>),
    /// This issuer's tokens are for nobody here: its audience is empty.
    NoAudience(Box<str>),
    /// Something cannot stand in a challenge.
    Challenge(ChallengeError),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoIssuer => f.write_str("no issuer is named, so that no token could be accepted"),
            Self::IssuerRepeated(issuer) => write!(f, "the issuer {issuer} is named twice"),
            Self::NoAudience(issuer) => {
                write!(f, "the issuer {issuer} has no audience, so that none of its tokens is for us")
            }
            Self::Challenge(error) => error.fmt(f),
        }
    }
}

impl core::error::Error for ConfigError {}

impl From<ChallengeError> for ConfigError {
    fn from(error: ChallengeError) -> Self {
        Self::Challenge(error)
    }
}

/// Everything that is wrong with the settings, at least one thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<ConfigError>);

impl ConfigErrors {
    /// One after the other.
    pub fn iter(&self) -> impl Iterator<Item = &ConfigError> {
        self.0.iter()
    }
}

impl fmt::Display for ConfigErrors {
    /// One a line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, error) in self.0.iter().enumerate() {
            if position > 0 {
                f.write_str("\n")?;
            }
            error.fmt(f)?;
        }
        Ok(())
    }
}

impl core::error::Error for ConfigErrors {}

/// Settings of a [`ResourceServer`].
#[must_use]
pub struct ResourceServerBuilder<S> {
    verifier: Arc<Verifier>,
    origins: Origins,
    replays: Arc<S>,
    issuers: Vec<Issuer>,
    may_trust_nobody: bool,
    clock: Option<Arc<dyn Clock>>,
    realm: Option<Realm>,
    resource_metadata: Option<Box<str>>,
    token_memory: u64,
}

impl<S> ResourceServerBuilder<S> {
    pub(super) const fn new(verifier: Arc<Verifier>, origins: Origins, replays: Arc<S>) -> Self {
        Self {
            verifier,
            origins,
            replays,
            issuers: Vec::new(),
            may_trust_nobody: false,
            clock: None,
            realm: None,
            resource_metadata: None,
            token_memory: TOKEN_MEMORY,
        }
    }

    /// Accepts the tokens of this issuer, for which its keys vouch or its introspection endpoint does; may be called for several.
    pub fn issuer(mut self, policy: TokenPolicy, voucher: impl Into<Voucher>) -> Self {
        self.issuers.push(Issuer { policy, voucher: voucher.into() });
        self
    }

    /// It may be without any issuer, and refuses every token then: for a server where nothing asks for one yet.
    pub const fn may_trust_nobody(mut self) -> Self {
        self.may_trust_nobody = true;
        self
    }

    /// The clock; that of the operating system unless set.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The realm in challenges; none unless set.
    pub fn realm(mut self, realm: Realm) -> Self {
        self.realm = Some(realm);
        self
    }

    /// Where the metadata of this resource is, for challenges (RFC 9728 section 5.1); not said unless set.
    pub fn resource_metadata(mut self, address: &str) -> Self {
        self.resource_metadata = Some(address.into());
        self
    }

    /// About how many bytes verified tokens may be remembered in; 32 MiB unless set, 0 for none.
    pub const fn token_memory(mut self, bytes: u64) -> Self {
        self.token_memory = bytes;
        self
    }

    /// The resource server.
    ///
    /// # Errors
    ///
    /// Every [`ConfigError`] there is.
    pub fn build(self) -> Result<ResourceServer<S>, ConfigErrors> {
        let mut errors = self.issuer_errors();
        let challenges = match self.base_challenges() {
            Ok(challenges) if errors.is_empty() => challenges,
            Ok(_) => return Err(ConfigErrors(errors)),
            Err(error) => {
                errors.push(error.into());
                return Err(ConfigErrors(errors));
            }
        };
        Ok(ResourceServer {
            inner: Arc::new(Inner {
                verifier: self.verifier,
                origins: self.origins,
                tokens: Tokens::new(self.issuers, TokenMemory::new(self.token_memory)),
                replays: self.replays,
                clock: self.clock.unwrap_or_else(|| Arc::new(SystemClock::new())),
                challenges,
            }),
        })
    }

    fn issuer_errors(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        if self.issuers.is_empty() && !self.may_trust_nobody {
            errors.push(ConfigError::NoIssuer);
        }
        for (position, issuer) in self.issuers.iter().enumerate() {
            let name = issuer.policy.issuer();
            if self.issuers.iter().take(position).any(|other| other.policy.issuer() == name) {
                errors.push(ConfigError::IssuerRepeated(name.into()));
            }
            if issuer.policy.audience().next().is_none() {
                errors.push(ConfigError::NoAudience(name.into()));
            }
        }
        errors
    }

    fn base_challenges(&self) -> Result<Challenges, ChallengeError> {
        let mut challenges = Challenges::dpop(self.verifier.algorithms())?;
        if let Some(realm) = &self.realm {
            challenges = challenges.realm(realm.clone());
        }
        match &self.resource_metadata {
            Some(address) => challenges.resource_metadata(address),
            None => Ok(challenges),
        }
    }
}

impl<S> fmt::Debug for ResourceServerBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServerBuilder")
            .field("origins", &self.origins)
            .field("issuers", &self.issuers)
            .finish_non_exhaustive()
    }
}
