//! The layer of crate `keybound-tower` on this store, with nothing between.

use core::time::Duration;

use futures_util::future::join_all;
use keybound::replay::ReplayStore as _;
use keybound::verify::NoncePolicy;
use redis_rig::{Proxy, Server};

use crate::entry::kept_until;
use crate::layer::Stage;
use crate::support::{connected, eventually, new_epoch, node, server, settings};

/// As if the epoch had begun an hour ago, so that no barrier stands.
fn age(server: &Server) {
    let script = "local m = redis.call('ZRANGE', 'kb:p', '+inf', '+inf', 'BYSCORE')[1] redis.call('ZREM', 'kb:p', m) \
                  local ago = redis.call('TIME')[1] - 3600 return redis.call('ZADD', 'kb:p', '+inf', \
                  string.sub(m, 1, 9) .. struct.pack('>I4I4', 0, ago) .. string.sub(m, 18))";
    assert_eq!(server.ask(&["EVAL", script, "0"]).expect("an answer"), "1");
}

// R-SEC-02
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn layers_of_two_nodes_let_a_proof_through_once() {
    let (mut server, stage) = (server(), Stage::new(NoncePolicy::Offer));
    let stores = [node(&server.url()).await, node(&server.url()).await];
    let nodes = stores.clone().map(|store| stage.node(store));
    let nonce = stage.nonce(&nodes[0]).await;
    for round in 0..20 {
        let shown = stage.shown(stage.began(), Some(&nonce));
        let answers = join_all((0..10).map(|at| stage.ask(&nodes[(round + at) % 2], &shown))).await;
        let count = |status| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(401)), (1, 9), "{answers:?}");
        assert!(answers.iter().all(|answer| answer.status == 200 || answer.is(401, "replay.seen")), "{answers:?}");
    }
    let used = stage.shown(stage.began(), Some(&nonce));
    assert_eq!(stage.ask(&nodes[1], &used).await.status, 200);
    let before = stores[0].epoch();
    server.kill().expect("an end");
    for node in &nodes {
        let answer = stage.ask(node, &stage.shown(stage.began(), Some(&nonce))).await;
        assert!(answer.is(503, "replay.unreachable") && answer.text.contains("retry-after"), "{answer:?}");
    }
    server.restart().expect("a server");
    for (store, node) in stores.iter().zip(&nodes) {
        new_epoch(store, before).await;
        let answer = stage.ask(node, &used).await;
        assert!(answer.is(401, "nonce.stale") && answer.nonce.is_some(), "{answer:?}");
        let again = stage.shown(stage.began(), answer.nonce.as_deref());
        assert_eq!(stage.ask(node, &again).await.status, 200);
    }
}

// R-SEC-03, by real proofs: for as long as a proof is good by anybody's judgement, and the clocks of two nodes may be ten seconds off each.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn a_proof_at_the_edge_of_the_window_is_remembered_while_it_is_good() {
    let stage = Stage::new(NoncePolicy::Offer);
    for (shown, expected) in stage.at_both_edges().into_iter().zip([0, 360]) {
        let server = server();
        drop(node(&server.url()).await);
        age(&server);
        let stores = [node(&server.url()).await, node(&server.url()).await];
        assert_eq!(stage.good_for(&shown, stores[0].epoch()).await, expected);
        let nodes = stores.map(|store| stage.node(store));
        assert_eq!(stage.ask(&nodes[0], &shown).await.status, 200);
        let beyond = kept_until(&server) - stage.began().plus(Duration::from_secs(expected)).as_secs() * 1000;
        assert!(beyond >= 20_000, "{beyond} ms beyond a proof that is good for {expected} s");
        for seconds in [0, expected / 2, expected] {
            stage.turn(seconds);
            for node in &nodes {
                let answer = stage.ask(node, &shown).await;
                assert!(answer.is(401, "replay.seen"), "after {seconds} s: {answer:?}");
            }
        }
        stage.turn(0);
    }
}

// The record is there and its answer is lost: nobody knows, and so nobody is let through, then or later.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs redis-server"]
async fn an_answer_that_is_lost_lets_nobody_through() {
    let (server, stage) = (server(), Stage::new(NoncePolicy::Offer));
    let proxy = Proxy::to(server.address()).expect("a proxy");
    // Longer than anything here takes: it is the connection that ends.
    let patient = settings(&format!("redis://{}", proxy.address())).timeout(Duration::from_secs(60));
    let store = connected(patient).await;
    let (one, other) = (stage.node(store.clone()), stage.node(node(&server.url()).await));
    let (nonce, before) = (stage.nonce(&one).await, store.epoch());
    // From now on the server knows the script.
    for _ in 0..8 {
        assert_eq!(stage.ask(&one, &stage.shown(stage.began(), Some(&nonce))).await.status, 200);
    }
    let shown = stage.shown(stage.began(), Some(&nonce));
    let records = || server.ask(&["ZCARD", "kb:p"]).expect("an answer");
    assert_eq!(records(), "9", "with the marker");
    proxy.bar_answers();
    let lost = async {
        eventually("the record", async || records() == "10").await;
        proxy.reset();
    };
    let (answer, ()) = tokio::join!(stage.ask(&one, &shown), lost);
    assert!(answer.is(503, "replay.unreachable"), "{answer:?}");
    proxy.open();
    let answer = stage.answered(&one, &shown).await;
    assert!(answer.is(401, "replay.seen"), "{answer:?}");
    let answer = stage.ask(&other, &shown).await;
    assert!(answer.is(401, "replay.seen"), "{answer:?}");
    assert_eq!((&*records(), store.epoch()), ("10", before), "nothing was forgotten, and it is counted once");
}
