//! Ends and beginnings of a server's life that leave some of what it had, and clocks.

use core::time::Duration;
use std::fs;
use std::process::Command;

use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};

use crate::support::{Place, Proof, data, eventually, now, shell};

// It keeps its tables then, and a new life has a new epoch all the same.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_was_restarted_begins_an_epoch() {
    let place = Place::new("restarted").await;
    let (node, hasty) = (place.node().await, place.hasty().await);
    let (before, used) = (node.epoch(), Proof::new(1, "used"));
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    place.run("CREATE UNLOGGED TABLE {}.as_well AS SELECT").await;
    assert!(shell(&format!("BIN/pg_ctl stop -w -m fast -D {} >/dev/null", data().display())));
    assert_eq!(Proof::new(1, "while it is away").at(&hasty).await, Err(Fault::ReplayUnreachable));
    place.server.start();
    assert_eq!(place.number("SELECT count(*) FROM {}.as_well").await, 1, "it was not emptied");
    eventually("a new epoch", async || node.epoch() != before).await;
    assert_eq!(used.under(before, &node).await, Ok(Seen::Forgotten));
    assert_eq!(used.at(&node).await, Ok(Seen::Never), "its barrier is before that");
    assert!(node.began() >= now());
}

// When a process of its ends so, a server empties the tables and goes on without a new start.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_of_which_a_process_was_killed_begins_an_epoch() {
    let place = Place::new("process").await;
    let node = place.node().await;
    let start = "SELECT (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint";
    let (before, used, started) = (node.epoch(), Proof::new(1, "used"), place.number(start).await);
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    let mut victim = place.connection().await;
    let pid: i32 = sqlx::query_scalar("SELECT pg_backend_pid()").fetch_one(&mut victim).await.expect("a number");
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().expect("kill").success());
    eventually("a new epoch", async || node.epoch() != before).await;
    assert_eq!(used.under(before, &node).await, Ok(Seen::Forgotten));
    assert_eq!(place.number(start).await, started);
}

// That of the server alone: nothing is recorded meanwhile, and nothing forgotten, however far it goes.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_whose_clock_jumps_records_nothing_and_forgets_nothing() {
    let place = Place::new("jumps").await;
    let folder = data().parent().expect("a folder").to_owned();
    let (source, library, clock) = (folder.join("clock.c"), folder.join("clock.so"), folder.join("clock"));
    fs::write(&source, include_str!("../../../../xtask/redis-rig/src/clock.c")).expect("a file");
    let mut building = Command::new("cc");
    assert!(building.args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status().expect("cc").success());
    let turn = |ahead: i64| fs::write(&clock, format!("{ahead:+}")).expect("a clock");
    turn(0);
    assert!(shell(&format!("BIN/pg_ctl stop -w -m fast -D {} >/dev/null", data().display())));
    place.server.start_with(&[("LD_PRELOAD", &library), ("CLOCK", &clock)]);
    let node = place.node().await;
    let (before, used) = (node.epoch(), Proof::new(1, "used"));
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    for ahead in [400, 100_000, -400] {
        turn(ahead);
        let here = || i64::try_from(now().as_secs()).expect("a time") + ahead;
        let asked = here();
        let told = place.number("SELECT floor(extract(epoch FROM clock_timestamp()))::bigint").await;
        assert!((asked..=here()).contains(&told), "{told}");
        assert_eq!(used.at(&node).await, Err(Fault::ReplayUnreachable), "{ahead}");
        assert_eq!(Proof::new(1, format!("{ahead}")).at(&node).await, Err(Fault::ReplayUnreachable));
        turn(0);
        eventually("an answer", async || Proof::new(1, format!("after {ahead}")).at(&node).await.is_ok()).await;
        assert_eq!((used.at(&node).await, node.epoch()), (Ok(Seen::Before), before), "{ahead}");
    }
    assert!(shell(&format!("BIN/pg_ctl stop -w -m fast -D {} >/dev/null", data().display())));
    place.server.start();
}

// All clocks together, by an hour: what was used in that hour could come into its window again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_begins_an_epoch_after_all_time_that_was_seen() {
    let place = Place::new("back").await;
    let (node, other) = (place.node().await, place.node().await);
    let (before, used) = (node.epoch(), Proof::new(1, "used"));
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    let hour = now().plus(Duration::from_secs(3600));
    // As if nodes had looked there an hour from now.
    place.run("UPDATE {}.epoch SET seen = clock_timestamp() + interval '1 hour'").await;
    assert_eq!(used.at(&node).await, Ok(Seen::Forgotten));
    for node in [&node, &other] {
        eventually("a new epoch", async || node.epoch() != before).await;
    }
    assert_eq!(node.epoch(), other.epoch());
    assert!(node.began() >= hour, "{:?} {hour:?}", node.began());
    assert_eq!(Proof::new(1, "new").at(&node).await, Ok(Seen::Never));
    // By less than clocks may be apart, nothing happens.
    place.run("UPDATE {}.epoch SET seen = clock_timestamp() + interval '8 s'").await;
    assert_eq!(Proof::new(1, "new").at(&node).await, Ok(Seen::Before));
}

// The time that it notes is that of nodes' looks, and it goes on.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_notes_how_late_it_is() {
    let place = Place::new("seen").await;
    let _node = place.node().await;
    place.run("UPDATE {}.epoch SET seen = clock_timestamp() - interval '1 hour'").await;
    let behind = "SELECT extract(epoch FROM clock_timestamp() - seen)::bigint FROM {}.epoch";
    eventually("a look", async || place.number(behind).await < 60).await;
}

// Between two looks all clocks may be ahead, and back again.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_notes_how_late_it_is_when_something_is_recorded() {
    let place = Place::new("seen_then").await;
    drop(place.node().await);
    let nodes = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'keybound'";
    eventually("nobody to look", async || place.number(nodes).await == 0).await;
    place.run("UPDATE {}.epoch SET seen = clock_timestamp() - interval '1 hour'").await;
    let recorded = "SELECT ({}.record((SELECT marker FROM {}.epoch), extract(epoch FROM clock_timestamp())::float8, 10, 5, 100, \
                    ARRAY[gen_random_uuid()], ARRAY[gen_random_uuid()], ARRAY[false]))[4]";
    assert_eq!(place.number(recorded).await, 0, "never seen");
    let behind = "SELECT extract(epoch FROM clock_timestamp() - seen)::bigint FROM {}.epoch";
    assert!(place.number(behind).await < 60);
}
