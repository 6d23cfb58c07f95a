//! From the text of an access token to what it says: by the keys of its issuer, by asking it, or from memory.

mod keys;
mod memory;
mod state;
mod voucher;

use std::sync::Arc;

use keybound::refusal::{Denial, Reason, Refusal};
use keybound::request::AccessToken;
use keybound::token::jwt::{SignedJwt, claimed_issuer};
use keybound::token::{TokenFacts, TokenPolicy, ValidToken};

pub(crate) use self::keys::Finds;
pub use self::keys::{FixedKeys, IssuerKeys};
pub(crate) use self::memory::TokenMemory;
use self::memory::{Basis, Known, Vouched};
pub use self::state::{KeySource, KeyState};
pub use self::voucher::Voucher;
use crate::introspection::{Caller, Introspection};
use crate::{Clock, Policy};

/// Whether tokens of the issuer of this name are taken.
type Taken<'t> = &'t (dyn Fn(&str) -> bool + Sync);

/// A token of which nothing is known that holds now.
#[derive(Clone, Copy)]
struct Sought<'t> {
    token: AccessToken<'t>,
    taken: Taken<'t>,
    caller: Caller,
}

/// One issuer: what its tokens must say, and who says that they are its own.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) policy: TokenPolicy,
    pub(crate) voucher: Voucher,
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

    pub(crate) fn key_states(&self, clock: &Arc<dyn Clock>) -> Vec<KeyState> {
        self.issuers.iter().map(|issuer| issuer.voucher.state(issuer.policy.issuer(), clock)).collect()
    }

    /// Finds out what the token says and judges issuer, audience and times, which it does for remembered tokens too.
    pub(crate) async fn resolve(
        &self,
        token: AccessToken<'_>,
        served: &Policy,
        clock: &Arc<dyn Clock>,
    ) -> Result<Resolved, Denial> {
        let hash = token.hash();
        let caller = match self.remembered(&hash, clock) {
            Ok((issuer, vouched)) => {
                if !served.takes(issuer.policy.issuer()) {
                    return Err(Reason::TokenIssuer.into());
                }
                return Ok(Resolved { token: vouched.facts.judge(&issuer.policy, clock.now())?, unremembered: None });
            }
            Err(caller) => caller,
        };
        let sought = Sought { token, taken: &|issuer| served.takes(issuer), caller };
        // Only of a token that is new, and long to describe: in a place of its own.
        let (index, vouched) = Box::pin(self.find_out(sought, clock)).await?; // I/O
        // The answer may have been long in coming: the time is asked for anew.
        let valid = vouched.facts.judge(&self.issuers[index].policy, clock.now())?;
        let known = Known::new(vouched, index, token, clock.uptime());
        Ok(Resolved { token: valid, unremembered: Some((hash, known)) })
    }

    /// What a token of one of the issuers says, whether or not it is good here and now. Nothing is remembered of it.
    pub(crate) async fn facts(
        &self,
        token: AccessToken<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Arc<TokenFacts>, Denial> {
        let caller = match self.remembered(&token.hash(), clock) {
            Ok((_, vouched)) => return Ok(vouched.facts),
            Err(caller) => caller,
        };
        let sought = Sought { token, taken: &|_| true, caller };
        Ok(Box::pin(self.find_out(sought, clock)).await?.1.facts) // I/O
    }

    /// What is remembered of a token and still holds, or else who sends it.
    fn remembered(&self, hash: &[u8; 32], clock: &Arc<dyn Clock>) -> Result<(&Issuer, Vouched), Caller> {
        let known = self.memory.find(hash, clock.uptime()).ok_or(Caller::Stranger)?;
        let issuer = self.issuers.get(known.issuer).ok_or(Caller::Stranger)?;
        let holds = issuer.voucher.stands_by(&known.vouched, clock);
        if holds { Ok((issuer, known.vouched)) } else { Err(Caller::Admitted) }
    }

    async fn find_out(&self, sought: Sought<'_>, clock: &Arc<dyn Clock>) -> Result<(usize, Vouched), Denial> {
        match SignedJwt::parse(sought.token) {
            Ok(jwt) => self.vouch(&jwt, sought, clock).await, // I/O
            Err(unreadable) => self.ask_around(sought, unreadable, clock).await, // I/O
        }
    }

    /// A JWT access token names its issuer: nobody else is asked about it.
    async fn vouch(
        &self,
        jwt: &SignedJwt<'_>,
        sought: Sought<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<(usize, Vouched), Denial> {
        let claimed = jwt.claimed_issuer()?;
        let named = |issuer: &Issuer| issuer.is_named(&claimed) && (sought.taken)(&claimed);
        let index = self.issuers.iter().position(named).ok_or(Reason::TokenIssuer)?;
        let issuer = &self.issuers[index];
        let vouched = match &issuer.voucher {
            Voucher::Keys(keys) => {
                let keys = keys.fitting(&|keys| jwt.finds_key(keys), clock).await?; // I/O
                let (facts, mark) = jwt.verify(&keys.set)?;
                Vouched { facts, basis: Basis::Key { mark, generation: keys.generation } }
            }
            Voucher::Introspection(introspection) => issuer.ask(introspection, sought, clock).await?, // I/O
        };
        Ok((index, vouched))
    }

    /// An opaque token is asked about one after the other of the issuers that can be asked, until one knows it; a JWT of
    /// another type, about the one it names alone.
    async fn ask_around(
        &self,
        sought: Sought<'_>,
        unreadable: Refusal,
        clock: &Arc<dyn Clock>,
    ) -> Result<(usize, Vouched), Denial> {
        let Sought { token, taken, .. } = sought;
        let named = claimed_issuer(token);
        let mut worst = Denial::Refused(unreadable);
        for (index, issuer) in self.issuers.iter().enumerate() {
            let Voucher::Introspection(introspection) = &issuer.voucher else { continue };
            if named.as_deref().is_some_and(|name| !issuer.is_named(name)) || !taken(issuer.policy.issuer()) {
                continue;
            }
            match issuer.ask(introspection, sought, clock).await {
                Ok(vouched) => return Ok((index, vouched)),
                // One that does not answer might have known it.
                Err(denial) if !matches!(worst, Denial::Failed(_)) => worst = denial,
                Err(_) => {}
            }
        }
        Err(worst)
    }

    /// Remembers a token whose request was admitted: strangers leave no trace.
    pub(crate) fn remember(&self, unremembered: Unremembered) {
        if let Some((hash, known)) = unremembered.0 {
            self.memory.insert(hash, known);
        }
    }
}

impl Issuer {
    fn is_named(&self, name: &str) -> bool {
        *self.policy.issuer() == *name
    }

    async fn ask(
        &self,
        introspection: &Introspection,
        Sought { token, caller, .. }: Sought<'_>,
        clock: &Arc<dyn Clock>,
    ) -> Result<Vouched, Denial> {
        let facts = introspection.ask(token, caller, &self.policy, clock).await?; // I/O
        Ok(Vouched { facts, basis: Basis::Word { until: introspection.believed_until(clock) } })
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

#[cfg(test)]
mod tests;
