//! How many of the process's descriptors clients may hold, and how many connections to upstreams. If clients could have them all,
//! somebody who only connects would leave none for upstreams, keys, the replay store and the admin listener; nor may upstreams,
//! since many requests come on one connection. Each front has an equal share, so that a flood of one is none of another.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::worker::told_of_overload;
use crate::config::{Limits, Listen};

/// For listeners, files and the admin listener.
const OWN: usize = 48;

/// For a worker's copy of the listener and its runtime.
const OF_A_WORKER: usize = 8;

/// Fewer connections of clients than asked for, where the system does not give each front so many descriptors.
pub(crate) fn within(limits: Limits, listen: &Listen, workers: usize) -> Limits {
    let room = for_clients(fronts(listen).len(), workers);
    Limits { connections: room.map_or(limits.connections, |room| limits.connections.min(room)), ..limits }
}

/// Warns if there are fewer than asked for. They are as many at each front, so one of them says it for all.
pub(crate) fn tell(asked: &Limits, given: &Limits, listen: &Listen) {
    let (asked, given) = (asked.connections, given.connections);
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

/// As many connections at each front as leave enough for upstreams, and some for ourselves. `None` without a limit.
fn for_clients(fronts: usize, workers: usize) -> Option<usize> {
    all().map(|all| room(all, fronts, workers))
}

/// As many connections as there may be to upstreams.
pub(crate) fn for_upstreams() -> usize {
    all().map_or(usize::MAX, |all| of_upstreams(all).max(1))
}

/// How many there are. The limit is raised as far as we may. `None` without one.
fn all() -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let all = if raised { maximum } else { current }?;
    Some(usize::try_from(all).unwrap_or(usize::MAX))
}

const fn of_upstreams(all: usize) -> usize {
    all / 4
}

fn room(all: usize, fronts: usize, workers: usize) -> usize {
    let held = OWN + OF_A_WORKER * workers * fronts;
    let share = (all - of_upstreams(all)).saturating_sub(held) / fronts;
    // Those that are told of the overload hold one, too.
    let most = share.saturating_sub(told_of_overload(0)) / 9 * 8;
    most.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_left() {
        for (all, fronts, clients) in [
            (0, 1, 1),
            (64, 1, 1),
            (128, 1, 16),
            (1024, 1, 616),
            (1024, 2, 296),
            (1024, 3, 192),
            (65_536, 1, 43_624),
            (65_536, 3, 14_528),
        ] {
            assert_eq!(room(all, fronts, 2), clients, "{all} {fronts}");
            let held = (clients + told_of_overload(clients) + 2 * OF_A_WORKER) * fronts + OWN;
            assert!(all < 100 || held + of_upstreams(all) <= all, "{all} {fronts}: {held}");
        }
        assert!(room(usize::MAX, 3, 64) > 1_000_000);
    }
}
