//! How upstream addresses are: what requests found out about them, and what they say when asked. There is one record of each
//! for the process, which all workers read.

use core::time::Duration;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::{HealthCheck, Route, UpstreamUrl};

mod probe;
mod prober;

pub(crate) use prober::look_after;

/// How long an address that could not be connected to comes after the others.
const REST: Duration = Duration::from_secs(2);

/// One address that requests are passed on to, and how it is.
#[derive(Debug)]
pub(crate) struct Address {
    url: UpstreamUrl,
    check: Option<HealthCheck>,
    /// Shared with the same address of the configurations before and after this one.
    condition: Arc<Condition>,
}

/// How an address is.
#[derive(Debug, Default)]
struct Condition {
    standing: AtomicU8,
    /// Until then requests go elsewhere first, in milliseconds of [`now`]; 0: not at all.
    rests_until: AtomicU64,
    unreachable: AtomicU64,
    good: AtomicU64,
    bad: AtomicU64,
    asked: Mutex<Asked>,
}

/// What came of asking, for those who ask: no request waits for this.
#[derive(Debug, Default)]
struct Asked {
    /// Answers in a row that say other than what it is taken for.
    against: u32,
    /// What was wrong the last time, if it was.
    trouble: Option<String>,
}

/// What an address is taken for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Standing {
    /// It was not asked yet, or never is.
    Unknown,
    Healthy,
    Unhealthy,
}

/// Which address goes first: the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Rank {
    Good,
    /// A moment ago it could not be connected to.
    Resting,
    Unhealthy,
}

/// Figures of one address, since it is known.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    pub(crate) good: u64,
    pub(crate) bad: u64,
    pub(crate) unreachable: u64,
}

/// The addresses of each route. Those that `earlier` routes had, asked in the same way, are as they were.
pub(crate) fn addresses(routes: &[Route], earlier: &[Vec<Arc<Address>>]) -> Vec<Vec<Arc<Address>>> {
    let mut known: Vec<Arc<Address>> = earlier.iter().flatten().map(Arc::clone).collect();
    let mut address = |url: &UpstreamUrl, check: Option<&HealthCheck>| {
        let alike = |known: &&Arc<Address>| known.check.as_ref() == check && known.is_at(url);
        let address = match known.iter().rev().find(alike) {
            Some(same) if same.url == *url => return Arc::clone(same),
            // Whom it has to convince of itself was read again.
            Some(same) => Address { url: url.clone(), check: check.cloned(), condition: Arc::clone(&same.condition) },
            None => Address::new(url.clone(), check.cloned()),
        };
        let address = Arc::new(address);
        known.push(Arc::clone(&address));
        address
    };
    let of_route = |route: &Route| route.upstreams.iter().map(|url| address(url, route.health.as_ref())).collect();
    routes.iter().map(of_route).collect()
}

/// Each of them that is asked, once.
pub(crate) fn checked(addresses: &[Vec<Arc<Address>>]) -> Vec<&Arc<Address>> {
    let mut found: Vec<&Arc<Address>> = Vec::new();
    for address in addresses.iter().flatten().filter(|address| address.check.is_some()) {
        if !found.iter().any(|known| Arc::ptr_eq(known, address)) {
            found.push(address);
        }
    }
    found
}

impl Address {
    pub(crate) fn new(url: UpstreamUrl, check: Option<HealthCheck>) -> Self {
        Self { url, check, condition: Arc::default() }
    }

    pub(crate) const fn url(&self) -> &UpstreamUrl {
        &self.url
    }

    /// What it is asked for; `None` if it is not.
    pub(crate) fn path(&self) -> Option<&str> {
        self.check.as_ref().map(|check| check.path.as_str())
    }

    /// Whether it is the same to the eye: what its certificate is held against may differ.
    fn is_at(&self, url: &UpstreamUrl) -> bool {
        self.url == *url || self.url.to_string() == url.to_string()
    }

    /// How soon it gets a request.
    pub(crate) fn rank(&self) -> Rank {
        if self.standing() == Standing::Unhealthy {
            return Rank::Unhealthy;
        }
        match self.condition.rests_until.load(Relaxed) {
            0 => Rank::Good,
            until if now() < until => Rank::Resting,
            _ => Rank::Good,
        }
    }

    pub(crate) fn standing(&self) -> Standing {
        match self.condition.standing.load(Relaxed) {
            healthy if healthy == Standing::Healthy as u8 => Standing::Healthy,
            unhealthy if unhealthy == Standing::Unhealthy as u8 => Standing::Unhealthy,
            _ => Standing::Unknown,
        }
    }

    /// Why it is not healthy, in words; `None` if it is, or is not asked.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.check.as_ref()?;
        match self.standing() {
            Standing::Healthy => None,
            Standing::Unknown => Some(format!("{} was not asked yet", self.url)),
            Standing::Unhealthy => {
                let asked = self.condition.asked.lock();
                Some(format!("{}: {}", self.url, asked.trouble.as_deref().unwrap_or("on its way back")))
            }
        }
    }

    pub(crate) fn figures(&self) -> Figures {
        let Condition { good, bad, unreachable, .. } = &*self.condition;
        Figures { good: good.load(Relaxed), bad: bad.load(Relaxed), unreachable: unreachable.load(Relaxed) }
    }

    /// A connection to it was made for a request.
    pub(crate) fn reached(&self) {
        // Most often it is 0 already, and stays in every processor's cache.
        if self.condition.rests_until.load(Relaxed) != 0 {
            self.condition.rests_until.store(0, Relaxed);
        }
    }

    /// A connection for a request could not be made.
    pub(crate) fn unreachable(&self) {
        self.condition.unreachable.fetch_add(1, Relaxed);
        self.condition.rests_until.store(now() + u64::try_from(REST.as_millis()).unwrap_or(u64::MAX), Relaxed);
    }

    /// Takes note of an answer, or of what was wrong with it.
    fn answered(&self, outcome: Result<(), String>) {
        let Some(check) = &self.check else { return };
        let (count, says) = match outcome {
            Ok(()) => (&self.condition.good, Standing::Healthy),
            Err(_) => (&self.condition.bad, Standing::Unhealthy),
        };
        count.fetch_add(1, Relaxed);
        let mut asked = self.condition.asked.lock();
        asked.trouble = outcome.err();
        let present = self.standing();
        if says == present {
            asked.against = 0;
            return;
        }
        asked.against += 1;
        let enough = if says == Standing::Healthy { check.healthy } else { check.unhealthy };
        if present != Standing::Unknown && asked.against < enough {
            return;
        }
        asked.against = 0;
        self.condition.standing.store(says as u8, Relaxed);
        let (upstream, path) = (&self.url, &check.path);
        match &asked.trouble {
            Some(trouble) => tracing::warn!(%upstream, %path, trouble, "upstream is unhealthy"),
            None => tracing::info!(%upstream, %path, "upstream is healthy"),
        }
    }
}

/// Milliseconds of this process, from 1 on.
fn now() -> u64 {
    static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);
    u64::try_from(BEGAN.elapsed().as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

#[cfg(test)]
mod tests;
