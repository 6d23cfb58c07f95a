//! Gateways that remember used proofs together, on Redis. `cargo xtask test` runs these.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use http::Method;
use keybound_gateway::engine::Engine;
use keybound_issuer::keys::SealingKeys;
use redis_rig::{Sentinels, Server, Settings};

use crate::outage::a_full_reserve_refuses;
use crate::scene::{Running, Scene};
use crate::support::Upstream;

pub(crate) fn config(store: &str, proof: &str, upstream: &Upstream) -> String {
    let route = format!("[[route]]\npath = \"/orders\"\nupstream = [\"http://{}\"]\n", upstream.address);
    format!("[proof]\n{proof}\n{}{route}", replay(store))
}

/// Used proofs there, and patience with Redis, however slow this machine is.
pub(crate) fn replay(store: &str) -> String {
    let patient = if store.starts_with("redis") { "[replay.redis]\ntimeout = \"5s\"\n" } else { "" };
    format!("[replay]\nstore = \"{store}\"\n{patient}")
}

/// As if the epoch had begun an hour ago, so that no barrier stands.
fn age(server: &Server) {
    let script = "local m = redis.call('ZRANGE', 'kb:p', '+inf', '+inf', 'BYSCORE')[1] redis.call('ZREM', 'kb:p', m) \
                  local ago = redis.call('TIME')[1] - 3600 return redis.call('ZADD', 'kb:p', '+inf', \
                  string.sub(m, 1, 9) .. struct.pack('>I4I4', 0, ago) .. string.sub(m, 18))";
    assert_eq!(server.ask(&["EVAL", script, "0"]).expect("an answer"), "1");
}

pub(crate) fn get(gateway: &Running, credentials: &str) -> (u16, String) {
    let answer = gateway.get("/orders", credentials);
    (answer.status, if answer.status == 200 { String::new() } else { answer.reason() })
}

/// The nonce of the answer to a proof without one.
pub(crate) fn demanded(scene: &Scene, gateway: &Running) -> String {
    let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", None));
    assert_eq!(answer.reason(), "nonce.missing");
    answer.field("dpop-nonce").expect("a nonce").to_owned()
}

pub(crate) fn refused(reason: &str, status: u16) -> (u16, String) {
    (status, reason.to_owned())
}

// R-SEC-02
#[test]
#[ignore = "needs redis-server"]
fn two_gateways_admit_a_proof_once() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), "", &upstream);
    drop(scene.gateway(&text));
    age(&server);
    let (one, other) = (scene.gateway(&text), scene.gateway(&text));
    for _ in 0..5 {
        let proof = scene.credentials(Method::GET, "/orders", None);
        assert_eq!(get(&one, &proof), (200, String::new()));
        assert_eq!(get(&other, &proof), refused("replay.seen", 401));
        assert_eq!(get(&one, &proof), refused("replay.seen", 401));
    }
}

// Both often start together.
#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_comes_later_is_waited_for() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let mut server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), "", &upstream);
    server.kill().expect("an end");
    thread::scope(|scope| {
        let (started, start) = mpsc::channel();
        let (scene, text) = (&scene, &text);
        scope.spawn(move || started.send(get(&scene.gateway(text), "")));
        let early = start.recv_timeout(Duration::from_millis(200));
        assert_eq!(early, Err(mpsc::RecvTimeoutError::Timeout), "there is nothing to start with");
        server.restart().expect("a server");
        let late = start.recv_timeout(Duration::from_secs(30)).expect("a gateway");
        assert_eq!(late, refused("credentials.missing", 401));
    });
}

// R-ERR-21
#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_away_is_503_and_one_that_has_restarted_a_barrier() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let mut server = Server::start(Settings::new()).expect("a server");
    let gateway = scene.gateway(&config(&server.url(), "", &upstream));
    let nonce = scene.nonce(&gateway, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&gateway, &used), (200, String::new()));
    server.kill().expect("an end");
    let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
    assert_eq!((answer.status, &*answer.reason()), (503, "replay.unreachable"));
    assert!(answer.field("retry-after").is_some());
    // What this gateway has recorded itself it need not ask about.
    assert_eq!(get(&gateway, &used), refused("replay.seen", 401));
    let before = gateway.live.engine().replays().epoch();
    server.restart().expect("a server");
    redis_rig::wait_until("the epoch", || gateway.live.engine().replays().epoch() != before).expect("a new epoch");
    assert_eq!(get(&gateway, &used), refused("nonce.stale", 401));
    assert_eq!(get(&gateway, &scene.credentials(Method::GET, "/orders", None)), refused("nonce.barrier", 401));
    let nonce = scene.nonce(&gateway, "/orders");
    assert_eq!(get(&gateway, &scene.credentials(Method::GET, "/orders", Some(&nonce))), (200, String::new()));
}

#[test]
#[ignore = "needs redis-server"]
fn a_longer_window_is_a_new_epoch_to_every_gateway() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), "", &upstream);
    let (one, other) = (scene.gateway(&text), scene.gateway(&text));
    let nonce = scene.nonce(&one, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&one, &used), (200, String::new()));
    let before = other.live.engine().replays().epoch();
    one.live.reload(scene.config(&config(&server.url(), "max_age = \"600s\"", &upstream))).unwrap();
    assert_ne!(one.live.engine().replays().epoch(), before);
    assert_eq!(get(&one, &used), refused("nonce.stale", 401));
    redis_rig::wait_until("the epoch", || other.live.engine().replays().epoch() != before).expect("a new epoch");
    assert_eq!(other.live.engine().replays().epoch(), one.live.engine().replays().epoch());
}

/// What was passed on without a record before a reload is not admitted after it, by any gateway.
#[test]
#[ignore = "needs redis-server"]
fn a_route_that_begins_to_record_is_a_new_epoch_to_every_gateway() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let required = config(&server.url(), "", &upstream);
    let open = format!("{required}mode = \"open\"\n");
    drop(scene.gateway(&open));
    age(&server);
    let (one, other) = (scene.gateway(&open), scene.gateway(&open));
    let passed = scene.credentials(Method::GET, "/orders", None);
    assert_eq!(get(&one, &passed), (200, String::new()));
    let before = other.live.engine().replays().epoch();
    one.live.reload(scene.config(&required)).unwrap();
    assert_eq!(get(&one, &passed), refused("nonce.barrier", 401));
    redis_rig::wait_until("the epoch", || other.live.engine().replays().epoch() != before).expect("a new epoch");
    let before = other.live.engine().replays().epoch();
    other.live.reload(scene.config(&required)).unwrap();
    assert_ne!(other.live.engine().replays().epoch(), before, "what it passed on meanwhile counts no more");
    assert_eq!(get(&other, &passed), refused("nonce.barrier", 401));
}

/// With the least of reserves.
pub(crate) const NONCE_ONLY: &str =
    "[replay]\nwhen_unavailable = \"nonce-only\"\nreserve = \"1MiB\"\nper_key = 4000000\n";

pub(crate) const SEALING: &str = "QUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUE=";

pub(crate) fn kept_ring(sealing: &str) -> String {
    format!("nonce = \"require\"\nnonce_sealing_key = \"{sealing}\"")
}

/// Every gateway's nonce is good at every other.
pub(crate) fn all_take_all(scene: &Scene, gateways: &[Running]) {
    for maker in gateways {
        for judge in gateways {
            let nonce = demanded(scene, maker);
            let credentials = scene.credentials(Method::GET, "/orders", Some(&nonce));
            assert_eq!(get(judge, &credentials), (200, String::new()));
        }
    }
}

pub(crate) fn ring_key(gateway: &Running) -> u8 {
    gateway.live.engine().replays().ring_key().expect("a ring that is kept")
}

pub(crate) fn trouble(gateway: &Running) -> Option<String> {
    gateway.live.engine().replays().ring_trouble()
}

/// As if the ring had been turned long ago.
pub(crate) fn age_ring(server: &Server) {
    let keys = SealingKeys::parse(SEALING).unwrap();
    let sealed = server.ask(&["GET", "kb:n"]).expect("an answer");
    let text = keys.open_text(&["nonce ring"], &sealed).expect("what opens");
    let mut ring: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let secret = ring["current"]["secret"].as_str().unwrap();
    assert!(!sealed.contains(secret), "Redis knows nothing to make nonces with");
    ring["turned"] = 1_700_000_000.into();
    let sealed = keys.seal_text(&["nonce ring"], ring.to_string().as_bytes()).unwrap();
    server.ask(&["SET", "kb:n", &sealed]).expect("an answer");
}

// R-NONCE-09, R-NONCE-14: kept where used proofs are, and turned while nonces are made and come back.
#[test]
#[ignore = "needs redis-server"]
fn gateways_keep_one_ring_in_redis_and_turn_it_under_load() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), &kept_ring(SEALING), &upstream);
    let mut gateways = vec![scene.gateway(&text), scene.gateway(&text), scene.gateway(&text)];
    all_take_all(&scene, &gateways);
    for turn in 1..=4 {
        assert!(gateways.iter().all(|gateway| ring_key(gateway) == turn));
        let before = demanded(&scene, &gateways[0]);
        age_ring(&server);
        // Those that have seen a turn wait for an hour; one that has just begun believes what is written.
        gateways.push(scene.gateway(&text));
        let mut rounds = 0;
        while rounds == 0 || gateways.iter().any(|gateway| ring_key(gateway) == turn) {
            all_take_all(&scene, &gateways);
            rounds += 1;
            assert!(rounds < 1000, "nobody turns it");
        }
        all_take_all(&scene, &gateways);
        let credentials = scene.credentials(Method::GET, "/orders", Some(&before));
        assert_eq!(get(&gateways[1], &credentials), (200, String::new()), "made by the key before");
    }
    let later = scene.gateway(&text);
    assert_eq!(ring_key(&later), ring_key(&gateways[0]));
}

#[test]
#[ignore = "needs redis-server"]
fn a_ring_that_is_gone_is_put_back_and_one_that_does_not_open_is_said() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), &kept_ring(SEALING), &upstream);
    let gateways = [scene.gateway(&text), scene.gateway(&text)];
    let nonce = demanded(&scene, &gateways[0]);
    server.ask(&["DEL", "kb:n"]).expect("an answer");
    redis_rig::wait_until("the ring", || server.ask(&["EXISTS", "kb:n"]).is_ok_and(|found| found == "1"))
        .expect("a ring");
    let credentials = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&gateways[1], &credentials), (200, String::new()), "the same one");
    let other = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    let error =
        Engine::new(scene.config(&config(&server.url(), &kept_ring(other), &upstream))).unwrap_err().to_string();
    assert!(
        error.starts_with("proof.nonce_sealing_key_file: ") && error.contains("sealed under another key"),
        "{error}"
    );
    let trouble = || trouble(&gateways[0]);
    assert_eq!(trouble(), None);
    server.ask(&["SET", "kb:n", "nonsense"]).expect("an answer");
    redis_rig::wait_until("the trouble", || trouble().is_some()).expect("a word");
    all_take_all(&scene, &gateways);
    server.ask(&["DEL", "kb:n"]).expect("an answer");
    redis_rig::wait_until("its end", || trouble().is_none()).expect("an end");
}

// As a replica has it that lagged behind and takes over: the key that comes next in it is the one of the turn it has missed.
#[test]
#[ignore = "needs redis-server"]
fn an_older_ring_knows_the_nonces_of_the_newer() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), &kept_ring(SEALING), &upstream);
    let mut gateways = vec![scene.gateway(&text), scene.gateway(&text)];
    let older = server.ask(&["GET", "kb:n"]).expect("an answer");
    let first = demanded(&scene, &gateways[0]);
    age_ring(&server);
    gateways.push(scene.gateway(&text));
    redis_rig::wait_until("a turn", || gateways.iter().all(|gateway| ring_key(gateway) == 2)).expect("a turn");
    let second = demanded(&scene, &gateways[0]);
    server.ask(&["SET", "kb:n", &older]).expect("an answer");
    redis_rig::wait_until("the older", || gateways.iter().all(|gateway| ring_key(gateway) == 1)).expect("a ring");
    for nonce in [&first, &second] {
        let credentials = scene.credentials(Method::GET, "/orders", Some(nonce));
        assert_eq!(get(&gateways[1], &credentials), (200, String::new()));
    }
    all_take_all(&scene, &gateways);
}

#[test]
#[ignore = "needs redis-server"]
fn a_redis_that_is_away_and_a_full_reserve_are_503() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let mut server = Server::start(Settings::new()).expect("a server");
    let text = config(&server.url(), "", &upstream).replace("[replay]\n", NONCE_ONLY);
    a_full_reserve_refuses(&scene, &text, || server.kill().expect("an end"));
}

// Each step at one gateway after the other, as the settings say: none stops, and they go on with one ring.
#[test]
#[ignore = "needs redis-server"]
fn the_sealing_key_of_a_ring_is_changed_while_it_is_used() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new()).expect("a server");
    let other = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    let start = |keys: &str| scene.gateway(&config(&server.url(), &kept_ring(keys), &upstream));
    let mut gateways = std::collections::VecDeque::from([start(SEALING), start(SEALING)]);
    let first = demanded(&scene, &gateways[0]);
    for (keys, seals) in
        [(format!("{SEALING}\\n{other}"), SEALING), (format!("{other}\\n{SEALING}"), other), (other.to_owned(), other)]
    {
        for _ in 0..2 {
            drop(gateways.pop_front());
            gateways.push_back(start(&keys));
            all_take_all(&scene, gateways.make_contiguous());
        }
        let sealed = server.ask(&["GET", "kb:n"]).expect("an answer");
        assert!(SealingKeys::parse(seals).unwrap().is_text_of_first(&sealed), "{keys}");
    }
    assert!(gateways.iter().all(|gateway| ring_key(gateway) == 1 && trouble(gateway).is_none()));
    let credentials = scene.credentials(Method::GET, "/orders", Some(&first));
    assert_eq!(get(&gateways[0], &credentials), (200, String::new()), "the ring of the beginning");
}

// Whatever proof.nonce is where it is not written, a store that may fail over demands them.
#[test]
#[ignore = "needs redis-server"]
fn under_sentinel_every_proof_needs_a_nonce_and_a_failover_costs_one_retry() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let mut sentinels = Sentinels::start(2, &Settings::new()).expect("servers");
    let gateway = scene.gateway(&config(&sentinels.url(), "", &upstream));
    let nonce = demanded(&scene, &gateway);
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&gateway, &used), (200, String::new()));
    let before = gateway.live.engine().replays().epoch();
    sentinels.nodes()[0].server.kill().expect("an end");
    redis_rig::wait_until("the epoch", || gateway.live.engine().replays().epoch() != before).expect("a new epoch");
    assert_eq!(get(&gateway, &used), refused("nonce.stale", 401));
    let nonce = demanded(&scene, &gateway);
    assert_eq!(get(&gateway, &scene.credentials(Method::GET, "/orders", Some(&nonce))), (200, String::new()));
}

#[test]
#[ignore = "needs redis-server"]
fn a_store_that_cannot_be_had_is_said_at_the_start() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let server = Server::start(Settings::new().line("maxmemory-policy allkeys-lru")).expect("a server");
    let begun = Instant::now();
    let error = Engine::new(scene.config(&config(&server.url(), "", &upstream))).unwrap_err().to_string();
    assert!(begun.elapsed() < Duration::from_secs(10), "what does not pass is not waited for");
    assert!(error.starts_with("replay.store: Redis at ") && error.contains("noeviction"), "{error}");
}
