//! The keys and tokens that requests are sent with.

use std::sync::Arc;

use keybound::crypto::Signer;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound_client::Client;
use keybound_probe::load::{Caller, Load as Plan};

use super::{Load, Scheme, failure};
use crate::access::variable;
use crate::outcome::Failure;
use crate::token;

type Result<T> = std::result::Result<T, Failure>;

/// Who calls.
pub(super) enum Callers {
    Nobody,
    /// A token without a proof.
    Bearer(String),
    /// A token that was given, and its key.
    Given(Caller),
    /// Tokens of an issuer, renewed while the load runs.
    Issued(Vec<(Client, Caller)>),
}

impl Callers {
    pub(super) fn of(load: &Load) -> Result<Self> {
        match load.scheme {
            Scheme::None => Ok(Self::Nobody),
            Scheme::Bearer if load.access.has_issuer() => {
                let client = load.access.client_of(key(load)?)?.build().map_err(Failure::failed)?;
                let token = token::block_on(client.token())?.map_err(|error| token::failure(&error))?;
                Ok(Self::Bearer(token.secret().to_owned()))
            }
            Scheme::Bearer => Ok(Self::Bearer(given(load)?)),
            Scheme::Dpop if load.access.has_issuer() => issued(load).map(Self::Issued),
            Scheme::Dpop => {
                let token = given(load)?;
                let key = load.access.key()?.ok_or_else(|| {
                    Failure::usage("--token needs --key: the token is of use only with the key it is bound to")
                })?;
                Caller::new(Arc::new(key), &token).map(Self::Given).map_err(failure)
            }
        }
    }

    /// Puts them into the plan.
    pub(super) fn join(&self, plan: Plan) -> Result<Plan> {
        match self {
            Self::Nobody => Ok(plan),
            Self::Bearer(token) => plan.bearer(token).map_err(failure),
            Self::Given(caller) => Ok(plan.caller(caller.clone())),
            Self::Issued(all) => Ok(all.iter().fold(plan, |plan, (_, caller)| plan.caller(caller.clone()))),
        }
    }

    /// Renews the tokens that are about to expire.
    pub(super) async fn renew(&self) -> Result<()> {
        let Self::Issued(all) = self else { return Ok(()) };
        for (client, caller) in all {
            let token = client.token().await.map_err(|error| token::failure(&error))?;
            caller.renew(token.secret()).map_err(failure)?;
        }
        Ok(())
    }
}

/// One token after the other: it is not the issuer that is put under load.
fn issued(load: &Load) -> Result<Vec<(Client, Caller)>> {
    token::block_on(async {
        let mut all = Vec::with_capacity(load.keys.get());
        for _ in 0..load.keys.get() {
            let key = key(load)?;
            let client = load.access.client_of(Arc::clone(&key))?.build().map_err(Failure::failed)?;
            let token = client.token().await.map_err(|error| token::failure(&error))?;
            all.push((client, Caller::new(key, token.secret()).map_err(failure)?));
        }
        Ok(all)
    })?
}

/// The key of the options, or a new one.
fn key(load: &Load) -> Result<Arc<dyn Signer>> {
    Ok(match load.access.key()? {
        Some(key) => Arc::new(key),
        None => Arc::new(SoftwareKey::generate(load.alg).map_err(Failure::failed)?),
    })
}

fn given(load: &Load) -> Result<String> {
    let token = match &load.token {
        Some(token) => Some(token.clone()),
        None => variable("KEYBOUND_TOKEN")?,
    };
    token.ok_or_else(|| {
        Failure::usage(
            "there is no token: give --issuer and --client-id to get one, --token and --key, or --scheme none",
        )
    })
}
