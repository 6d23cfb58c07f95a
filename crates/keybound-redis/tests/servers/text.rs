//! The text that nodes share.

use keybound::refusal::Fault;
use redis_rig::{Cluster, Settings};

use crate::support::{PATIENCE, eventually, hasty, node, server};

#[tokio::test]
#[ignore = "needs redis-server"]
async fn one_of_several_replaces_it_and_all_see_it() {
    let mut server = server();
    let (one, other) = (node(&server.url()).await, node(&server.url()).await);
    assert_eq!(one.shared_text().await, Ok(None));
    let (first, second) = tokio::join!(one.replace_shared_text(None, b"a"), other.replace_shared_text(None, b"b"));
    assert_ne!(first.expect("an answer"), second.expect("an answer"), "one of them was first");
    let text = one.shared_text().await.expect("an answer").expect("a text");
    assert_eq!(other.shared_text().await, Ok(Some(text.clone())));
    assert_eq!(other.replace_shared_text(Some(b"another"), b"c").await, Ok(false));
    assert_eq!(other.replace_shared_text(Some(&text), b"\0\xff").await, Ok(true));
    assert_eq!(one.shared_text().await, Ok(Some(b"\0\xff".to_vec())));
    server.kill().expect("an end");
    eventually("it to be noticed", async || !one.figures().is_there).await;
    assert_eq!(one.shared_text().await, Err(Fault::ReplayUnreachable));
    assert_eq!(one.replace_shared_text(None, b"d").await, Err(Fault::ReplayUnreachable));
    server.restart().expect("a server");
    eventually("it to be back", async || one.shared_text().await == Ok(None)).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_server_that_stands_still_or_lives_in_another_time_has_none() {
    let mut server = redis_rig::Server::start(Settings::new().own_clock()).expect("a server");
    assert_eq!(node(&server.url()).await.replace_shared_text(None, b"a").await, Ok(true));
    let one = hasty(&server.url()).await;
    server.turn_clock(20).expect("another time");
    assert_eq!(one.shared_text().await, Err(Fault::ReplayUnreachable));
    server.turn_clock(0).expect("another time");
    eventually("it to be back", async || one.shared_text().await.is_ok()).await;
    server.stop().expect("a process");
    let began = tokio::time::Instant::now();
    assert_eq!(one.shared_text().await, Err(Fault::ReplayUnreachable));
    // It would be for ever.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    server.go_on().expect("a process");
    eventually("it to be back", async || one.shared_text().await == Ok(Some(b"a".to_vec()))).await;
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_cluster_has_one_too() {
    let cluster = Cluster::start(3, &Settings::new()).expect("servers");
    let (one, other) = (node(&cluster.url()).await, node(&cluster.url()).await);
    assert_eq!(one.replace_shared_text(None, b"a").await, Ok(true));
    assert_eq!(other.shared_text().await, Ok(Some(b"a".to_vec())));
}
