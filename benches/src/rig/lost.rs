//! Requests that fail while a gateway reads its file again, or ends.
//!
//! Failed is a request that was sent and has no whole answer, or one of another status than 2xx. A connection that is refused is
//! none: nobody has taken anything, so that a client may try elsewhere at once. Only an end can refuse one, since a gateway that
//! reads its file again listens all the while. For clients that have nowhere else to go the socket has to outlive the process.

use std::num::NonZeroUsize;
use std::thread::sleep;
use std::time::Duration;

use keybound_probe::load::{Failure, Load, Report, Running};

use super::{Gateway, Nginx};

/// Without proofs, and with.
const CONNECTIONS: [usize; 2] = [48, 16];

/// The load goes on for so long before and after.
const AROUND: Duration = Duration::from_millis(300);

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct Lost {
    /// Requests that failed.
    pub failed: u64,
    /// Requests that were answered.
    pub answered: u64,
}

impl Lost {
    /// Under load, has a gateway read its file again so many times.
    pub fn by_reloads(upstream: &Nginx, times: usize) -> Self {
        let mut gateway = Gateway::start(upstream.address());
        let loads = begin(&gateway);
        for number in 0..times {
            sleep(AROUND / 3);
            gateway.reload(&format!("/reload-{number}"), upstream.address());
        }
        sleep(AROUND);
        let lost = end(loads);
        assert_eq!(lost.refused, 0, "a gateway that reads its file again listens all the while");
        lost.lost
    }

    /// Under load, has so many gateways end.
    pub fn by_drains(upstream: &Nginx, times: usize) -> Self {
        let mut all = Self::default();
        for _ in 0..times {
            let gateway = Gateway::start(upstream.address());
            let loads = begin(&gateway);
            sleep(AROUND);
            let status = gateway.terminate();
            assert!(status.success(), "{status}: the gateway did not end well");
            sleep(AROUND);
            let lost = end(loads);
            assert!(lost.refused > 0, "the load ended before the gateway");
            all.failed += lost.lost.failed;
            all.answered += lost.lost.answered;
        }
        all
    }
}

fn begin(gateway: &Gateway) -> [Running; 2] {
    let load = |path: &str, connections: usize| {
        let connections = NonZeroUsize::new(connections).expect("above 0");
        Load::new(&gateway.url(path)).expect("a URL of loopback").connections(connections)
    };
    let loads = [load("/open/64", CONNECTIONS[0]), load("/required/64", CONNECTIONS[1]).caller(gateway.caller())];
    let loads = loads.map(|load| load.duration(Duration::from_secs(600)).start().expect("a gateway that listens"));
    for load in &loads {
        while load.progress().done() < 100 {
            assert!(!load.is_over(), "the load ended by itself");
            sleep(Duration::from_millis(1));
        }
    }
    loads
}

/// What was lost, and connections that were refused.
#[derive(Default)]
struct Outcome {
    lost: Lost,
    refused: u64,
}

fn end(loads: [Running; 2]) -> Outcome {
    let mut outcome = Outcome::default();
    loads.iter().for_each(Running::stop);
    for load in loads {
        add(&mut outcome, &load.finish().expect("a load on loopback"));
    }
    outcome
}

fn add(outcome: &mut Outcome, report: &Report) {
    for (failure, count) in report.failures() {
        let sum = if failure == Failure::Connect { &mut outcome.refused } else { &mut outcome.lost.failed };
        *sum += count;
    }
    for (status, count) in report.statuses() {
        let sum = if (200..300).contains(&status) { &mut outcome.lost.answered } else { &mut outcome.lost.failed };
        *sum += count;
    }
    if outcome.lost.failed > 0 {
        eprintln!("failed: {:?}, {:?}", report.failures().collect::<Vec<_>>(), report.reasons().collect::<Vec<_>>());
    }
}
