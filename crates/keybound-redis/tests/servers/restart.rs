//! Servers that end and begin again, with and without what they had.

use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::{Server, Settings};

use crate::support::{PATIENCE, Proof, eventually, new_epoch, node, server};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_forgot_is_a_new_epoch_to_every_node() {
    let mut server = server();
    let (one, other) = (node(&server.url()).await, node(&server.url()).await);
    let before = one.epoch();
    let proof = Proof::new(1, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    server.restart().expect("a server");
    let after = new_epoch(&one, before).await;
    assert_eq!(new_epoch(&other, before).await, after);
    // Judged before, shown after: that is what the barrier is for.
    assert_eq!(proof.under(before, &one).await, Ok(Seen::Forgotten));
    assert_eq!(proof.under(before, &other).await, Ok(Seen::Forgotten));
    assert!(after.opened() > before.opened());
}

// The trap: its file brings the marker back, and not what was written last.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_brings_back_its_marker_is_a_new_epoch_too() {
    let mut server = Server::start(Settings::new().append_only()).expect("a server");
    let one = node(&server.url()).await;
    let before = one.epoch();
    let proof = Proof::new(1, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    server.restart().expect("a server");
    assert!(server.ask(&["EXISTS", "kb:p"]).is_ok_and(|found| found == "1"));
    let after = new_epoch(&one, before).await;
    assert_eq!(proof.under(before, &one).await, Ok(Seen::Forgotten));
    assert_eq!(proof.under(after, &one).await, Ok(Seen::Before), "what it has kept, it knows");
    assert_eq!(node(&server.url()).await.epoch(), after, "a node that comes later takes it");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_connection_that_breaks_is_no_new_epoch() {
    let server = server();
    let proxy = redis_rig::Proxy::to(server.address()).expect("a proxy");
    let one = node(&format!("redis://{}", proxy.address())).await;
    let before = one.epoch();
    let proof = Proof::new(1, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    for _ in 0..5 {
        let reconnects = one.figures().reconnects;
        proxy.reset();
        eventually("a new connection", async || one.figures().reconnects > reconnects).await;
        assert_eq!(proof.at(&one).await, Ok(Seen::Before));
        assert_eq!(one.epoch(), before);
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_is_emptied_under_a_connection_is_a_new_epoch() {
    let server = server();
    let (one, other) = (node(&server.url()).await, node(&server.url()).await);
    let before = one.epoch();
    let proof = Proof::new(1, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    server.ask(&["FLUSHALL"]).expect("an answer");
    assert_eq!(proof.under(before, &one).await, Ok(Seen::Forgotten));
    assert_ne!(one.epoch(), before, "the nonce that goes with the answer is of the epoch that comes");
    assert_eq!(proof.under(before, &other).await, Ok(Seen::Forgotten));
    assert_eq!(one.epoch(), new_epoch(&other, before).await);
}

// Demoted, emptied by its new primary, and promoted again, all under one connection.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_was_a_replica_meanwhile_is_a_new_epoch() {
    let (server, emptier) = (server(), server());
    let one = node(&server.url()).await;
    let before = one.epoch();
    let marker = || server.ask(&["--no-raw", "ZRANGE", "kb:p", "+inf", "+inf", "BYSCORE"]).expect("an answer");
    let first = marker();
    // The other server has the marker, as an old copy would, and no proof.
    let (ip, port) = (emptier.address().ip().to_string(), emptier.port().to_string());
    server.ask(&["MIGRATE", &ip, &port, "kb:p", "0", "5000", "COPY"]).expect("a copy");
    assert_eq!(Proof::new(1, "j").at(&one).await, Ok(Seen::Never));
    server.ask(&["REPLICAOF", &ip, &port]).expect("an answer");
    redis_rig::wait_until("a replica", || {
        server.info("replication", "master_link_status").is_ok_and(|status| status == "up")
    })
    .expect("a replica");
    server.ask(&["REPLICAOF", "NO", "ONE"]).expect("an answer");
    let after = new_epoch(&one, before).await;
    assert_ne!(marker(), first);
    assert_eq!(Proof::new(1, "j").under(before, &one).await, Ok(Seen::Forgotten));
    assert_eq!(Proof::new(1, "j").under(after, &one).await, Ok(Seen::Never), "which is why");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_is_away_is_a_fault_at_once_and_comes_back() {
    let mut server = server();
    let one = node(&server.url()).await;
    assert_eq!(Proof::new(1, "a").at(&one).await, Ok(Seen::Never));
    server.kill().expect("an end");
    eventually("the breaker", async || !one.figures().is_there).await;
    let began = tokio::time::Instant::now();
    for number in 0..1000 {
        assert_eq!(Proof::new(1, format!("{number}")).at(&one).await, Err(Fault::ReplayUnreachable));
    }
    // One that waits does so for all of that.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    let before = one.epoch();
    server.restart().expect("a server");
    new_epoch(&one, before).await;
    assert!(one.figures().is_there);
    assert_eq!(Proof::new(1, "b").at(&one).await, Ok(Seen::Never));
}
