//! What is in the server for one proof: how long, under what key, and how many for one client.

use core::time::Duration;

use keybound::replay::{ReplayStore as _, Seen};
use redis_rig::Server;
use tokio::time::Instant;

use crate::support::{PATIENCE, Proof, connected, eventually, node, now, raised, server, settings};

/// Until which millisecond the first record to go is there.
pub(crate) fn kept_until(server: &Server) -> u64 {
    let first = server.ask(&["--no-raw", "EVAL", "return redis.call('ZRANGE', 'kb:p', 0, 0, 'WITHSCORES')[2]", "0"]);
    first.expect("an answer").trim_matches('"').parse().expect("a number")
}

// R-SEC-03; the clocks of two nodes may each be ten seconds from the server's, and each question for as long under way as is waited.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_record_is_kept_until_its_proof_is_over_by_every_clock() {
    let server = server();
    let node = node(&server.url()).await;
    for seconds in [5, 20, 306, 86_706] {
        let before = node.epoch();
        server.ask(&["FLUSHALL"]).expect("an answer");
        crate::support::new_epoch(&node, before).await;
        let (begun, expires) = (Instant::now(), now().plus(Duration::from_secs(seconds)));
        assert_eq!(Proof::new(1, "j").until(expires).at(&node).await, Ok(Seen::Never));
        let beyond = Duration::from_millis(kept_until(&server) - expires.as_secs() * 1000);
        let least = (Duration::from_secs(10) + PATIENCE) * 2;
        // Each of the two, in whole seconds, may have been rounded by one; and it is kept from when the server was told.
        let most = least + Duration::from_secs(2) + begun.elapsed();
        assert!((least..=most).contains(&beyond), "{beyond:?} beyond a proof that is over in {seconds} s");
    }
}

// A token may take seconds to be resolved between the judgement of a proof and its record.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_proof_that_is_over_when_it_is_to_be_recorded_is_never_new() {
    let server = server();
    let node = node(&server.url()).await;
    let proof = Proof::new(1, "j").until(now().minus(Duration::from_secs(1)));
    assert_eq!(proof.at(&node).await, Ok(Seen::Forgotten));
    assert_eq!(server.ask(&["ZCARD", "kb:p"]).expect("an answer"), "1", "the marker alone");
}

#[tokio::test]
#[ignore = "needs redis-server"]
async fn keys_begin_with_the_prefix_and_hold_no_text_of_a_client() {
    let server = server();
    let settings = settings(&server.url()).prefix("px-").expect("a prefix");
    let node = connected(settings).await;
    assert_eq!(Proof::new(1, "secret-jti").at(&node).await, Ok(Seen::Never));
    let all = server.ask(&["--no-raw", "KEYS", "*"]).expect("an answer");
    let keys: Vec<&str> = all.lines().collect();
    assert_eq!(keys.len(), 2, "{all}");
    assert!(keys.iter().all(|key| key.contains("px-") && !key.contains("secret")), "{all}");
}

// Quotas hold over all nodes.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_key_has_its_quota_over_all_nodes_and_no_other_key_pays_for_it() {
    let server = server();
    let settings = || settings(&server.url()).per_key(10);
    let (one, other) = (connected(settings()).await, connected(settings()).await);
    for number in 0..10 {
        let node = if number % 2 == 0 { &one } else { &other };
        assert_eq!(Proof::new(1, format!("j{number}")).at(node).await, Ok(Seen::Never), "{number}");
    }
    for node in [&one, &other] {
        let seen = Proof::new(1, "one more").at(node).await;
        let Ok(Seen::OverQuota { retry_after }) = seen else { panic!("{seen:?}") };
        // Half a minute and the patience of two more than the proofs live.
        assert!((300..=380).contains(&retry_after), "{retry_after}");
        assert_eq!(Proof::new(1, "j3").at(node).await, Ok(Seen::Before), "a repetition is one, quota or not");
        assert_eq!(Proof::new(2, format!("{node:p}")).at(node).await, Ok(Seen::Never), "another key");
    }
}

// What has expired makes room again, and an entry that was refused has left nothing.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_quota_has_room_again_once_proofs_are_over() {
    let server = server();
    let node = connected(settings(&server.url()).per_key(2)).await;
    // The tally as it is when two proofs of the key went a second ago, and one goes in ten minutes.
    let script = "local now = tonumber(redis.call('TIME')[1]) local grain = math.floor(now / 30) \
                  return redis.call('SET', 'kb:q' .. string.rep('\\1', 16), \
                  struct.pack('>I4I4I4I4', grain - 1, 2, grain + 20, 1))";
    server.ask(&["EVAL", script, "0"]).expect("an answer");
    assert_eq!(Proof::new(1, "a").at(&node).await, Ok(Seen::Never));
    assert!(matches!(Proof::new(1, "b").at(&node).await, Ok(Seen::OverQuota { .. })));
    server.ask(&["EVAL", "return redis.call('DEL', 'kb:q' .. string.rep('\\1', 16))", "0"]).expect("an answer");
    assert_eq!(Proof::new(1, "b").at(&node).await, Ok(Seen::Never));
}

// Somebody with tokens and time might want a tally to grow: one proof for each half minute of the day.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn a_tally_stays_small_and_never_counts_too_few() {
    let server = server();
    let node = connected(settings(&server.url()).per_key(200)).await;
    for number in 0..200_u64 {
        // From far to near and from near to far, by turns.
        let away = if number % 2 == 0 { 86_400 - number * 400 } else { number * 400 };
        let proof = Proof::new(1, format!("j{number}")).until(now().plus(Duration::from_secs(away)));
        assert_eq!(proof.at(&node).await, Ok(Seen::Never), "{number}");
    }
    let length = server.ask(&["EVAL", "return redis.call('STRLEN', 'kb:q' .. string.rep('\\1', 16))", "0"]);
    assert_eq!(length.expect("an answer"), "256");
    assert!(matches!(Proof::new(1, "one more").at(&node).await, Ok(Seen::OverQuota { .. })));
}

// A node that accepts proofs for longer opens an epoch of its own, and from then on all keep records for that long.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn the_longest_window_of_all_nodes_counts() {
    let server = server();
    let short = node(&server.url()).await;
    let first = short.epoch();
    let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
    let long = connected(settings(&server.url()).windows(minutes(10), minutes(5))).await;
    assert_ne!(long.epoch(), first);
    assert_eq!(crate::support::new_epoch(&short, first).await, long.epoch());
    let (proof, judged) = (Proof::new(1, "j"), now());
    assert_eq!(proof.at(&short).await, Ok(Seen::Never));
    let kept = kept_until(&server) - judged.as_secs() * 1000;
    assert!(kept > 600_000, "{kept} ms, and the other node accepts it for ten minutes");
    let again = node(&server.url()).await;
    assert_eq!(again.epoch(), long.epoch(), "a shorter window needs nothing");
    // The handle of an engine that judges by the long ones adds nothing.
    assert_eq!(proof.at(&short.judged_by(minutes(10), minutes(5))).await, Ok(Seen::Before));
    let before = long.epoch();
    let raised = raised(&again, minutes(5), minutes(5)).await;
    assert_ne!(raised, before);
    eventually("the other to learn it", async || long.epoch() == raised).await;
}

// One that was cut off may have let proofs pass unrecorded since another has opened one: that one does not do.
#[tokio::test]
#[ignore = "needs redis-server"]
async fn whoever_asks_for_an_epoch_has_a_new_one() {
    let server = server();
    let (one, other) = (node(&server.url()).await, node(&server.url()).await);
    let window = Duration::from_secs(300);
    let first = raised(&other, window, window).await;
    // Before it has looked: it knows the one of the beginning.
    let second = raised(&one, window, window).await;
    assert_ne!(first, second);
    eventually("the other to learn it", async || other.epoch() == second).await;
    for node in [&one, &other] {
        assert_eq!(Proof::new(1, "passed").under(first, node).await, Ok(Seen::Forgotten));
    }
    assert_eq!(node(&server.url()).await.epoch(), second, "who merely comes takes it");
}
