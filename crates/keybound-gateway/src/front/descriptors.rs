//! How many of the process's descriptors clients may hold. If they could have them all, somebody who only connects would leave
//! none for upstreams, keys, the replay store and the admin listener.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::worker::told_of_overload;

/// For listeners, files and the admin listener.
const OWN: usize = 48;

/// For a worker's copy of the listener and its runtime.
const OF_A_WORKER: usize = 8;

/// As many connections as leave a quarter of all descriptors for upstreams, and some for ourselves. The limit is raised as far
/// as we may. `None` without one.
pub(crate) fn for_clients(workers: usize) -> Option<usize> {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = current != maximum && setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).is_ok();
    let all = if raised { maximum } else { current }?;
    Some(room(all, workers))
}

fn room(all: u64, workers: usize) -> usize {
    let share = usize::try_from(all - all / 4).unwrap_or(usize::MAX).saturating_sub(OWN + OF_A_WORKER * workers);
    // Those that are told of the overload hold one, too.
    let most = share.saturating_sub(told_of_overload(0)) / 9 * 8;
    most.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_left() {
        for (all, clients) in [(0, 1), (64, 1), (128, 16), (1024, 616), (65_536, 43_624)] {
            assert_eq!(room(all, 2), clients, "{all}");
            let held = (clients + told_of_overload(clients) + OWN) as u64;
            assert!(all < 100 || held + all / 4 <= all, "{all}: {held}");
        }
        assert!(room(u64::MAX, 64) > 1_000_000);
    }
}
