//! Servers whose clock is turned.

use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::{Server, Settings};

use crate::support::{Proof, eventually, new_epoch, node};

fn server() -> Server {
    Server::start(Settings::new().own_clock()).expect("a server")
}

// R-SEC-03: whoever looks every second sees it, or does not.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_clock_that_goes_ahead_and_comes_back_admits_nothing_twice() {
    let server = server();
    let node = node(&server.url()).await;
    let expired = || server.info("stats", "expired_keys").expect("a field");
    for (ahead, is_seen) in [(400, false), (400, true), (3000, true)] {
        let (before, proof) = (node.epoch(), Proof::new(1, format!("{ahead} {is_seen}")));
        assert_eq!(proof.at(&node).await, Ok(Seen::Never));
        let until_now = expired();
        server.turn_clock(ahead).expect("another time");
        if is_seen {
            eventually("it to be noticed", async || !node.figures().is_there).await;
            assert_ne!(proof.at(&node).await, Ok(Seen::Never), "{ahead}");
        }
        // The tally of its key goes, as everything does that has expired. Nothing else runs meanwhile.
        redis_rig::wait_until("an expiry", || expired() != until_now).expect("an end");
        server.turn_clock(0).expect("another time");
        let seen = proof.at(&node).await;
        assert!(matches!(seen, Ok(Seen::Before) | Err(_)), "{ahead}: {seen:?}");
        eventually("an answer", async || Proof::new(2, "other").at(&node).await.is_ok()).await;
        assert_eq!(proof.at(&node).await, Ok(Seen::Before), "{ahead}");
        assert_eq!(node.epoch(), before, "nothing was lost");
    }
}

// What is kept for an hour beyond the last proof goes as a whole.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_clock_that_was_ahead_by_a_day_is_a_new_epoch() {
    let server = server();
    let node = node(&server.url()).await;
    let (before, proof) = (node.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    server.turn_clock(86_400).expect("another time");
    redis_rig::wait_until("it to be dropped", || server.ask(&["DBSIZE"]).is_ok_and(|size| size == "0"))
        .expect("an end");
    server.turn_clock(0).expect("another time");
    assert_ne!(proof.under(before, &node).await, Ok(Seen::Never));
    new_epoch(&node, before).await;
    assert_eq!(proof.under(before, &node).await, Ok(Seen::Forgotten));
}

// A node on the same machine goes ahead with the server, and drops what is over by both their clocks.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn what_another_node_dropped_by_a_clock_that_was_ahead_is_a_new_epoch() {
    let server = server();
    let node = node(&server.url()).await;
    let (before, proof) = (node.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    let as_it_does = "redis.call('ZREMRANGEBYRANK', 'kb:p', 0, 0) \
                      return redis.call('ZADD', 'kb:p', redis.call('TIME')[1] * 1000 + 400000, 'w')";
    server.ask(&["EVAL", as_it_does, "0"]).expect("an answer");
    assert_eq!(proof.under(before, &node).await, Ok(Seen::Forgotten));
    let after = new_epoch(&node, before).await;
    assert_eq!(proof.under(after, &node).await, Ok(Seen::Never), "which is why");
}

// Clocks are set right by a few seconds now and then.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_clock_that_is_set_back_by_a_little_is_no_new_epoch() {
    let server = server();
    server.turn_clock(6).expect("another time");
    let node = node(&server.url()).await;
    let (before, proof) = (node.epoch(), Proof::new(1, "j"));
    assert_eq!(proof.at(&node).await, Ok(Seen::Never));
    // Something goes at once, and when it went is noted.
    server.ask(&["ZADD", "kb:p", "1", "an old record.."]).expect("an answer");
    eventually("it to go", async || server.ask(&["ZSCORE", "kb:p", "w"]).is_ok_and(|score| !score.is_empty())).await;
    server.turn_clock(0).expect("another time");
    assert_eq!(proof.at(&node).await, Ok(Seen::Before));
    assert_eq!(node.epoch(), before);
}
