//! From the text of an access token to what it says, by the keys of its issuer or from memory.

mod keys;
mod memory;

use std::sync::Arc;

use keybound::refusal::{Denial, Reason};
use keybound::request::AccessToken;
use keybound::token::jwt::SignedJwt;
use keybound::token::{TokenPolicy, ValidToken};

pub use self::keys::{FixedKeys, IssuerKeys};
pub(crate) use self::memory::TokenMemory;
use self::memory::{Known, Vouched};
use crate::Clock;

/// One issuer: what its tokens must say, and where its keys come from.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) policy: TokenPolicy,
    pub(crate) keys: IssuerKeys,
}

/// Every issuer whose tokens are accepted, and the tokens seen lately.
#[derive(Debug)]
pub(crate) struct Tokens {
    issuers: Vec<Issuer>,
    memory: TokenMemory,
}

/// A token that is good here and now; nothing is said about the one who sent it.
#[derive(Debug)]
#[must_use = "a resolved token is not yet an admission"]
pub(crate) struct Resolved {
    pub(crate) token: ValidToken,
    /// What to remember once the request is admitted.
    unremembered: Option<([u8; 32], Known)>,
}

impl Tokens {
    pub(crate) const fn new(issuers: Vec<Issuer>, memory: TokenMemory) -> Self {
        Self { issuers, memory }
    }

    pub(crate) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    /// Finds out what the token says and judges issuer, audience and times, which it does for remembered tokens too.
    pub(crate) async fn resolve(&self, token: AccessToken<'_>, clock: &Arc<dyn Clock>) -> Result<Resolved, Denial> {
        let hash = token.hash();
        if let Some(known) = self.memory.find(&hash, clock.uptime())
            && let Some(issuer) = self.issuers.get(known.issuer)
            && issuer.keys.still_vouch(&known.vouched, clock)
        {
            return Ok(Resolved {
                token: known.vouched.facts.judge(&issuer.policy, clock.now())?,
                unremembered: None,
            });
        }
        let jwt = SignedJwt::parse(token)?;
        let claimed = jwt.claimed_issuer()?;
        let by_name = |issuer: &Issuer| *issuer.policy.issuer() == *claimed;
        let index = self.issuers.iter().position(by_name).ok_or(Reason::TokenIssuer)?;
        let issuer = &self.issuers[index];

        let keys = issuer.keys.fitting(&jwt, clock).await?; // I/O
        let (facts, mark) = jwt.verify(&keys.set)?;
        let vouched = Vouched {
            facts,
            mark,
            generation: keys.generation,
        };
        // The keys may have been long in coming: the time is asked for anew.
        let valid = vouched.facts.judge(&issuer.policy, clock.now())?;
        let known = Known::new(vouched, index, token, clock.uptime());
        Ok(Resolved {
            token: valid,
            unremembered: Some((hash, known)),
        })
    }

    /// Remembers a token whose request was admitted: strangers leave no trace.
    pub(crate) fn remember(&self, unremembered: Unremembered) {
        if let Some((hash, known)) = unremembered.0 {
            self.memory.insert(hash, known);
        }
    }
}

/// What [`Tokens::remember`] takes, and nothing else.
#[derive(Debug)]
pub(crate) struct Unremembered(Option<([u8; 32], Known)>);

impl Resolved {
    pub(crate) fn split(self) -> (ValidToken, Unremembered) {
        (self.token, Unremembered(self.unremembered))
    }
}
