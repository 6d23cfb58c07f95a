//! The keys an issuer serves, kept fresh: one fetch at a time, none in a hurry, old keys in preference to none.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use keybound::crypto::{AlgSet, Crypto};
use keybound::refusal::Fault;
use keybound::token::jwt::KeySet;
use parking_lot::Mutex;
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::Clock;
use crate::discovery::{IssuerError, IssuerLocation, Trouble};
use crate::fetch::{Document, Fetch, FetchError, MAX_DOCUMENT};
use crate::tokens::{Finds, KeySource, KeyState};

/// How long keys are fresh if their issuer does not say, and the bounds of what it says.
const FRESH: Duration = Duration::from_secs(10 * 60);
const FRESH_LEAST: Duration = Duration::from_secs(60);
const FRESH_MOST: Duration = Duration::from_secs(60 * 60);

/// How long keys are used while their issuer does not answer.
const STALE_MOST: Duration = Duration::from_secs(24 * 60 * 60);

/// How long metadata is believed: it says where the keys are, and that changes rarely.
const METADATA_FRESH: Duration = Duration::from_secs(60 * 60);

/// Tokens that name an unknown key cause one fetch in this time, whoever sends them (R-SEC-16).
const COOLDOWN: Duration = Duration::from_secs(30);

/// How long the issuer is left alone after a failure: doubled with each one in a row.
const REST_LEAST: Duration = Duration::from_secs(1);
const REST_MOST: Duration = Duration::from_secs(30);

/// The longest wait for metadata and keys together; requests wait for it.
const PATIENCE: Duration = Duration::from_secs(10);

/// The keys an issuer serves at the place its metadata names. Clones share them.
///
/// They are fetched when first needed, in the background once they are stale, and once in 30 s at most for tokens that name
/// an unknown key. An issuer that does not answer leaves the old keys in force for 24 h; without any, tokens cannot be judged
/// and the answer is [`Fault::KeysUnavailable`] until the issuer is back. Fetching needs a tokio runtime.
#[derive(Clone)]
pub struct DiscoveredKeys(Arc<Shared>);

struct Shared {
    issuer: IssuerLocation,
    crypto: Arc<dyn Crypto>,
    algs: AlgSet,
    fetch: Arc<dyn Fetch>,
    held: ArcSwapOption<Held>,
    schedule: Mutex<Schedule>,
}

/// The newest keys. Times are those of [`Clock::uptime`].
struct Held {
    keys: Arc<KeySet>,
    fetched: Duration,
    stale_at: Duration,
}

/// When to fetch again: the same few words of memory whatever is sent to us.
#[derive(Default)]
struct Schedule {
    /// Closed when the fetch under way has landed.
    flight: Option<watch::Receiver<()>>,
    failures: u32,
    rest_until: Duration,
    cool_until: Duration,
    /// What the last fetch failed of; `None` after one that did not.
    trouble: Option<Box<str>>,
    place: Option<Place>,
}

/// Where the keys were last time.
#[derive(Clone)]
struct Place {
    uri: Box<str>,
    believed_until: Duration,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// There are no keys, or old ones.
    Age,
    /// A token names a key that is not there.
    UnknownKey,
}

impl DiscoveredKeys {
    /// The keys of `issuer`, good for `algs`, got by `fetch`. Nothing is fetched yet.
    ///
    /// # Errors
    ///
    /// [`IssuerError`].
    pub fn new(
        issuer: &str,
        crypto: Arc<dyn Crypto>,
        algs: AlgSet,
        fetch: Arc<dyn Fetch>,
    ) -> Result<Self, IssuerError> {
        Ok(Self(Arc::new(Shared {
            issuer: IssuerLocation::parse(issuer)?,
            crypto,
            algs,
            fetch,
            held: ArcSwapOption::empty(),
            schedule: Mutex::default(),
        })))
    }

    /// The keys at hand that are not too old; stale ones are fetched anew in the background.
    pub(crate) fn current(&self, clock: &Arc<dyn Clock>) -> Option<Arc<KeySet>> {
        let now = clock.uptime();
        let held = self.0.held.load();
        let held = held.as_ref()?;
        if now >= held.stale_at {
            drop(self.begin(Cause::Age, clock));
        }
        (now.saturating_sub(held.fetched) < STALE_MOST).then(|| Arc::clone(&held.keys))
    }

    /// The keys to verify something with.
    pub(crate) async fn fitting(&self, finds: &Finds<'_>, clock: &Arc<dyn Clock>) -> Result<Arc<KeySet>, Fault> {
        let cause = match self.current(clock) {
            Some(keys) if finds(&keys) => return Ok(keys),
            Some(_) => Cause::UnknownKey,
            None => Cause::Age,
        };
        if let Some(mut flight) = self.begin(cause, clock) {
            // It ends by being closed: nothing is ever sent.
            let _closed = flight.changed().await;
        }
        let keys = self.current(clock).ok_or(Fault::KeysUnavailable)?;
        // While the issuer does not answer nobody knows whether the key is one of its new ones.
        if !finds(&keys) && self.0.schedule.lock().failures > 0 {
            return Err(Fault::KeysUnavailable);
        }
        Ok(keys)
    }

    /// Fetches the keys in the background, unless they are fresh.
    pub(crate) fn prefetch(&self, clock: &Arc<dyn Clock>) {
        if self.current(clock).is_none() {
            drop(self.begin(Cause::Age, clock));
        }
    }

    /// How it stands, without asking anybody.
    pub(crate) fn state(&self, clock: &Arc<dyn Clock>) -> KeyState {
        let now = clock.uptime();
        let age = self.0.held.load().as_ref().map(|held| now.saturating_sub(held.fetched));
        let schedule = self.0.schedule.lock();
        KeyState {
            issuer: self.0.issuer.name().into(),
            source: KeySource::Discovered,
            usable: age.is_some_and(|age| age < STALE_MOST),
            age,
            failures: schedule.failures,
            trouble: schedule.trouble.clone(),
        }
    }

    /// The fetch under way, or a new one if it is time for one.
    ///
    /// It runs in a task of its own: a client that goes away does not end it for the others.
    fn begin(&self, cause: Cause, clock: &Arc<dyn Clock>) -> Option<watch::Receiver<()>> {
        let now = clock.uptime();
        let mut schedule = self.0.schedule.lock();
        if let Some(flight) = schedule.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(flight.clone());
        }
        if now < schedule.rest_until || (cause == Cause::UnknownKey && now < schedule.cool_until) {
            return None;
        }
        let runtime = Handle::try_current().ok()?;
        if cause == Cause::UnknownKey {
            schedule.cool_until = now.saturating_add(COOLDOWN);
        }
        let (landed, flight) = watch::channel(());
        schedule.flight = Some(flight.clone());
        let place = schedule.place.clone();
        drop(schedule);
        let shared = Arc::clone(&self.0);
        let clock = Arc::clone(clock);
        runtime.spawn(async move {
            let outcome = tokio::time::timeout(PATIENCE, shared.fetch(place, now)).await;
            shared.land(outcome.unwrap_or(Err(Trouble::TimedOut)), now, clock.uptime());
            drop(landed);
        });
        Some(flight)
    }
}

impl Shared {
    /// Metadata if it is time for it, then the keys.
    async fn fetch(&self, place: Option<Place>, now: Duration) -> Result<(KeySet, Option<Duration>, Place), Trouble> {
        let place = match place {
            Some(place) if now < place.believed_until => place,
            old => match self.discover().await {
                Ok(uri) => Place { uri, believed_until: now.saturating_add(METADATA_FRESH) },
                Err(trouble) => old.ok_or(trouble)?,
            },
        };
        let document = self.document(&place.uri).await?;
        let keys = KeySet::read_served(&document.body, &*self.crypto, self.algs).map_err(Trouble::Keys)?;
        Ok((keys, document.max_age, place))
    }

    /// Where the keys are, by the first metadata that is good. If there is none, the first trouble is told: the second
    /// place is a guess.
    async fn discover(&self) -> Result<Box<str>, Trouble> {
        let [rfc8414, openid] = self.issuer.metadata();
        let first = match self.place_by(&rfc8414).await {
            Ok(uri) => return Ok(uri),
            Err(trouble) => trouble,
        };
        self.place_by(&openid).await.map_err(|_| first)
    }

    async fn place_by(&self, location: &str) -> Result<Box<str>, Trouble> {
        let document = self.document(location).await?;
        self.issuer.place_of_keys(location, &document)
    }

    async fn document(&self, location: &str) -> Result<Document, Trouble> {
        match self.fetch.fetch(location).await {
            Ok(document) if document.body.len() > MAX_DOCUMENT => Err(FetchError::Oversized),
            other => other,
        }
        .map_err(|error| Trouble::Fetch(location.into(), error))
    }

    /// Keys are as old as the beginning of their fetch; rest begins at its end.
    fn land(&self, outcome: Result<(KeySet, Option<Duration>, Place), Trouble>, began: Duration, ended: Duration) {
        let mut schedule = self.schedule.lock();
        schedule.flight = None;
        match outcome {
            Ok((keys, max_age, place)) => {
                let fresh = max_age.unwrap_or(FRESH).clamp(FRESH_LEAST, FRESH_MOST);
                schedule.failures = 0;
                schedule.trouble = None;
                schedule.place = Some(place);
                self.held.store(Some(Arc::new(Held {
                    keys: Arc::new(keys),
                    fetched: began,
                    stale_at: began.saturating_add(fresh),
                })));
                tracing::debug!(issuer = self.issuer.name(), "fetched the issuer's keys");
            }
            Err(trouble) => {
                let rest = REST_LEAST.saturating_mul(1 << schedule.failures.min(5)).min(REST_MOST);
                schedule.failures = schedule.failures.saturating_add(1);
                schedule.trouble = Some(trouble.to_string().into());
                schedule.rest_until = ended.saturating_add(rest);
                // The keys may have moved.
                if let Some(place) = &mut schedule.place {
                    place.believed_until = Duration::ZERO;
                }
                tracing::warn!(issuer = self.issuer.name(), %trouble, "the issuer's keys could not be fetched");
            }
        }
    }
}

impl fmt::Debug for DiscoveredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DiscoveredKeys({})", self.0.issuer.name())
    }
}

#[cfg(test)]
mod tests;
