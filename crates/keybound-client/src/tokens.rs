//! The life of an access token: got from the issuer, kept, renewed before it expires and when a server refuses it. However many
//! requests want one, one of them asks for it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use keybound::client::Secret;
use keybound::crypto::AlgSet;
use parking_lot::RwLock;
use tokio::sync::Mutex;

use crate::access::{Access, Grant};
use crate::client::{Core, now};
use crate::error::Error;
use crate::grant;
use crate::key::Holder;
use crate::metadata::Metadata;
use crate::token::{Token, TokenId, TokenStore};

/// How long metadata of the issuer is used before it is read again.
const METADATA_LIFE: Duration = Duration::from_secs(3600);

/// How often it is looked whether another program is done.
const CLAIMED: Duration = Duration::from_millis(20);

/// A token and the key it is bound to, which may be another than the one for new tokens.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) token: Arc<Token>,
    pub(crate) holder: Arc<Holder>,
}

/// Where a client's tokens come from, and the one it has.
pub(crate) struct Tokens {
    /// `None` if it has no more than the one it was given.
    issuer: Option<Issuer>,
    current: RwLock<Option<Arc<Held>>>,
    flight: Mutex<Flight>,
}

struct Issuer {
    access: Access,
    store: Option<Arc<dyn TokenStore>>,
}

/// What the one that asks for a token holds meanwhile.
#[derive(Default)]
struct Flight {
    metadata: Option<(Metadata, Instant)>,
    /// What the resource takes, as far as it said.
    algs: Option<AlgSet>,
    /// The last failure, for those who waited for it: they are not to fail one after the other.
    failed: Option<(Arc<Error>, Instant)>,
}

impl Tokens {
    /// This token and no other, or none at all.
    pub(crate) fn fixed(token: Option<Token>, holder: &Arc<Holder>) -> Self {
        let held = token.map(|token| Held { token: Arc::new(token), holder: Arc::clone(holder) });
        Self::new(None, held, None)
    }

    /// Tokens for a resource that takes proofs by `algs`, as far as that is known.
    pub(crate) fn issued(access: Access, store: Option<Arc<dyn TokenStore>>, algs: Option<AlgSet>) -> Self {
        Self::new(Some(Issuer { access, store }), None, algs)
    }

    fn new(issuer: Option<Issuer>, current: Option<Held>, algs: Option<AlgSet>) -> Self {
        let flight = Flight { algs, ..Flight::default() };
        Self { issuer, current: RwLock::new(current.map(Arc::new)), flight: Mutex::new(flight) }
    }

    /// The token to send now.
    pub(crate) async fn current(&self, core: &Core) -> Result<Arc<Held>, Error> {
        let asked = Instant::now();
        let Some(issuer) = &self.issuer else {
            return self.held().ok_or(Error::NoToken);
        };
        let fresh = || self.held().filter(|held| !held.token.is_due(now()));
        if let Some(held) = fresh() {
            return Ok(held);
        }
        let mut flight = self.flight.lock().await;
        if let Some(held) = fresh() {
            return Ok(held); // got by another while this one waited
        }
        if let Some(kept) = issuer.load(core, flight.algs).filter(Held::is_fresh) {
            return Ok(self.hold(kept));
        }
        let _claim = issuer.claim(core).await?;
        let mut old = self.held();
        if let Some(kept) = issuer.load(core, flight.algs) {
            if kept.is_fresh() {
                return Ok(self.hold(kept)); // renewed by another program meanwhile
            }
            // Its refresh token is the newest, whoever got it.
            old = Some(Arc::new(kept));
        }
        match self.fetch(&mut flight, issuer, old.as_deref(), asked, core).await {
            // Renewal comes early, so that an issuer may be away for a moment.
            Err(error @ Error::TokenRequest(_)) => {
                self.held().filter(|held| !held.token.is_expired(now())).ok_or(error)
            }
            done => done,
        }
    }

    /// Another token than `refused`, if there can be one.
    pub(crate) async fn renewed(&self, refused: &Arc<Held>, core: &Core) -> Result<Option<Arc<Held>>, Error> {
        let Some(issuer) = &self.issuer else { return Ok(None) };
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        if let Some(newer) = self.held().filter(|held| !Arc::ptr_eq(held, refused)) {
            return Ok(Some(newer));
        }
        let _claim = issuer.claim(core).await?;
        let kept = issuer.load(core, flight.algs).filter(|kept| kept.token.secret() != refused.token.secret());
        match kept {
            Some(newer) if newer.is_fresh() => Ok(Some(self.hold(newer))),
            kept => {
                let old = kept.as_ref().unwrap_or(refused);
                self.fetch(&mut flight, issuer, Some(old), asked, core).await.map(Some)
            }
        }
    }

    /// A token of another key than that of `refused`, whose algorithm is none of `algs`: if a key of this client has one.
    pub(crate) async fn rebound(
        &self,
        refused: &Arc<Held>,
        algs: AlgSet,
        server: &str,
        core: &Core,
    ) -> Result<Option<Arc<Held>>, Error> {
        core.keys.choose(server, &[algs])?;
        let Some(issuer) = &self.issuer else { return Ok(None) };
        let asked = Instant::now();
        let mut flight = self.flight.lock().await;
        if let Some(newer) = self.held().filter(|held| !Arc::ptr_eq(held, refused)) {
            return Ok(Some(newer));
        }
        flight.algs = Some(algs);
        self.fetch(&mut flight, issuer, None, asked, core).await.map(Some)
    }

    /// Asks the issuer, on behalf of everybody who waits for the flight to end.
    async fn fetch(
        &self,
        flight: &mut Flight,
        issuer: &Issuer,
        old: Option<&Held>,
        asked: Instant,
        core: &Core,
    ) -> Result<Arc<Held>, Error> {
        if let Some((error, when)) = &flight.failed
            && *when > asked
        {
            return Err(Error::TokenRequest(error.clone()));
        }
        match issuer.ask(flight, old, core).await {
            Ok(held) => {
                flight.failed = None;
                let kept = issuer.keep(&held);
                let held = self.hold(held);
                kept.map_err(Error::Store).map(|()| held)
            }
            Err(error) => {
                let error = Arc::new(error);
                flight.failed = Some((error.clone(), Instant::now()));
                Err(Error::TokenRequest(error))
            }
        }
    }

    fn held(&self) -> Option<Arc<Held>> {
        self.current.read().clone()
    }

    fn hold(&self, held: Held) -> Arc<Held> {
        let held = Arc::new(held);
        *self.current.write() = Some(held.clone());
        held
    }
}

impl Held {
    /// Whether it is known to be good for a while.
    fn is_fresh(&self) -> bool {
        self.token.expires().is_some() && !self.token.is_due(now())
    }
}

impl Issuer {
    /// Waits until no other program renews the token, for as long as an issuer may take.
    async fn claim(&self, core: &Core) -> Result<Option<Box<dyn Send + Sync>>, Error> {
        let Some(store) = &self.store else { return Ok(None) };
        // By the key that was there first: programs that know a newer one are after the same token.
        let Some(holder) = core.keys.all().pop() else { return Ok(None) };
        let id = TokenId::new(&self.access, *holder.jkt());
        let begun = Instant::now();
        loop {
            if let Some(claim) = store.claim(&id).map_err(Error::Store)? {
                return Ok(Some(claim));
            }
            if begun.elapsed() > core.transport.limits().answer {
                let why = "another program has been renewing it for too long";
                return Err(Error::Store(io::Error::new(io::ErrorKind::TimedOut, why)));
            }
            tokio::time::sleep(CLAIMED).await;
        }
    }

    async fn ask(&self, flight: &mut Flight, old: Option<&Held>, core: &Core) -> Result<Held, Error> {
        let known = flight.metadata.take().filter(|(_, read)| read.elapsed() < METADATA_LIFE);
        let (metadata, read) = match known {
            Some(known) => known,
            None => {
                let metadata =
                    Metadata::discover(&self.access.issuer, &core.transport, &core.servers, core.plain).await?;
                (metadata, Instant::now())
            }
        };
        let held = self.grant(&metadata, flight.algs, old, core).await?;
        flight.metadata = Some((metadata, read)); // after a failure it is read anew: the endpoint may have moved
        Ok(held)
    }

    /// By the refresh token if there is one, else from the start.
    async fn grant(
        &self,
        metadata: &Metadata,
        algs: Option<AlgSet>,
        old: Option<&Held>,
        core: &Core,
    ) -> Result<Held, Error> {
        let access = &self.access;
        let server = metadata.token_endpoint().uri().origin();
        let lists: Vec<AlgSet> = metadata.algs().into_iter().chain(algs).collect();
        if let Some((refresh, bound_to)) = old.and_then(|held| Some((held.token.refresh()?, &held.holder))) {
            // R-CLI-08. One of a client that authenticates is bound to the client, and follows it to its new key.
            let holder = if access.is_public() { Arc::clone(bound_to) } else { core.keys.choose(server, &lists)? };
            match grant::refresh(access, refresh, metadata, &holder, core).await {
                Err(error) if error.is_invalid_grant() => {} // used up or revoked: from the start
                done => return done.map(|token| renewed(token, refresh, holder)),
            }
        }
        if let Grant::Refresh { token, jkt } = &access.grant {
            let holder = match jkt {
                None => core.keys.choose(server, &lists)?,
                Some(jkt) => {
                    let all = core.keys.all();
                    let own = all.iter().find(|holder| holder.jkt() == jkt);
                    own.cloned().ok_or(Error::KeyGone(*jkt))?
                }
            };
            let fresh = grant::refresh(access, token, metadata, &holder, core).await?;
            return Ok(renewed(fresh, token, holder));
        }
        let holder = core.keys.choose(server, &lists)?;
        grant::begin(access, metadata, holder, core).await
    }

    fn load(&self, core: &Core, algs: Option<AlgSet>) -> Option<Held> {
        let store = self.store.as_ref()?;
        let all = core.keys.all();
        let fit = all.iter().filter(|holder| algs.is_none_or(|algs| algs.contains(holder.alg())));
        fit.filter_map(|holder| {
            let token = store.load(&TokenId::new(&self.access, *holder.jkt()))?;
            let usable = token.is_bound() || core.accept_unbound;
            usable.then(|| Held { token: Arc::new(token), holder: Arc::clone(holder) })
        })
        .next()
    }

    fn keep(&self, held: &Held) -> io::Result<()> {
        // A token of a key that ends with this run is of no use to the next.
        let lasting = !matches!(&self.access.grant, Grant::AuthorizationCode(login) if login.fresh_key);
        match &self.store {
            Some(store) if lasting => store.save(&TokenId::new(&self.access, *held.holder.jkt()), &held.token),
            _ => Ok(()),
        }
    }
}

/// An issuer that gives no new refresh token means the old one to stay (RFC 6749 section 6).
fn renewed(token: Token, refresh: &Secret, holder: Arc<Holder>) -> Held {
    let token = if token.refresh().is_some() { token } else { token.with_refresh(refresh.clone()) };
    Held { token: Arc::new(token), holder }
}
