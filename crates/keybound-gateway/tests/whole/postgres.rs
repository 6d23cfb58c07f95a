//! Gateways that remember used proofs together, in PostgreSQL. `cargo xtask test` starts it, tells of it and runs these.

#[path = "../../../keybound-cli/tests/crash/postgres.rs"]
mod server;

use http::Method;
use keybound_issuer::keys::SealingKeys;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::scene::{Running, Scene};
use crate::shared::{self, SEALING, all_take_all, demanded, get, kept_ring, refused, ring_key};
use crate::support::Upstream;
use server::Server;

/// In a schema of its own, which is not there before.
fn config(server: &Server, schema: &str, proof: &str, more: &str, upstream: &Upstream) -> String {
    shared::config(server.url(), proof, upstream)
        + &format!("[replay.postgres]\nschema = \"{schema}\"\ntimeout = \"5s\"\n{more}")
}

fn asked<T>(server: &Server, question: impl AsyncFnOnce(&mut PgConnection) -> Result<T, sqlx::Error>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    runtime.block_on(async {
        let mut connection = PgConnection::connect(server.url()).await.expect("a connection");
        question(&mut connection).await.expect("an answer")
    })
}

fn run(server: &Server, statement: &str) {
    asked(server, async |connection| sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await);
}

fn text(server: &Server, question: &str) -> String {
    asked(server, async |connection| sqlx::query_scalar(AssertSqlSafe(question)).fetch_one(connection).await)
}

// R-SEC-02, R-ERR-21: all of it in one test, for the server is killed.
#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_is_shared_by_gateways_and_503_while_it_is_away() {
    let (scene, upstream, server) = (Scene::new(), Upstream::echo(), Server::named());
    run(&server, "DROP SCHEMA IF EXISTS test_gateways CASCADE");
    let text = |proof: &str, more: &str| config(&server, "test_gateways", proof, more, &upstream);
    let (one, other) = (scene.gateway(&text("", "")), scene.gateway(&text("", "")));
    assert_eq!(epoch(&one), epoch(&other));
    let nonce = scene.nonce(&one, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&one, &used), (200, String::new()));
    assert_eq!(get(&one, &used), refused("replay.seen", 401));
    // As if the epoch had begun an hour ago, so that no barrier stands.
    run(&server, "UPDATE test_gateways.epoch SET opened = opened - 3600");
    drop((one, other));
    let (one, other) = (scene.gateway(&text("", "")), scene.gateway(&text("", "")));
    for _ in 0..5 {
        let proof = scene.credentials(Method::GET, "/orders", None);
        assert_eq!(get(&one, &proof), (200, String::new()));
        assert_eq!(get(&other, &proof), refused("replay.seen", 401));
        assert_eq!(get(&one, &proof), refused("replay.seen", 401));
    }

    // A window that is longer is a new epoch to both.
    let (before, used) = (epoch(&other), scene.credentials(Method::GET, "/orders", None));
    assert_eq!(get(&one, &used), (200, String::new()));
    one.live.reload(scene.config(&text("max_age = \"600s\"", ""))).unwrap();
    redis_rig::wait_until("the epoch", || epoch(&other) != before).expect("a new epoch");
    assert_eq!(get(&one, &used), refused("nonce.barrier", 401));

    // Where another server may take over, a nonce is asked of every proof.
    demanded(&scene, &scene.gateway(&text("", "failover = \"possible\"\n")));

    let nonce = scene.nonce(&other, "/orders");
    let used = scene.credentials(Method::GET, "/orders", Some(&nonce));
    assert_eq!(get(&other, &used), (200, String::new()));
    server.kill();
    let answer = other.get("/orders", &scene.credentials(Method::GET, "/orders", Some(&nonce)));
    assert_eq!((answer.status, &*answer.reason()), (503, "replay.unreachable"));
    assert!(answer.field("retry-after").is_some());
    // What this gateway has recorded itself it need not ask about.
    assert_eq!(get(&other, &used), refused("replay.seen", 401));
    let standing = || other.live.engine().replays().standing().expect("it may be away");
    redis_rig::wait_until("it to be seen", || !standing().is_there).expect("a word");
    assert!(standing().store.starts_with("postgres://127.0.0.1:"), "{:?}", standing());
    let before = epoch(&other);
    server.start();
    // Those with the longer window may open another one after the first.
    let is_settled = || epoch(&other) != before && epoch(&other) == epoch(&one);
    redis_rig::wait_until("the epoch", is_settled).expect("a new epoch");
    assert!(standing().is_there);
    assert_eq!(get(&other, &used), refused("nonce.stale", 401));
    assert_eq!(get(&other, &scene.credentials(Method::GET, "/orders", None)), refused("nonce.barrier", 401));
    let nonce = scene.nonce(&other, "/orders");
    assert_eq!(get(&other, &scene.credentials(Method::GET, "/orders", Some(&nonce))), (200, String::new()));

    keeps_the_ring(&scene, &server, &upstream);
}

// R-NONCE-09, R-NONCE-14: sealed, beside the proofs.
fn keeps_the_ring(scene: &Scene, server: &Server, upstream: &Upstream) {
    run(server, "DROP SCHEMA IF EXISTS test_ring CASCADE");
    let config = config(server, "test_ring", &kept_ring(SEALING), "", upstream);
    let mut gateways = vec![scene.gateway(&config), scene.gateway(&config)];
    all_take_all(scene, &gateways);
    assert!(gateways.iter().all(|gateway| ring_key(gateway) == 1));
    let sealed = text(server, "SELECT convert_from(held, 'UTF8') FROM test_ring.shared");
    let keys = SealingKeys::parse(SEALING).unwrap();
    let opened = keys.open_text(&["nonce ring"], &sealed).expect("what opens");
    let mut ring: serde_json::Value = serde_json::from_slice(&opened).unwrap();
    assert!(!sealed.contains(ring["current"]["secret"].as_str().unwrap()), "nobody reads the keys there");
    // As if it had been turned long ago: whoever comes then turns it, for the others know since when it is there.
    ring["turned"] = 1_700_000_000.into();
    let sealed = keys.seal_text(&["nonce ring"], ring.to_string().as_bytes()).unwrap();
    run(server, &format!("UPDATE test_ring.shared SET held = '{sealed}'::text::bytea"));
    gateways.push(scene.gateway(&config));
    redis_rig::wait_until("a turn", || gateways.iter().all(|gateway| ring_key(gateway) == 2)).expect("a turn");
    all_take_all(scene, &gateways);
}

fn epoch(gateway: &Running) -> keybound::replay::Epoch {
    gateway.live.engine().replays().epoch()
}
