//! The endpoints that take proofs, each with its own nonce policy.

use core::fmt;
use std::sync::Arc;

use keybound::authorization_server::AuthorizationServer;
use keybound::verify::{NoncePolicy, Verifier};

/// An endpoint of the issuer that takes proofs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ProofEndpoint {
    /// Where tokens are asked for.
    Token,
    /// Pushed authorization requests (RFC 9126).
    Par,
    /// Where devices get their codes (RFC 8628).
    DeviceAuthorization,
    /// The claims of the user: a protected resource, which has nonces of its own.
    Userinfo,
}

impl ProofEndpoint {
    /// Each of them.
    pub const ALL: [Self; 4] = [Self::Token, Self::Par, Self::DeviceAuthorization, Self::Userinfo];

    /// Its name, as in the audit log and in `[authorization_server.nonce]`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Par => "par",
            Self::DeviceAuthorization => "device_authorization",
            Self::Userinfo => "userinfo",
        }
    }
}

impl fmt::Display for ProofEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What verifies proofs at each of them. A proof is for one address, and so always judged by one policy; the memory of used
/// proofs and the keys of nonces are the same ones.
#[derive(Debug)]
pub(crate) struct ProofServers([AuthorizationServer; ProofEndpoint::ALL.len()]);

impl ProofServers {
    /// By these policies, the later of two for one endpoint, and else by that of `common`.
    pub(crate) fn of(common: &AuthorizationServer, policies: &[(ProofEndpoint, NoncePolicy)]) -> Self {
        let common_policy = common.verifier().nonce_policy();
        Self(ProofEndpoint::ALL.map(|endpoint| {
            let own = policies.iter().rfind(|(of, _)| *of == endpoint).map(|(_, policy)| *policy);
            match own.filter(|policy| *policy != common_policy) {
                Some(policy) => common.with_nonce_policy(policy),
                None => AuthorizationServer::new(common.shared_verifier()),
            }
        }))
    }

    pub(crate) const fn at(&self, endpoint: ProofEndpoint) -> &AuthorizationServer {
        let [token, par, device_authorization, userinfo] = &self.0;
        match endpoint {
            ProofEndpoint::Token => token,
            ProofEndpoint::Par => par,
            ProofEndpoint::DeviceAuthorization => device_authorization,
            ProofEndpoint::Userinfo => userinfo,
        }
    }

    pub(crate) fn verifier_at(&self, endpoint: ProofEndpoint) -> Arc<Verifier> {
        self.at(endpoint).shared_verifier()
    }
}
