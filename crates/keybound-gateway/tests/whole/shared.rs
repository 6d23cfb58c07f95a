//! Gateways that remember used proofs together, on Redis. `cargo xtask test` runs these.

use http::Method;
use keybound_gateway::engine::Engine;
use redis_rig::{Sentinels, Server, Settings};

use crate::scene::{Running, Scene};
use crate::support::Upstream;

fn config(store: &str, proof: &str, upstream: &Upstream) -> String {
    let route = format!("[[route]]\npath = \"/orders\"\nupstream = [\"http://{}\"]\n", upstream.address);
    format!("[proof]\n{proof}\n[replay]\nstore = \"{store}\"\n{route}")
}

/// As if the epoch had begun an hour ago, so that no barrier stands.
fn age(server: &Server) {
    let script = "local m = redis.call('ZRANGE', 'kb:p', '+inf', '+inf', 'BYSCORE')[1] redis.call('ZREM', 'kb:p', m) \
                  local ago = redis.call('TIME')[1] - 3600 return redis.call('ZADD', 'kb:p', '+inf', \
                  string.sub(m, 1, 9) .. struct.pack('>I4I4', 0, ago) .. string.sub(m, 18))";
    assert_eq!(server.ask(&["EVAL", script, "0"]).expect("an answer"), "1");
}

fn get(gateway: &Running, credentials: &str) -> (u16, String) {
    let answer = gateway.get("/orders", credentials);
    (answer.status, if answer.status == 200 { String::new() } else { answer.reason() })
}

/// The nonce of the answer to a proof without one.
fn demanded(scene: &Scene, gateway: &Running) -> String {
    let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", None));
    assert_eq!(answer.reason(), "nonce.missing");
    answer.field("dpop-nonce").expect("a nonce").to_owned()
}

fn refused(reason: &str, status: u16) -> (u16, String) {
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
    let error = Engine::new(scene.config(&config(&server.url(), "", &upstream))).unwrap_err().to_string();
    assert!(error.starts_with("replay.store: Redis at ") && error.contains("noeviction"), "{error}");
}
