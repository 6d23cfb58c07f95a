//! The store on a real server, which `cargo xtask test` starts and tells of; it is killed, held, emptied and copied.

#[path = "../../../keybound-cli/tests/crash/postgres.rs"]
mod server;

mod failover;
mod faults;
#[path = "../../../keybound-redis/tests/servers/layer.rs"]
mod layer;
mod layered;
mod lives;
mod refused;
mod support;
mod text;
mod tls;

use core::time::Duration;
use std::sync::Arc;

use futures_util::future::join_all;
use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen, suite};
use tokio::time::Instant;

use crate::support::{PATIENCE, Place, Proof, TERMINATE, connected, eventually, later, now, raised};

// R-SEC-02, R-SEC-03, R-SEC-04
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_is_a_store() {
    let place = Place::new("suite").await;
    let (one, other) = (place.node().await, place.node().await);
    assert_eq!(one.epoch(), other.epoch());
    suite::shared(&one, &other, "two", now()).await;
    suite::run(&one, "one", now()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_has_one_success_for_fifty_tasks_of_three_nodes() {
    let place = Place::new("fifty").await;
    let nodes = [place.node().await, place.node().await, place.node().await];
    for round in 0..20 {
        let proof = Arc::new(Proof::new(1, format!("round {round}")));
        let tasks = (0..50).map(|task| {
            let (node, proof) = (nodes[task % 3].clone(), Arc::clone(&proof));
            tokio::spawn(async move { proof.at(&node).await })
        });
        let answers: Vec<_> = join_all(tasks).await.into_iter().map(|answer| answer.expect("a task")).collect();
        let count = |wanted| answers.iter().filter(|answer| **answer == Ok(wanted)).count();
        assert_eq!((count(Seen::Never), count(Seen::Before)), (1, 49), "{answers:?}");
        assert_eq!(place.number("SELECT sum(proofs)::bigint FROM {}.tallies").await, round + 1, "each is counted once");
    }
}

// R-ERR-21: what was recorded is gone, and nothing of before is admitted under the epoch that comes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_was_killed_begins_an_epoch() {
    let place = Place::new("killed").await;
    let (node, other, hasty) = (place.node().await, place.node().await, place.hasty().await);
    let before = node.epoch();
    let used = Proof::new(1, "used");
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    place.server.kill();
    assert_eq!(Proof::new(1, "while it is away").at(&hasty).await, Err(Fault::ReplayUnreachable));
    eventually("the breaker", async || !node.figures().is_there).await;
    let began = Instant::now();
    assert_eq!(Proof::new(1, "at once").at(&node).await, Err(Fault::ReplayUnreachable));
    // Who waits does so for all of that.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    place.server.start();
    for node in [&node, &other] {
        eventually("a new epoch", async || node.epoch() != before).await;
    }
    assert_eq!(node.epoch(), other.epoch());
    assert!(node.began() >= now(), "its barrier covers what was admitted up to now by any clock");
    assert_eq!(used.under(before, &node).await, Ok(Seen::Forgotten));
    assert_eq!(Proof::new(1, "new").at(&node).await, Ok(Seen::Never));
    assert_eq!(Proof::new(1, "new").at(&other).await, Ok(Seen::Before));
    assert_eq!(node.figures().epochs, 1);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_is_held_is_a_fault_and_has_forgotten_nothing() {
    let place = Place::new("held").await;
    let (node, hasty) = (place.node().await, place.hasty().await);
    let (before, used) = (node.epoch(), Proof::new(1, "used"));
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    place.server.signal("STOP");
    let began = Instant::now();
    let late = Proof::new(1, "late");
    assert_eq!(late.at(&hasty).await, Err(Fault::ReplayUnreachable));
    // It would be for ever.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    place.server.signal("CONT");
    for node in [&hasty, &node] {
        eventually("an answer", async || Proof::new(1, "next").at(node).await.is_ok()).await;
        assert_eq!(node.epoch(), before);
    }
    assert_eq!(used.at(&node).await, Ok(Seen::Before));
}

// Whoever empties a part of it, by hand or by mistake: the marker is gone from there.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_whose_tables_were_emptied_begins_an_epoch() {
    let place = Place::new("emptied").await;
    let node = place.node().await;
    for emptied in
        ["TRUNCATE {}.proofs_0", "TRUNCATE {}.proofs", "DELETE FROM {}.epoch", "UPDATE {}.epoch SET started = now()"]
    {
        let (before, used) = (node.epoch(), Proof::new(1, emptied));
        assert_eq!(used.at(&node).await, Ok(Seen::Never));
        place.run(emptied).await;
        assert_eq!(used.under(before, &node).await, Ok(Seen::Forgotten), "{emptied}");
        eventually("a new epoch", async || node.epoch() != before).await;
    }
}

// Slots are emptied whole, and not before what was recorded in them is over.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_keeps_a_proof_until_its_slot_comes_again() {
    let place = Place::new("ring").await;
    let node = place.node().await;
    let (usual, long) = (Proof::new(1, "usual"), Proof::new(1, "long").until(now().plus(Duration::from_secs(86_400))));
    for proof in [&usual, &long] {
        assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    }
    for turn in 0..3 {
        assert!(place.turn(false, turn).await, "turn {turn}");
        assert!(!place.turn(false, turn).await, "turn {turn}, of somebody who is late");
        assert_eq!(usual.at(&node).await, Ok(Seen::Before), "turn {turn}");
    }
    assert!(place.turn(false, 3).await);
    assert_eq!(usual.at(&node).await, Ok(Seen::Never), "its slot was emptied");
    assert_eq!(long.at(&node).await, Ok(Seen::Before), "it is in another as well");
    for turn in 0..3 {
        assert!(place.turn(true, turn).await, "far turn {turn}");
    }
    assert_eq!(node.figures().epochs, 0, "that is no trouble");
    assert_eq!(long.at(&node).await, Ok(Seen::Never));
}

// By the node's own clock, which nobody sets.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_rings_are_turned_when_it_is_time() {
    let place = Place::new("turns").await;
    let node = place.node().await;
    let (used, began) = (Proof::new(1, "used"), node.epoch());
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    // A third of 420 s is not over, and then it is.
    for (seconds, turns) in [(130, 0), (12, 1), (141, 2)] {
        later(seconds).await;
        eventually("a look at it", async || Proof::new(1, format!("after {seconds} s")).at(&node).await.is_ok()).await;
        eventually("a turn", async || place.turns().await >= turns).await;
        assert_eq!(place.turns().await, turns, "{seconds} s more");
    }
    assert_eq!((used.at(&node).await, node.epoch()), (Ok(Seen::Before), began));
}

// Otherwise, where connections break now and then, no slot would ever be emptied.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_rings_go_on_over_other_connections() {
    let place = Place::new("goes_on").await;
    let (node, mut reconnects) = (place.node().await, 0);
    let began = node.epoch();
    for (seconds, turns) in [(130, 0), (12, 1), (130, 1), (12, 2)] {
        later(seconds).await;
        eventually("a turn", async || place.turns().await >= turns).await;
        assert_eq!(place.turns().await, turns, "{seconds} s more");
        reconnects = reconnects.max(node.figures().reconnects);
        place.run(TERMINATE).await;
        eventually("connections", async || node.figures().reconnects > reconnects).await;
    }
    assert_eq!(node.epoch(), began);
}

// R-SEC-05
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_counts_over_all_nodes() {
    let place = Place::new("quota").await;
    let node = async || connected(place.settings().per_key(5)).await;
    let nodes = [node().await, node().await];
    let proofs: Vec<_> = (0..40).map(|number| Proof::new(1, number.to_string())).collect();
    let answers = join_all(proofs.iter().enumerate().map(|(at, proof)| proof.at(&nodes[at % 2]))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Seen::Never)).count(), 5, "{answers:?}");
    for answer in answers.iter().filter(|answer| **answer != Ok(Seen::Never)) {
        let Ok(Seen::OverQuota { retry_after }) = answer else { panic!("{answer:?}") };
        assert!((1..=700).contains(retry_after), "{retry_after}");
    }
    let admitted = answers.iter().position(|answer| *answer == Ok(Seen::Never)).expect("there are five");
    assert_eq!(proofs[admitted].at(&nodes[1]).await, Ok(Seen::Before), "what is there is known beyond the quota");
    assert_eq!(Proof::new(2, "another key").at(&nodes[0]).await, Ok(Seen::Never));
}

// A client whose clock is ahead waits for as long as any other, though its proofs are kept for more than a day.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_counts_a_proof_once_however_long_it_is_kept() {
    let place = Place::new("ahead").await;
    let node = connected(place.settings().per_key(4)).await;
    let proof = |name: &str| Proof::new(1, name).until(now().plus(Duration::from_secs(3600)));
    for name in ["1", "2", "3", "4"] {
        assert_eq!(proof(name).at(&node).await, Ok(Seen::Never), "{name}");
    }
    for turn in 0..4 {
        let answer = proof("5").at(&node).await;
        let Ok(Seen::OverQuota { retry_after }) = answer else { panic!("{answer:?}") };
        // Slots are written to for 141 s each, and the first goes when its turn comes again.
        let left = 141 * (4 - turn);
        assert!((left - 20..=left).contains(&retry_after), "{retry_after} after {turn}");
        assert!(place.turn(false, i64::from(turn)).await);
    }
    assert_eq!(proof("5").at(&node).await, Ok(Seen::Never));
    assert_eq!(proof("1").at(&node).await, Ok(Seen::Before), "it is there as long as it counts");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_opens_an_epoch_for_longer_windows() {
    let place = Place::new("windows").await;
    let (node, other) = (place.node().await, place.node().await);
    let (before, judged) = (node.epoch(), Proof::new(1, "judged before"));
    let raised = raised(&node, Duration::from_secs(600)).await;
    assert_ne!(raised, before);
    eventually("the other to learn it", async || other.epoch() == raised).await;
    for node in [&node, &other] {
        assert_eq!(judged.under(before, node).await, Ok(Seen::Forgotten));
    }
    // A node that begins with shorter ones keeps to it.
    assert_eq!(place.node().await.epoch(), raised);
}

// One that was cut off may have let proofs pass unrecorded since another has opened one: that one does not do.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_opens_an_epoch_each_time_that_it_is_asked_to() {
    let place = Place::new("raised").await;
    let (node, other) = (place.node().await, place.node().await);
    let window = Duration::from_secs(300);
    let first = raised(&other, window).await;
    // Before it has looked: it knows the one of the beginning.
    let second = raised(&node, window).await;
    assert_ne!(first, second);
    eventually("the other to learn it", async || other.epoch() == second).await;
    for node in [&node, &other] {
        assert_eq!(Proof::new(1, "passed").under(first, node).await, Ok(Seen::Forgotten));
    }
    assert_eq!(place.node().await.epoch(), second, "who merely comes takes it");
}

// What a clock that jumps would do: nothing is recorded while it is away from that of the node.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_records_nothing_by_another_clock() {
    let place = Place::new("clock").await;
    let node = place.node().await;
    for (off, expected) in [(0, vec![0, 0, 0]), (9, vec![0, 0, 0])] {
        assert_eq!(place.record_of_nothing(f64::from(off)).await, expected, "{off} s");
    }
    for off in [12, -12, 86_400] {
        assert_eq!(place.record_of_nothing(f64::from(off)).await[0], 2, "{off} s");
    }
    assert_eq!(Proof::new(1, "as before").at(&node).await, Ok(Seen::Never));
}
