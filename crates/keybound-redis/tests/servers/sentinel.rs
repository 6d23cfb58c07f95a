//! Under Sentinel: primaries that are killed, cut off and promoted.

use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::{Sentinels, Settings};

use crate::support::{Proof, connected, eventually, every_duty, hasty, joined, new_epoch, node, refused, settings};

fn sentinels() -> Sentinels {
    Sentinels::start(2, &Settings::new()).expect("servers")
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn does_what_every_store_must() {
    let sentinels = sentinels();
    assert!(every_duty(&sentinels.url()).await.needs_nonces());
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_is_killed_is_followed_by_a_new_epoch() {
    let mut sentinels = sentinels();
    let (one, other) = (node(&sentinels.url()).await, node(&sentinels.url()).await);
    let before = one.epoch();
    let proof = Proof::new(1, "j");
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    sentinels.nodes()[0].server.kill().expect("an end");
    let after = new_epoch(&one, before).await;
    assert_eq!(new_epoch(&other, before).await, after);
    for node in [&one, &other] {
        assert_eq!(proof.under(before, node).await, Ok(Seen::Forgotten));
        assert_ne!(proof.under(after, node).await, Err(Fault::ReplayUnreachable));
    }
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_stands_still_is_left() {
    let mut sentinels = sentinels();
    let (one, hasty) = (node(&sentinels.url()).await, hasty(&sentinels.url()).await);
    let before = one.epoch();
    sentinels.nodes()[0].server.stop().expect("a process");
    assert_eq!(Proof::new(1, "j").under(before, &hasty).await, Err(Fault::ReplayUnreachable));
    let after = new_epoch(&one, before).await;
    assert_eq!(Proof::new(1, "k").at(&one).await, Ok(Seen::Never));
    // It wakes up as a primary that knows of nothing, and is told.
    sentinels.nodes()[0].server.go_on().expect("a process");
    sentinels.settled().expect("one primary");
    assert_eq!(Proof::new(1, "k").at(&one).await, Ok(Seen::Before));
    assert_eq!(one.epoch(), after);
}

// Split brain: the old primary goes on for whoever is on its side. No nonce of one side is good on the other.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn two_sides_of_a_partition_have_different_epochs() {
    let mut sentinels = sentinels();
    let cut_off = node(&sentinels.url()).await;
    let before = cut_off.epoch();
    // Its Sentinels and its primary: from there, nothing seems wrong.
    sentinels.nodes()[0].proxy.bar_servers();
    let next = sentinels.wait_for_another(0).expect("another primary");
    assert_ne!(next, 0);
    let joined = joined(&sentinels.url()).await;
    assert_ne!(joined.epoch(), before, "the other side has an epoch of its own");
    // The one that was cut off learns of it from the Sentinels, and goes over.
    assert_eq!(new_epoch(&cut_off, before).await, joined.epoch());
    let proof = Proof::new(1, "j");
    assert_eq!(proof.under(before, &joined).await, Ok(Seen::Forgotten));
    assert_eq!(proof.at(&joined).await, Ok(Seen::Never));
    assert_eq!(proof.at(&cut_off).await, Ok(Seen::Before));
    sentinels.nodes()[0].proxy.open();
    sentinels.settled().expect("one primary");
    assert_eq!(proof.at(&cut_off).await, Ok(Seen::Before));
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_primary_that_is_asked_to_step_back_is_left() {
    let sentinels = sentinels();
    let one = node(&sentinels.url()).await;
    let before = one.epoch();
    let url = sentinels.url();
    let mut sentinels = sentinels;
    redis_rig::wait_until("a failover", || {
        // It may not have heard yet of a replica that would do.
        sentinels.sentinels()[0].server.ask(&["SENTINEL", "FAILOVER", "proofs"]).is_ok()
            || sentinels.primary().is_ok_and(|primary| primary != 0)
    })
    .expect("a failover");
    sentinels.wait_for_another(0).expect("another primary");
    let after = new_epoch(&one, before).await;
    eventually("a record", async || Proof::new(1, "j").at(&one).await.is_ok()).await;
    assert_eq!(joined(&url).await.epoch(), after);
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn one_sentinel_is_enough_and_none_is_said() {
    let mut sentinels = sentinels();
    let url = sentinels.url();
    let one = node(&url).await;
    sentinels.sentinels()[0].server.kill().expect("an end");
    sentinels.sentinels()[1].server.kill().expect("an end");
    assert_eq!(node(&url).await.epoch(), one.epoch());
    sentinels.sentinels()[2].server.kill().expect("an end");
    let error = refused(settings(&url)).await;
    assert!(!error.is_configuration(), "{error}");
    assert_eq!(Proof::new(1, "j").at(&one).await, Ok(Seen::Never), "who is pinned stays so");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_name_that_no_sentinel_knows_is_said() {
    let sentinels = sentinels();
    let error = refused(settings(&sentinels.url().replace("proofs", "others"))).await;
    assert!(error.is_configuration() && error.to_string().contains("knows no primary called \"others\""), "{error}");
    let direct = sentinels.url();
    let direct = direct.trim_start_matches("redis-sentinel://").split(',').next().unwrap_or_default();
    let error = refused(settings(&format!("redis://{direct}"))).await;
    assert!(error.is_configuration() && error.to_string().contains("is a Sentinel"), "{error}");
}

/// Whether connections of this user are there, and nothing was denied to anybody.
pub(crate) fn is_used_and_enough(server: &redis_rig::Server, user: &str) -> bool {
    let ask = |words: &[&str]| server.ask(words).expect("an answer");
    assert_eq!(ask(&["ACL", "LOG"]), "", "something was denied");
    ask(&["CLIENT", "LIST"]).contains(&format!("user={user} "))
}

// At the Sentinels and at the servers, and at the one that takes over.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn users_with_the_rules_of_the_documentation_are_enough() {
    let mut sentinels = sentinels();
    let of_servers: Vec<&str> = crate::refused::RULES.split(' ').skip(1).collect();
    for node in sentinels.nodes() {
        node.server.ask(&[&["ACL", "SETUSER"], &of_servers[..]].concat()).expect("an answer");
    }
    let of_sentinels = "ACL SETUSER watcher on >word -@all +sentinel|master +sentinel|get-master-addr-by-name";
    for sentinel in sentinels.sentinels() {
        sentinel.server.ask(&of_sentinels.split(' ').collect::<Vec<_>>()).expect("an answer");
    }
    let login = |user, password| {
        settings(&sentinels.url()).login(Some("replays"), Some("secret")).sentinel_login(user, password)
    };
    let one = connected(login(Some("watcher"), Some("word"))).await;
    let error = refused(login(Some("watcher"), Some("another"))).await;
    assert!(error.is_configuration() && error.to_string().contains("is wrong"), "{error}");
    let (before, proof) = (one.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&one).await, Ok(Seen::Never));
    assert_eq!(proof.at(&one).await, Ok(Seen::Before));
    assert!(is_used_and_enough(&sentinels.nodes()[0].server, "replays"));
    sentinels.nodes()[0].server.kill().expect("an end");
    new_epoch(&one, before).await;
    assert_eq!(Proof::new(1, "k").at(&one).await, Ok(Seen::Never));
    let next = sentinels.wait_for_another(0).expect("another primary");
    assert!(is_used_and_enough(&sentinels.nodes()[next].server, "replays"));
    for sentinel in sentinels.sentinels() {
        let log = sentinel.server.ask(&["ACL", "LOG"]).expect("an answer");
        // The wrong password is there, and no command.
        assert!(!log.contains("command"), "{log}");
    }
}
