//! Who says that a token is an issuer's: a key of the issuer, or the issuer itself when it is asked.

use std::sync::Arc;

use keybound::token::jwt::KeySet;

use super::keys::{FixedKeys, IssuerKeys};
use super::memory::{Basis, Vouched};
use super::state::{KeySource, KeyState};
use crate::Clock;
use crate::introspection::Introspection;
use crate::jwks::DiscoveredKeys;

/// Who says that a token is an issuer's, and what it says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Voucher {
    /// Its signature, by a key of the issuer: JWT access tokens (RFC 9068).
    Keys(IssuerKeys),
    /// The issuer, asked about each token (RFC 7662): tokens of any form.
    Introspection(Introspection),
}

impl Voucher {
    /// Whether what was vouched for before would be vouched for again.
    pub(super) fn stands_by(&self, vouched: &Vouched, clock: &Arc<dyn Clock>) -> bool {
        match (self, &vouched.basis) {
            (Self::Keys(keys), Basis::Key { mark, generation }) => keys.still_hold(mark, *generation, clock),
            (Self::Introspection(introspection), Basis::Word { until }) => introspection.still_believed(*until, clock),
            _ => false,
        }
    }

    /// How it stands with what is needed to judge tokens of `issuer`.
    pub(crate) fn state(&self, issuer: &str, clock: &Arc<dyn Clock>) -> KeyState {
        match self {
            Self::Keys(keys) => keys.state(issuer, clock),
            Self::Introspection(introspection) => {
                let (failures, usable) = introspection.health(clock);
                let source = KeySource::Introspection;
                KeyState { issuer: issuer.into(), source, usable, age: None, failures, trouble: None }
            }
        }
    }

    /// Fetches what is to be fetched in the background.
    pub(crate) fn prefetch(&self, clock: &Arc<dyn Clock>) {
        if let Self::Keys(keys) = self {
            keys.prefetch(clock);
        }
    }
}

macro_rules! from_keys {
    ($($keys:ty),+) => {
        $(impl From<$keys> for Voucher {
            fn from(keys: $keys) -> Self {
                Self::Keys(keys.into())
            }
        })+
    };
}

from_keys!(IssuerKeys, FixedKeys, DiscoveredKeys, KeySet);

impl From<Introspection> for Voucher {
    fn from(introspection: Introspection) -> Self {
        Self::Introspection(introspection)
    }
}
