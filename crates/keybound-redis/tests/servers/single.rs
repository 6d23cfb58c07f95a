//! One server, one node and several.

use std::sync::Arc;

use keybound::replay::Seen;
use keybound_redis::RedisStore;
use tokio::task::JoinSet;

use crate::support::{Proof, every_duty, node, server, settings};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs redis-server"]
async fn does_what_every_store_must() {
    let server = server();
    assert!(!every_duty(&server.url()).await.needs_nonces());
}

// R-SEC-02, over nodes: each proof at all of them at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
#[ignore = "needs redis-server"]
async fn of_many_nodes_at_once_one_admits() {
    let server = server();
    let mut nodes = Vec::new();
    for _ in 0..4 {
        nodes.push(node(&server.url()).await);
    }
    let mut asked = JoinSet::new();
    for number in 0..500_u32 {
        for node in &nodes {
            let (node, proof) =
                (node.clone(), Proof::new(u8::try_from(number % 250).unwrap_or(0), format!("j{number}")));
            asked.spawn(async move { (number, proof.at(&node).await) });
        }
    }
    let mut admitted = vec![0; 500];
    while let Some(outcome) = asked.join_next().await {
        match outcome.expect("an answer") {
            (number, Ok(Seen::Never)) => admitted[usize::try_from(number).unwrap_or(0)] += 1,
            (_, Ok(Seen::Before)) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(admitted.iter().all(|times| *times == 1), "{admitted:?}");
}

// For programs without a runtime that lasts: each worker of the gateway has its own.
#[test]
#[ignore = "needs redis-server"]
fn a_thread_of_its_own_serves_every_runtime() {
    let server = server();
    let store = RedisStore::connect_on_thread(settings(&server.url())).expect("a store");
    let proof = Arc::new(Proof::new(1, "j"));
    let ask = || {
        let (store, proof) = (store.clone(), Arc::clone(&proof));
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            runtime.block_on(async { proof.at(&store).await })
        })
        .join()
        .expect("an answer")
    };
    assert_eq!(ask(), Ok(Seen::Never));
    assert_eq!(ask(), Ok(Seen::Before));
    let connected = || server.info("clients", "connected_clients").expect("a field");
    assert_eq!(connected(), "2", "ours, and the one that asks");
    drop(store);
    redis_rig::wait_until("the connection to end", || connected() == "1").expect("the last handle ends the thread");
}
