//! What requests carry, and what the gateway makes of it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io::Read as _;
use std::net::TcpListener;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, Signer, SigningFailed};
use keybound::jwk::PublicJwk;
use keybound_probe::load::{Caller, Load, Report};

use crate::support::{BASIC, Gateway, Manner, Service};

/// No wait is longer.
const PATIENCE: Duration = Duration::from_secs(60);

fn run(load: Load) -> Report {
    load.start().unwrap().finish().unwrap()
}

fn statuses(report: &Report) -> BTreeMap<u16, u64> {
    report.statuses().collect()
}

// R-CLI-01
#[test]
fn every_request_has_a_proof_of_its_own() {
    let service = Service::start(Manner::Prompt);
    let gateway = Gateway::before(&service, "");
    let mut load = Load::new(&gateway.url("/passed/orders?page=2")).unwrap().requests(600);
    for _ in 0..3 {
        load = load.caller(gateway.caller().0);
    }
    let report = run(load);
    assert_eq!(statuses(&report), [(200, 600)].into(), "{report:?}");
    assert!(report.is_good());
    let got = service.got();
    assert_eq!(got.len(), 600, "refusals for a nonce do not reach the service");
    assert!(got.iter().all(|got| got.target == "/passed/orders?page=2"));
    let proofs: BTreeSet<_> = got.iter().map(|got| got.field("dpop").unwrap()).collect();
    assert_eq!(proofs.len(), 600);
    let mut by_key = BTreeMap::new();
    for got in &got {
        *by_key.entry(got.field("keybound-jkt").unwrap()).or_insert(0) += 1;
    }
    assert_eq!(by_key.len(), 3);
    assert!(by_key.values().all(|count| (150..=250).contains(count)), "they take turns: {by_key:?}");
}

/// A key that notes on which threads it signs.
#[derive(Debug)]
struct Noting {
    key: SoftwareKey,
    signed: Mutex<Vec<(ThreadId, String)>>,
}

impl Signer for Noting {
    fn alg(&self) -> Alg {
        self.key.alg()
    }

    fn public_jwk(&self) -> &PublicJwk {
        self.key.public_jwk()
    }

    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, SigningFailed> {
        let thread = thread::current();
        self.signed.lock().unwrap().push((thread.id(), thread.name().unwrap_or_default().to_owned()));
        self.key.sign(message)
    }
}

/// However long an answer takes, the next proofs are there: other threads than those that send sign them, and not without end.
#[test]
fn proofs_are_signed_ahead_on_threads_of_their_own() {
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", server.local_addr().unwrap());
    let key = Noting { key: SoftwareKey::generate(Alg::Es256).unwrap(), signed: Mutex::default() };
    let key = Arc::new(key);
    let [one, three] = [1, 3].map(|number| NonZeroUsize::new(number).unwrap());
    let load = Load::new(&url).unwrap().caller(Caller::new(Arc::clone(&key) as _, "t").unwrap());
    let running = load.connections(one).workers(one).signers(three).patience(PATIENCE).requests(10).start().unwrap();
    let (mut waiting, _) = server.accept().unwrap();
    waiting.read_exact(&mut [0; 100]).unwrap();
    let begun = Instant::now();
    let signed = || key.signed.lock().unwrap().len();
    // One request is waited for, and there are nine more at most.
    while signed() < 4000 {
        assert!(begun.elapsed() < PATIENCE, "{} proofs", signed());
        thread::yield_now();
    }
    assert_eq!(running.progress().done(), 0);
    drop((waiting, server));
    drop(running);
    let signed = key.signed.lock().unwrap();
    assert!(signed.iter().all(|(_, name)| name == "keybound-sign"), "{:?}", signed.last());
    let threads: HashSet<ThreadId> = signed.iter().map(|(thread, _)| *thread).collect();
    assert!((2..=3).contains(&threads.len()), "{} threads", threads.len());
}

#[test]
fn no_proof_is_taken_for_a_replay() {
    let service = Service::start(Manner::Prompt);
    let gateway = Gateway::before(&service, "");
    let load = Load::new(&gateway.url("/bound")).unwrap().caller(gateway.caller().0).requests(2_000);
    let report = run(load);
    assert_eq!(statuses(&report), [(200, 2_000)].into(), "{report:?}");
    assert_eq!(report.body_octets(), 2_000 * "hello".len() as u64);
    assert_eq!(service.got().len(), 2_000);
}

// R-NONCE-19: one retry, with the nonce of the answer
#[test]
fn nonces_are_followed() {
    let service = Service::start(Manner::Prompt);
    // So short that it runs out, and no shorter: the next one is to be used in time.
    let gateway = Gateway::before(&service, "nonce = \"require\"\nnonce_lifetime = \"6s\"");
    let load = Load::new(&gateway.url("/bound")).unwrap().caller(gateway.caller().0);
    let connections = NonZeroUsize::new(8).unwrap();
    let load = load.connections(connections).rate(100.0).requests(1_000);
    let report = run(load);
    assert_eq!(statuses(&report), [(200, 1_000)].into(), "{report:?}");
    assert!(report.nonce_retries() >= 1, "the first request has none");
}

// R-NONCE-19 at a token endpoint, which demands its nonces by 400 and JSON
#[test]
fn tokens_are_asked_for_by_proofs_alone() {
    let service = Service::start(Manner::Prompt);
    let gateway = Gateway::before(&service, "nonce = \"require\"");
    let caller = Caller::without_token(Arc::new(SoftwareKey::generate(Alg::Es256).unwrap())).unwrap();
    let asking = |secret: &'static str| {
        let load = Load::new(&gateway.url("/issuer/token")).unwrap().method(Method::POST).caller(caller.clone());
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let load = load.field(AUTHORIZATION, HeaderValue::from_static(secret)).field(CONTENT_TYPE, form);
        load.body("grant_type=client_credentials").requests(200)
    };
    let report = run(asking(BASIC));
    assert_eq!(statuses(&report), [(200, 200)].into(), "{report:?}");
    assert!(report.nonce_retries() >= 1, "the first request has none");
    let report = run(asking("Basic YmVuY2g6YW5vdGhlci1vbmUtdGhhbi1pdC1oYXM="));
    assert_eq!(statuses(&report), [(401, 200)].into(), "{report:?}");
    assert_eq!(report.reasons().collect::<Vec<_>>(), [("client.authentication", 200)]);
}

#[test]
fn other_schemes_and_their_refusals() {
    let service = Service::start(Manner::Prompt);
    let gateway = Gateway::before(&service, "");
    let token = gateway.caller().1;
    let to = |path: &str| Load::new(&gateway.url(path)).unwrap().requests(50);
    for (load, status, reason) in [
        (to("/open"), 200, None),
        (to("/open").bearer(&token).unwrap(), 200, None),
        (to("/bound"), 401, Some("credentials.missing")),
        (to("/bound").bearer(&token).unwrap(), 401, Some("token.downgrade")),
        (to("/elsewhere"), 404, Some("route.unknown")),
    ] {
        let report = run(load.clone());
        assert_eq!(statuses(&report), [(status, 50)].into(), "{load:?}");
        assert_eq!(
            report.reasons().collect::<Vec<_>>(),
            reason.map(|reason| (reason, 50)).into_iter().collect::<Vec<_>>()
        );
        assert_eq!(report.is_good(), status == 200);
    }
    let got = service.got();
    assert_eq!(got.len(), 100);
    let bearer = format!("Bearer {token}");
    assert_eq!(got.iter().filter(|got| got.field("authorization") == Some(&bearer)).count(), 50);
    assert!(got.iter().all(|got| got.field("dpop").is_none()));
}

#[test]
fn a_token_is_renewed_while_it_runs() {
    let service = Service::start(Manner::Prompt);
    let gateway = Gateway::before(&service, "");
    let caller = gateway.caller().0;
    // The gateway takes no other token for this key, so this is for the service alone.
    let load = Load::new(&service.url("/")).unwrap().caller(caller.clone()).connections(NonZeroUsize::MIN);
    let running = load.start().unwrap();
    caller.renew("another").unwrap();
    while !service.got().iter().any(|got| got.field("authorization") == Some("DPoP another")) {
        std::thread::yield_now();
    }
    running.stop();
    assert!(running.finish().unwrap().is_good());
}
