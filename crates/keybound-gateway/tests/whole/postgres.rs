//! Gateways that remember used proofs together, in PostgreSQL. `cargo xtask test` starts it, tells of it and runs these.

#[path = "../../../keybound-cli/tests/crash/postgres.rs"]
mod server;

use std::collections::VecDeque;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use http::{Method, StatusCode};
use keybound_gateway::engine::Engine;
use keybound_issuer::keys::SealingKeys;
use sqlx::postgres::PgConnection;
use sqlx::{AssertSqlSafe, Connection as _};

use crate::outage::a_full_reserve_refuses;
use crate::scene::{Running, Scene};
use crate::shared::{self, NONCE_ONLY, SEALING, all_take_all, demanded, get, kept_ring, refused, ring_key, trouble};
use crate::shared_issuer::{Alone, all_take_all as issuers_take_all, prove};
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

/// The server is killed by some: one test at a time.
fn one() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

// R-SEC-02, R-ERR-21
#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_is_shared_by_gateways_and_503_while_it_is_away() {
    let _one = one();
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
}

/// The ring as it lies there.
fn kept(server: &Server) -> String {
    text(server, "SELECT convert_from(held, 'UTF8') FROM test_ring.shared")
}

fn keep(server: &Server, sealed: &str) {
    run(server, &format!("UPDATE test_ring.shared SET held = '{sealed}'::text::bytea"));
}

/// As if it had been turned long ago: whoever comes then turns it, for the others know since when it is there.
fn age_ring(server: &Server) {
    let (keys, sealed) = (SealingKeys::parse(SEALING).unwrap(), kept(server));
    let opened = keys.open_text(&["nonce ring"], &sealed).expect("what opens");
    let mut ring: serde_json::Value = serde_json::from_slice(&opened).unwrap();
    assert!(!sealed.contains(ring["current"]["secret"].as_str().unwrap()), "nobody reads the keys there");
    ring["turned"] = 1_700_000_000.into();
    keep(server, &keys.seal_text(&["nonce ring"], ring.to_string().as_bytes()).unwrap());
}

fn takes(scene: &Scene, gateway: &Running, nonce: &str) {
    let credentials = scene.credentials(Method::GET, "/orders", Some(nonce));
    assert_eq!(get(gateway, &credentials), (200, String::new()));
}

// R-NONCE-09, R-NONCE-14: sealed, beside the proofs; turned, put back, and brought back older by a server that takes over.
#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_keeps_the_ring() {
    let _one = one();
    let (scene, upstream, server) = (Scene::new(), Upstream::echo(), Server::named());
    run(&server, "DROP SCHEMA IF EXISTS test_ring CASCADE");
    let text = config(&server, "test_ring", &kept_ring(SEALING), "", &upstream);
    let mut gateways = vec![scene.gateway(&text), scene.gateway(&text)];
    all_take_all(&scene, &gateways);
    assert!(gateways.iter().all(|gateway| ring_key(gateway) == 1));
    let (older, first) = (kept(&server), demanded(&scene, &gateways[0]));
    age_ring(&server);
    gateways.push(scene.gateway(&text));
    redis_rig::wait_until("a turn", || gateways.iter().all(|gateway| ring_key(gateway) == 2)).expect("a turn");
    all_take_all(&scene, &gateways);
    takes(&scene, &gateways[1], &first);

    let second = demanded(&scene, &gateways[0]);
    keep(&server, &older);
    redis_rig::wait_until("the older", || gateways.iter().all(|gateway| ring_key(gateway) == 1)).expect("a ring");
    takes(&scene, &gateways[2], &first);
    takes(&scene, &gateways[1], &second);
    all_take_all(&scene, &gateways);

    run(&server, "DELETE FROM test_ring.shared");
    let count = || {
        asked(&server, async |connection| {
            sqlx::query_scalar::<_, i64>("SELECT count(*) FROM test_ring.shared").fetch_one(connection).await
        })
    };
    redis_rig::wait_until("the ring", || count() == 1).expect("a ring");
    takes(&scene, &gateways[1], &demanded(&scene, &gateways[0]));
    takes(&scene, &gateways[0], &second);

    assert_eq!(trouble(&gateways[0]), None);
    keep(&server, "nonsense");
    redis_rig::wait_until("the trouble", || trouble(&gateways[0]).is_some()).expect("a word");
    all_take_all(&scene, &gateways);
    run(&server, "DELETE FROM test_ring.shared");
    redis_rig::wait_until("its end", || trouble(&gateways[0]).is_none()).expect("an end");
    changes_the_sealing_key(&scene, &server, &upstream);
}

/// Each step at one gateway after the other.
fn changes_the_sealing_key(scene: &Scene, server: &Server, upstream: &Upstream) {
    let other = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=";
    let text = |keys: &str| config(server, "test_ring", &kept_ring(keys), "", upstream);
    let error = Engine::new(scene.config(&text(other))).unwrap_err().to_string();
    assert!(error.contains("sealed under another key"), "{error}");
    let mut gateways = VecDeque::from([scene.gateway(&text(SEALING)), scene.gateway(&text(SEALING))]);
    let first = demanded(scene, &gateways[0]);
    for (keys, seals) in
        [(format!("{SEALING}\\n{other}"), SEALING), (format!("{other}\\n{SEALING}"), other), (other.to_owned(), other)]
    {
        for _ in 0..2 {
            drop(gateways.pop_front());
            gateways.push_back(scene.gateway(&text(&keys)));
            all_take_all(scene, gateways.make_contiguous());
        }
        assert!(SealingKeys::parse(seals).unwrap().is_text_of_first(&kept(server)), "{keys}");
    }
    takes(scene, &gateways[0], &first);
}

// Two issuers without a gateway, one of which begins again, and then the server does.
#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_remembers_the_proofs_of_issuers_over_a_restart() {
    let _one = one();
    let server = Server::named();
    run(&server, "DROP SCHEMA IF EXISTS keybound CASCADE");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ask = |issuer: &Alone, proof: &str| runtime.block_on(issuer.ask(proof));
    let mut issuers = [Alone::start(server.url()), Alone::start(server.url())];
    runtime.block_on(issuers_take_all(&issuers));
    let nonce = runtime.block_on(issuers[0].nonce());
    let used = prove(Some(&nonce));
    assert_eq!(ask(&issuers[0], &used).0, StatusCode::OK);
    issuers[0] = Alone::start(server.url());
    for issuer in &issuers {
        let (status, reason, _) = ask(issuer, &used);
        assert_eq!((status, &*reason), (StatusCode::BAD_REQUEST, "replay.seen"));
    }
    runtime.block_on(issuers_take_all(&issuers));

    server.kill();
    let (status, reason, _) = ask(&issuers[0], &prove(Some(&nonce)));
    assert_eq!((status, &*reason), (StatusCode::SERVICE_UNAVAILABLE, "replay.unreachable"));
    server.start();
    for issuer in &issuers {
        let mut answer = (StatusCode::SERVICE_UNAVAILABLE, String::new(), None);
        redis_rig::wait_until("an answer", || {
            answer = ask(issuer, &used);
            answer.0 != StatusCode::SERVICE_UNAVAILABLE && answer.1 != "replay.seen"
        })
        .expect("an answer");
        assert_eq!((answer.0, &*answer.1), (StatusCode::BAD_REQUEST, "nonce.stale"));
    }
    runtime.block_on(issuers_take_all(&issuers));
}

#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_is_entered_by_a_password_in_a_file() {
    let _one = one();
    let (scene, upstream, server) = (Scene::new(), Upstream::echo(), Server::named());
    let rules =
        PathBuf::from(std::env::var_os("KEYBOUND_TEST_POSTGRES_DATA").expect("it is named")).join("pg_hba.conf");
    let all = fs::read_to_string(&rules).expect("rules");
    run(&server, "DROP SCHEMA IF EXISTS test_password CASCADE; DROP ROLE IF EXISTS replays");
    run(&server, "CREATE ROLE replays LOGIN PASSWORD 'right'; CREATE SCHEMA test_password AUTHORIZATION replays");
    fs::write(&rules, format!("host all replays 127.0.0.1/32 scram-sha-256\n{all}")).expect("rules");
    run(&server, "SELECT pg_reload_conf()");
    let url = server.url().replace("keybound@", "replays@");
    let text = shared::config(&url, "", &upstream)
        + "[replay.postgres]\nschema = \"test_password\"\npassword_file = \"postgres.secret\"\n";
    let secret = |text: &str| {
        scene.write("postgres.secret", text);
        fs::set_permissions(scene.path("postgres.secret"), fs::Permissions::from_mode(0o600)).expect("its owner");
    };
    assert!(scene.try_config(&Scene::text(&text)).is_err(), "there is no such file");
    secret("hunter2\n");
    let error = Engine::new(scene.config(&text)).unwrap_err().to_string();
    assert!(error.starts_with("replay.store: ") && error.contains("user name or password is wrong"), "{error}");
    assert!(!error.contains("hunter2"), "{error}");
    secret("right\n");
    let gateway = scene.gateway(&text);
    let nonce = scene.nonce(&gateway, "/orders");
    takes(&scene, &gateway, &nonce);
    drop(gateway);
    fs::write(&rules, all).expect("rules");
    run(&server, "SELECT pg_reload_conf(); DROP SCHEMA test_password CASCADE; DROP ROLE replays");
}

#[test]
#[ignore = "needs PostgreSQL"]
fn postgres_that_is_away_and_a_full_reserve_are_503() {
    let _one = one();
    let (scene, upstream, server) = (Scene::new(), Upstream::echo(), Server::named());
    run(&server, "DROP SCHEMA IF EXISTS test_reserve CASCADE");
    let text = config(&server, "test_reserve", "", "", &upstream).replace("[replay]\n", NONCE_ONLY);
    a_full_reserve_refuses(&scene, &text, || server.kill());
    server.start();
}

fn epoch(gateway: &Running) -> keybound::replay::Epoch {
    gateway.live.engine().replays().epoch()
}
