//! `replay.when_unavailable`: a replay memory that is full, and a reserve that is.

use core::time::Duration;

use http::Method;
use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::{ReplayEntry, ReplayStore as _, Seen};

use crate::scene::{Running, Scene, now};
use crate::support::Upstream;

fn config(when: &str, upstream: &Upstream) -> String {
    let memory = format!("memory = \"1MiB\"\nper_key = 4000000\nwhen_unavailable = \"{when}\"");
    format!("[replay]\n{memory}\n[[route]]\npath = \"/orders\"\nupstream = [\"http://{}\"]\n", upstream.address)
}

/// Puts proofs of many keys into the memory until most keys find no room.
fn fill(gateway: &Running) {
    let engine = gateway.live.engine();
    let replays = engine.replays();
    let epoch = replays.epoch();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut in_a_row = 0;
    for number in 0_u32.. {
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        // Of every second in which the proof of a request can end.
        let expires = now().plus(Duration::from_secs(u64::from(300 + number % 16)));
        let entry = ReplayEntry::new(Thumbprint::from_bytes(key), "x", "https://a/", epoch, expires);
        match runtime.block_on(replays.record(&entry, now())) {
            Ok(Seen::Never) => in_a_row = 0,
            // nonce-only has begun.
            Ok(Seen::Forgotten) => return,
            Err(Fault::ReplayFull) => in_a_row += 1,
            other => panic!("{other:?}"),
        }
        if in_a_row == 1000 {
            return;
        }
    }
}

// R-SEC-05
#[test]
fn a_full_memory_refuses() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&config("refuse", &upstream));
    let nonce = scene.nonce(&gateway, "/orders");
    fill(&gateway);
    let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
    assert_eq!((answer.status, &*answer.reason()), (503, "replay.full"));
    assert!(answer.field("retry-after").is_some());
}

// R-SEC-02
#[test]
fn with_nonce_only_a_client_goes_on_after_one_retry() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let gateway = scene.gateway(&config("nonce-only", &upstream));
    let nonce = scene.nonce(&gateway, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(gateway.get("/orders", &used).status, 200);
    fill(&gateway);
    let figures = gateway.live.engine().replays().nonce_only().unwrap();
    assert!(figures.is_nonce_only, "{figures:?}");

    let answer = gateway.get("/orders", &used);
    assert_eq!((answer.status, &*answer.reason()), (401, "nonce.stale"));
    let nonce = answer.field("dpop-nonce").unwrap().to_owned();
    let retried = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(gateway.get("/orders", &retried).status, 200);
    assert_eq!(gateway.get("/orders", &retried).reason(), "replay.seen");
    let bare = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", None));
    assert_eq!(bare.reason(), "nonce.barrier");

    // Other windows make the nonces of the state worthless as well.
    let windows = format!("[proof]\nmax_age = \"600s\"\n{}", config("nonce-only", &upstream));
    gateway.live.reload(scene.config(&windows)).unwrap();
    assert_eq!(gateway.get("/orders", &retried).reason(), "nonce.stale");
}

/// A gateway whose store has ended goes on with a nonce of its own, until its reserve is full too: that is 503, and counted. `end` ends the store of this
/// configuration, in which `nonce-only` is set with a reserve of a mebibyte.
pub(crate) fn a_full_reserve_refuses(scene: &Scene, config: &str, end: impl FnOnce()) {
    let gateway = scene.gateway_with_metrics(config);
    let mut nonce = scene.nonce(&gateway, "/orders");
    let mut ask = |status| {
        let answer = gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
        assert_eq!(answer.status, status, "{answer:?}");
        nonce = answer.field("dpop-nonce").map_or_else(|| nonce.clone(), str::to_owned);
        answer
    };
    ask(200);
    end();
    redis_rig::wait_until("it to be seen", || gateway.metric("keybound_replay_store_there") == 0).expect("a word");
    ask(401);
    ask(200);
    assert_eq!(gateway.metric("keybound_replay_nonce_only_no_room_total"), 0);
    fill(&gateway);
    let before = gateway.metric("keybound_replay_nonce_only_no_room_total");
    assert!(before >= 1000);
    let answer = ask(503);
    assert_eq!(answer.reason(), "replay.full");
    assert!(answer.field("retry-after").is_some());
    let figures = ["", "_entered_total", "_admitted_total", "_no_room_total"];
    let [lasts, entered, admitted, no_room] =
        figures.map(|name| gateway.metric(&format!("keybound_replay_nonce_only{name}")));
    assert_eq!((lasts, entered, no_room), (1, 1, before + 1));
    assert!(admitted > 10_000, "{admitted}");
}

// R-SEC-05: one key with too many proofs waits, and no other does.
#[test]
fn a_key_over_its_quota_waits() {
    let (scene, upstream) = (Scene::new(), Upstream::echo());
    let route = format!("[[route]]\npath = \"/orders\"\nupstream = [\"http://{}\"]\n", upstream.address);
    let gateway = scene.gateway(&format!("[replay]\nper_key = 1\n{route}"));
    let nonce = scene.nonce(&gateway, "/orders");
    let ask = |scene: &Scene| gateway.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
    assert_eq!(ask(&scene).status, 200);
    let answer = ask(&scene);
    assert_eq!((answer.status, &*answer.reason()), (429, "replay.quota"));
    let wait: u64 = answer.field("retry-after").unwrap().parse().unwrap();
    // For as long as the proof before could be used again: the window, and the life of its nonce.
    assert!((1..=900).contains(&wait), "{wait}");
    assert!(answer.field("www-authenticate").is_none(), "no other credentials would help");
    assert_eq!(upstream.connections(), 1);
}
