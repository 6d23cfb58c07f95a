//! In a Cluster of six: lanes, a failover, a slot that moves.

use futures_util::future::join_all;
use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::{Cluster, Settings};

use crate::support::{Proof, connected, eventually, every_duty, hasty, joined, new_epoch, node, refused, settings};

fn cluster() -> Cluster {
    Cluster::start(3, &Settings::new()).expect("servers")
}

/// Where proofs of the key of this number are recorded: 64 slots to a lane, and keys are numbered as lanes are.
fn slot_of(cluster: &mut Cluster, key: u8) -> u16 {
    let lane = u16::from(key) * 64;
    (lane..lane + 64)
        .find(|slot| {
            cluster.primaries().into_iter().any(|owner| {
                let counted = cluster.nodes()[owner].server.ask(&["CLUSTER", "COUNTKEYSINSLOT", &slot.to_string()]);
                counted.is_ok_and(|count| count != "0")
            })
        })
        .expect("a lane has its marker")
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn does_what_every_store_must() {
    let cluster = cluster();
    assert!(every_duty(&cluster.url()).await.needs_nonces());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn every_primary_has_its_share() {
    let mut cluster = cluster();
    let one = node(&cluster.url()).await;
    for key in 0..=255 {
        assert_eq!(Proof::new(key, "j").at(&one).await, Ok(Seen::Never), "{key}");
    }
    for primary in cluster.primaries() {
        let size: u32 = cluster.nodes()[primary].server.ask(&["DBSIZE"]).expect("an answer").parse().expect("a number");
        // Of 256 lanes, each with a tally.
        assert!((2 * 85..=2 * 86).contains(&size), "{size}");
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_is_killed_is_followed_by_a_new_epoch() {
    let mut cluster = cluster();
    let (one, other) = (node(&cluster.url()).await, node(&cluster.url()).await);
    let hasty = hasty(&cluster.url()).await;
    let before = one.epoch();
    let (lost, kept) = (Proof::new(0, "j"), Proof::new(255, "j"));
    assert_eq!(lost.at(&one).await, Ok(Seen::Never));
    assert_eq!(kept.at(&one).await, Ok(Seen::Never));
    cluster.nodes()[0].server.kill().expect("an end");
    assert_eq!(Proof::new(0, "k").under(before, &hasty).await, Err(Fault::ReplayUnreachable));
    assert_eq!(kept.under(before, &other).await, Ok(Seen::Before), "the others go on until then");
    let after = new_epoch(&one, before).await;
    assert_eq!(new_epoch(&other, before).await, after);
    for node in [&one, &other] {
        assert_eq!(lost.under(before, node).await, Ok(Seen::Forgotten));
        assert_eq!(kept.under(after, node).await, Ok(Seen::Before));
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_slot_that_moves_is_followed_by_a_new_epoch() {
    let mut cluster = cluster();
    let (one, other) = (node(&cluster.url()).await, node(&cluster.url()).await);
    let before = one.epoch();
    let proof = Proof::new(7, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    let slot = slot_of(&mut cluster, 7);
    assert_eq!(cluster.owner(slot), Some(0));
    cluster.move_slot(slot, 2).expect("a move");
    let after = new_epoch(&one, before).await;
    assert_eq!(new_epoch(&other, before).await, after);
    assert_eq!(proof.under(before, &one).await, Ok(Seen::Forgotten));
    assert_eq!(proof.under(after, &one).await, Ok(Seen::Before), "records move along");
    assert_eq!(Proof::new(7, "k").at(&one).await, Ok(Seen::Never));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_slot_on_its_way_is_a_fault_and_no_other_is() {
    let mut cluster = cluster();
    let one = node(&cluster.url()).await;
    let before = one.epoch();
    let proof = Proof::new(7, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    let slot = slot_of(&mut cluster, 7);
    cluster.begin_move(slot, 0, 2).expect("a beginning");
    assert_eq!(proof.at(&one).await, Ok(Seen::Before), "what is still there is known");
    // Keys that are not there yet would have to be asked for at the other node.
    assert_eq!(Proof::beside(7, "k").at(&one).await, Err(Fault::ReplayUnreachable));
    assert_eq!(Proof::new(8, "k").at(&one).await, Ok(Seen::Never));
    cluster.give_up_move(slot, 0, 2).expect("an end");
    assert_eq!(Proof::beside(7, "k").at(&one).await, Ok(Seen::Never));
    assert_eq!(one.epoch(), before);
}

// R-SEC-02: some keys have gone over, and then nothing more is heard of it.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_move_that_is_broken_off_admits_nothing_twice() {
    let mut cluster = cluster();
    let one = node(&cluster.url()).await;
    for (key, is_asked_meanwhile) in [(7, false), (9, true)] {
        let before = one.epoch();
        let proof = Proof::new(key, "j");
        assert_eq!(proof.at(&one).await, Ok(Seen::Never));
        let slot = slot_of(&mut cluster, key);
        for pattern in ["*q*", "*p"] {
            cluster.begin_move(slot, 0, 2).expect("a beginning");
            cluster.move_keys(slot, 0, 2, pattern).expect("a move");
            if is_asked_meanwhile {
                assert_ne!(proof.at(&one).await, Ok(Seen::Never));
            }
            cluster.give_up_move(slot, 0, 2).expect("an end");
            let seen = proof.under(before, &one).await;
            assert!(matches!(seen, Ok(Seen::Before | Seen::Forgotten) | Err(_)), "{pattern}: {seen:?}");
        }
        new_epoch(&one, before).await;
        assert_eq!(proof.under(before, &one).await, Ok(Seen::Forgotten));
        eventually("a record", async || Proof::new(key, "k").at(&one).await.is_ok()).await;
    }
}

// A primary that the others cannot see serves nobody before long, and those who were pinned to it go over.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_is_cut_off_is_left() {
    let mut cluster = cluster();
    let one = node(&cluster.url()).await;
    let before = one.epoch();
    // The bus, both ways, and replication; clients reach it as before.
    cluster.nodes()[0].bus.bar();
    cluster.nodes()[0].proxy.bar_servers();
    let ip = cluster.nodes()[0].server.address().ip();
    for other in &cluster.nodes()[1..] {
        other.bus.bar_those(move |peer| peer.ip() == ip);
    }
    let after = new_epoch(&one, before).await;
    eventually("a record", async || Proof::new(0, "j").at(&one).await.is_ok()).await;
    assert_eq!(Proof::new(0, "j").under(before, &one).await, Ok(Seen::Forgotten));
    assert_eq!(joined(&cluster.url()).await.epoch(), after);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_cluster_without_all_its_slots_is_refused() {
    let mut cluster = cluster();
    let url = cluster.url();
    let error =
        refused(settings(&url.replace("redis-cluster", "redis").replace(&url[url.find(',').expect("several")..], "")))
            .await;
    assert!(error.is_configuration() && error.to_string().contains("redis-cluster"), "{error}");
    for node in cluster.nodes() {
        node.server.ask(&["CONFIG", "SET", "cluster-require-full-coverage", "no"]).expect("an answer");
    }
    // Nobody tells the others that a slot is nobody's any more.
    for node in cluster.nodes() {
        node.server.ask(&["CLUSTER", "DELSLOTSRANGE", "0", "127"]).expect("an answer");
    }
    let error = refused(settings(&url)).await;
    assert!(error.to_string().contains("nobody in the Cluster serves slot"), "{error}");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_user_with_the_rules_of_the_documentation_is_enough() {
    let mut cluster = cluster();
    let rules = format!("{} +cluster|nodes", crate::refused::RULES);
    let rules: Vec<&str> = rules.split(' ').skip(1).collect();
    for node in cluster.nodes() {
        node.server.ask(&[&["ACL", "SETUSER"], &rules[..]].concat()).expect("an answer");
    }
    let login = settings(&cluster.url()).login(Some("replays"), Some("secret"));
    let one = connected(login.clone()).await;
    let before = one.epoch();
    for key in [0, 100, 255] {
        assert_eq!(Proof::new(key, "j").at(&one).await, Ok(Seen::Never), "{key}");
        assert_eq!(Proof::new(key, "j").at(&one).await, Ok(Seen::Before), "{key}");
    }
    cluster.nodes()[0].server.kill().expect("an end");
    new_epoch(&one, before).await;
    eventually("a record", async || Proof::new(0, "k").at(&one).await.is_ok()).await;
    for primary in cluster.primaries() {
        assert!(crate::sentinel::is_used_and_enough(&cluster.nodes()[primary].server, "replays"), "{primary}");
    }
    cluster.nodes()[0].server.restart().expect("a server");
    cluster.settled().expect("a whole cluster");
    // The one rule more is needed.
    for node in cluster.nodes() {
        node.server.ask(&[&["ACL", "SETUSER"], &rules[..], &["-cluster|nodes"]].concat()).expect("an answer");
    }
    let error = refused(login).await;
    assert!(error.is_configuration() && error.to_string().contains("cluster"), "{error}");
}

// R-SEC-05: a key is counted where its proofs are recorded.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_key_has_its_quota_over_all_nodes() {
    let cluster = cluster();
    let settings = || settings(&cluster.url()).per_key(6);
    let nodes = [connected(settings()).await, connected(settings()).await];
    for key in [0, 100, 255] {
        let proofs: Vec<_> = (0..30).map(|number| Proof::new(key, number.to_string())).collect();
        let answers = join_all(proofs.iter().enumerate().map(|(at, proof)| proof.at(&nodes[at % 2]))).await;
        assert_eq!(answers.iter().filter(|answer| **answer == Ok(Seen::Never)).count(), 6, "{answers:?}");
        for answer in answers.iter().filter(|answer| **answer != Ok(Seen::Never)) {
            // Half a minute and the patience of two more than the proofs live.
            assert!(matches!(answer, Ok(Seen::OverQuota { retry_after: 300..=380 })), "{answer:?}");
        }
        let admitted = answers.iter().position(|answer| *answer == Ok(Seen::Never)).expect("there are six");
        assert_eq!(proofs[admitted].at(&nodes[(admitted + 1) % 2]).await, Ok(Seen::Before));
        assert_eq!(Proof::beside(key, "j").at(&nodes[0]).await, Ok(Seen::Never), "another key of the same lane");
    }
}
