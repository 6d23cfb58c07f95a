//! How many of the process's descriptors clients may hold, and how many connections to upstreams. If clients could have them all,
//! somebody who only connects would leave none for upstreams, keys, the replay store and the admin listener; nor may upstreams,
//! since many requests come on one connection. Half is for clients, so that whoever is let in with one request at a time finds a
//! connection for it, and upstreams have what clients cannot take. Each front has an equal share, so that a flood of one is none of
//! another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::worker::told_of_overload;
use crate::config::{Limits, Listen};

/// For listeners, files and the admin listener.
const OWN: usize = 48;

/// For a worker's copy of the listener and its runtime.
const OF_A_WORKER: usize = 8;

/// Who may have how many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shares {
    /// Connections of clients at each front.
    pub(crate) clients: usize,
    /// Connections to upstreams.
    pub(crate) upstreams: usize,
}

/// Of what the system gives us. Clients get no more than they are allowed.
pub(crate) fn shares(limits: &Limits, listen: &Listen, workers: usize) -> Shares {
    match all() {
        Some(all) => split(all, fronts(listen).len(), workers, limits.connections),
        None => Shares { clients: limits.connections, upstreams: usize::MAX },
    }
}

/// Warns if there are fewer than asked for. They are as many at each front, so one of them says it for all.
pub(crate) fn tell(asked: &Limits, given: Shares, listen: &Listen) {
    let (asked, given) = (asked.connections, given.clients);
    if given < asked {
        let fronts = match fronts(listen).as_slice() {
            [only] => (*only).to_owned(),
            each => format!("each of {}", each.join(", ")),
        };
        tracing::warn!(
            "the limit on open files leaves {given} connections of clients at {fronts}, fewer than limits.connections, {asked}"
        );
    }
}

/// The settings of the fronts that there are.
fn fronts(listen: &Listen) -> Vec<&'static str> {
    let decisions = listen.decisions.as_ref().map(|_| "listen.decisions");
    let ext_authz = listen.ext_authz.as_ref().map(|_| "listen.ext_authz");
    [Some("listen.address"), decisions, ext_authz].into_iter().flatten().collect()
}

/// How many there are. The limit is raised as far as we may. `None` without one.
fn all() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let all = if raised { maximum } else { current }?;
    Some(usize::try_from(all).unwrap_or(usize::MAX))
}

fn split(all: usize, fronts: usize, workers: usize, asked: usize) -> Shares {
    let free = all.saturating_sub(OWN + OF_A_WORKER * workers * fronts);
    // Those that are told of the overload hold one, too.
    let clients = (free / 2 / fronts).saturating_sub(told_of_overload(0)) / 9 * 8;
    let clients = clients.clamp(1, asked);
    let upstreams = free.saturating_sub((clients + told_of_overload(clients)) * fronts).max(1);
    Shares { clients, upstreams }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_left() {
        for (all, fronts, asked, clients, upstreams) in [
            (0, 1, 10_000, 1, 1),
            (64, 1, 10_000, 1, 1),
            (128, 1, 10_000, 16, 38),
            (256, 3, 10_000, 16, 82),
            (1024, 1, 10_000, 416, 484),
            (1024, 1, 200, 200, 727),
            (1024, 2, 10_000, 200, 478),
            (1024, 3, 10_000, 128, 472),
            (65_536, 1, 10_000, 10_000, 54_214),
            (65_536, 1, 1_000_000, 29_088, 32_740),
            (65_536, 3, 1_000_000, 9_680, 32_746),
        ] {
            let share = split(all, fronts, 2, asked);
            assert_eq!((share.clients, share.upstreams), (clients, upstreams), "{all} {fronts} {asked}");
            let held = (clients + told_of_overload(clients) + 2 * OF_A_WORKER) * fronts + OWN;
            assert!(all < 100 || held + upstreams <= all, "{all} {fronts}: {held}");
            assert!(all < 100 || upstreams >= clients.min(asked), "who is let in finds no connection");
        }
        assert_eq!(split(usize::MAX, 3, 64, 1_000_000).clients, 1_000_000);
    }
}
