//! The open loop: requests come when they are due, whatever the server does, and time runs from then.

use std::num::NonZeroUsize;
use std::time::Duration;

use keybound_probe::load::{Failure, Load};

use crate::support::{Manner, Service};

#[test]
fn the_rate_is_kept() {
    let service = Service::start(Manner::Prompt);
    let load = Load::new(&service.url("/")).unwrap().rate(400.0).duration(Duration::from_secs(1));
    let report = load.start().unwrap().finish().unwrap();
    assert_eq!(report.answers() + report.overdue(), 400, "one every 2.5 ms: {report:?}");
    assert_eq!(report.elapsed(), Duration::from_secs(1));
    assert!(report.rate() <= 400.0);
    assert_eq!(service.got().len() as u64, report.answers());
}

#[test]
fn a_number_of_requests_comes_at_the_rate() {
    let service = Service::start(Manner::Prompt);
    let report = Load::new(&service.url("/")).unwrap().rate(500.0).requests(100).start().unwrap().finish().unwrap();
    assert_eq!(report.answers(), 100);
    assert!(report.elapsed() >= Duration::from_millis(198), "the last is due after 99 steps of 2 ms");
}

#[test]
fn who_waits_behind_a_slow_answer_is_late_too() {
    let pause = Duration::from_millis(400);
    let service = Service::start(Manner::SlowAtFirst(pause));
    let load = Load::new(&service.url("/")).unwrap().connections(NonZeroUsize::MIN).rate(100.0).requests(50);
    let report = load.start().unwrap().finish().unwrap();
    assert_eq!(report.answers(), 50);
    assert!(report.quantile(1.0) >= pause);
    // The nth is due 10 n ms after the first, so that 25 of them wait for 150 ms and more.
    assert!(report.quantile(0.5) >= Duration::from_millis(140), "{report:?}");
}

#[test]
fn what_was_due_and_never_sent_is_told() {
    let service = Service::start(Manner::Silent);
    let load = Load::new(&service.url("/")).unwrap().connections(NonZeroUsize::MIN).rate(5.0);
    let load = load.duration(Duration::from_secs(6)).patience(Duration::from_secs(7));
    let report = load.start().unwrap().finish().unwrap();
    assert_eq!(report.failures().collect::<Vec<_>>(), [(Failure::Timeout, 1)]);
    assert_eq!(report.overdue(), 29);
}
