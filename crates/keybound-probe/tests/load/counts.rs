//! What is sent, what comes back, what does not: every request is in one count.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use http::{HeaderName, HeaderValue, Method};
use keybound_probe::load::{Failure, Load, LoadError};

use crate::support::{Manner, Service};

#[test]
fn the_request_is_as_it_was_asked_for() {
    let service = Service::start(Manner::Prompt);
    let load = Load::new(&service.url("/a%20b?c")).unwrap().method(Method::PUT).body("a body").requests(3);
    let load = load.field(HeaderName::from_static("x-tag"), HeaderValue::from_static("7"));
    assert!(load.start().unwrap().finish().unwrap().is_good());
    let got = service.got();
    assert_eq!(got.len(), 3);
    for got in got {
        assert_eq!((got.method.as_str(), got.target.as_str(), &got.body[..]), ("PUT", "/a%20b?c", &b"a body"[..]));
        assert_eq!(got.field("x-tag"), Some("7"));
        assert_eq!(got.field("host"), Some(service.address.to_string().as_str()));
    }
}

#[test]
fn the_warm_up_is_not_counted() {
    let service = Service::start(Manner::Prompt);
    let load = Load::new(&service.url("/")).unwrap().requests(100).warm_up(Duration::from_secs(3));
    let report = load.start().unwrap().finish().unwrap();
    assert_eq!(report.answers(), 100);
    assert!(report.warm_up() > 0);
    assert_eq!(service.got().len() as u64, report.warm_up() + 100);
}

#[test]
fn a_closed_loop_ends_with_its_time() {
    let service = Service::start(Manner::Prompt);
    let duration = Duration::from_millis(300);
    let running = Load::new(&service.url("/")).unwrap().duration(duration).start().unwrap();
    let report = running.finish().unwrap();
    assert_eq!(report.elapsed(), duration);
    assert_eq!(service.got().len() as u64, report.answers());
    assert!(report.rate() <= report.answers() as f64 / 0.3);
    assert!(report.quantile(0.5) <= report.quantile(1.0));
}

#[test]
fn stopping_gives_what_there_is() {
    let service = Service::start(Manner::Prompt);
    let running = Load::new(&service.url("/")).unwrap().start().unwrap();
    while running.progress().done() < 100 {
        std::thread::yield_now();
    }
    running.stop();
    let report = running.finish().unwrap();
    assert!(report.is_good());
    assert_eq!(service.got().len() as u64, report.answers());
}

#[test]
fn connections_that_the_server_closes_are_opened_anew() {
    let service = Service::start(Manner::Closing);
    // One worker, for a second one that began late would leave its connections alone.
    let load = Load::new(&service.url("/")).unwrap().requests(200).workers(NonZeroUsize::MIN);
    let load = load.connections(NonZeroUsize::new(4).unwrap());
    let report = load.start().unwrap().finish().unwrap();
    assert!(report.is_good(), "{report:?}");
    assert_eq!(report.answers(), 200);
    assert_eq!(report.reconnects(), 196);
}

#[test]
fn requests_without_an_answer_are_failures() {
    let (short, long) = (Duration::from_millis(500), Duration::from_secs(30));
    for (manner, patience, failure) in
        [(Manner::Silent, short, Failure::Timeout), (Manner::Breaking, long, Failure::Broken)]
    {
        let service = Service::start(manner);
        let load = Load::new(&service.url("/")).unwrap().requests(10).connections(NonZeroUsize::new(4).unwrap());
        let report = load.patience(patience).start().unwrap().finish().unwrap();
        assert_eq!(report.failures().collect::<BTreeMap<_, _>>(), [(failure, 10)].into(), "{report:?}");
        assert_eq!(report.answers(), 0);
        assert!(!report.is_good());
    }
}

#[test]
fn what_cannot_begin_says_why() {
    let nobody = Load::new("http://127.0.0.1:1/").unwrap();
    assert!(matches!(nobody.start(), Err(LoadError::Connect(..))));
    assert!(matches!(Load::new("http://192.0.2.1/"), Err(LoadError::PlainHttp(_))));
    assert!(matches!(Load::new("ftp://localhost/"), Err(LoadError::Url(_))));
    assert!(matches!(nobody.clone().rate(0.0).start(), Err(LoadError::Rate(_))));
    assert!(matches!(nobody.bearer("no spaces"), Err(LoadError::Token(_))));
}
