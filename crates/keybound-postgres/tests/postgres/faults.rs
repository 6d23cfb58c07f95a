//! What goes wrong between two answers: connections that end, calls that the server undoes, tables that somebody holds.

use core::time::Duration;
use std::collections::BTreeMap;

use futures_util::future::join_all;
use keybound::refusal::Fault;
use keybound::replay::{ReplayStore as _, Seen};
use keybound_postgres::{PostgresSettings, PostgresStore};
use sqlx::{Acquire as _, Executor as _};
use tokio::time::{Instant, timeout};

use crate::support::{PATIENCE, Place, Proof, TERMINATE, connected, eventually};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_has_one_success_at_most_while_connections_end() {
    let place = Place::new("ends").await;
    let nodes = [place.node().await, place.node().await];
    let before = nodes[0].epoch();
    let mut admitted = BTreeMap::<usize, usize>::new();
    let proofs: Vec<_> = (0..40).map(|number| Proof::new(1, number.to_string())).collect();
    for round in 0..5 {
        let calls = (0..400).map(async |call| (call % 40, proofs[call % 40].at(&nodes[call / 40 % 2]).await));
        let (answers, ()) = tokio::join!(join_all(calls), place.run(TERMINATE));
        for (number, answer) in answers {
            assert!(matches!(answer, Ok(Seen::Never | Seen::Before) | Err(Fault::ReplayUnreachable)), "{answer:?}");
            *admitted.entry(number).or_default() += usize::from(answer == Ok(Seen::Never));
        }
        for node in &nodes {
            eventually("connections", async || Proof::new(2, format!("{round}")).at(node).await.is_ok()).await;
        }
    }
    for (number, proof) in proofs.iter().enumerate() {
        let last = proof.at(&nodes[number % 2]).await.expect("an answer");
        let count = admitted[&number] + usize::from(last == Seen::Never);
        assert!(count <= 1, "proof {number}: {count}");
    }
    assert!(nodes.iter().all(|node| node.epoch() == before), "nothing was forgotten");
    assert!(nodes.iter().all(|node| node.figures().reconnects > 0), "{:?}", nodes[0].figures());
}

/// Whatever is put into this slot, fails so.
async fn fail(place: &Place, how: &str) {
    place
        .run(&format!(
            "CREATE OR REPLACE FUNCTION {{}}.fail() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {how} RETURN NEW; END $$;
             CREATE TRIGGER fail BEFORE INSERT ON {{}}.proofs_0 FOR EACH ROW EXECUTE FUNCTION {{}}.fail()"
        ))
        .await;
}

// No room on the disk, no memory, a serialisation failure, a deadlock: all of the call is undone.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_undoes_a_call_has_recorded_nothing_of_it() {
    let place = Place::new("undone").await;
    let node = place.node().await;
    for (code, fault) in [
        ("53100", Fault::ReplayFull),
        ("53200", Fault::ReplayFull),
        ("40001", Fault::ReplayUnreachable),
        ("40P01", Fault::ReplayUnreachable),
    ] {
        fail(&place, &format!("RAISE EXCEPTION 'as told' USING ERRCODE = '{code}';")).await;
        let proofs: Vec<_> = (0..5).map(|number| Proof::new(1, format!("{code} {number}"))).collect();
        let answers = join_all(proofs.iter().map(|proof| proof.at(&node))).await;
        assert!(answers.iter().all(|answer| *answer == Err(fault)), "{code}: {answers:?}");
        assert_eq!(place.number("SELECT coalesce(sum(proofs), 0)::bigint FROM {}.tallies WHERE slot = 0").await % 5, 0);
        place.run("DROP TRIGGER fail ON {}.proofs_0").await;
        let answers = join_all(proofs.iter().map(|proof| proof.at(&node))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(Seen::Never)), "{code}: {answers:?}");
    }
    assert_eq!(place.number("SELECT sum(proofs)::bigint FROM {}.tallies").await, 20);
    let figures = node.figures();
    assert_eq!((figures.full, figures.unreachable, figures.reconnects), (10, 10, 0), "it is there all the time");
}

// By its own limit on statements, which is as long as the node waits.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_takes_too_long_gives_up() {
    let place = Place::new("slow").await;
    let (node, hasty) = (place.node().await, place.hasty().await);
    let (before, late) = (node.epoch(), Proof::new(1, "late"));
    fail(&place, "PERFORM pg_sleep(60);").await;
    let began = Instant::now();
    assert_eq!(late.at(&hasty).await, Err(Fault::ReplayUnreachable));
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    eventually("the end of it", async || {
        place.number("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'").await == 0
    })
    .await;
    place.run("DROP TRIGGER fail ON {}.proofs_0").await;
    eventually("connections", async || Proof::new(1, "next").at(&hasty).await.is_ok()).await;
    // It has recorded nothing of it.
    assert_eq!(late.at(&node).await, Ok(Seen::Never));
    assert_eq!((node.epoch(), hasty.epoch()), (before, before));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_whose_tables_are_held_is_a_fault_until_they_are_not() {
    let place = Place::new("locked").await;
    // For four of these the server waits for a lock, and the node for a little more than the fifth.
    let node = connected(place.settings().timeout(Duration::from_secs(5))).await;
    for table in ["epoch", "proofs_0", "tallies"] {
        let mut connection = place.connection().await;
        let mut holding = connection.begin().await.expect("a transaction");
        let lock = place.sql(&format!("LOCK TABLE {{}}.{table} IN ACCESS EXCLUSIVE MODE"));
        holding.execute(lock).await.expect("a lock");
        let late = Proof::new(1, table);
        assert_eq!(late.at(&node).await, Err(Fault::ReplayUnreachable), "{table}");
        holding.rollback().await.expect("an end");
        assert_eq!(late.at(&node).await, Ok(Seen::Never), "{table}");
    }
    assert_eq!((node.figures().reconnects, node.figures().epochs), (0, 0));
}

// A copy of the database is being saved, say: nobody waits for it, and nothing is emptied meanwhile.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_empties_no_slot_that_somebody_reads() {
    let place = Place::new("read").await;
    let node = place.node().await;
    let used = Proof::new(1, "used");
    assert_eq!(used.at(&node).await, Ok(Seen::Never));
    let mut connection = place.connection().await;
    let mut reading = connection.begin().await.expect("a transaction");
    reading.execute(place.sql("SELECT * FROM {}.proofs")).await.expect("rows");
    // Who waited for the lock would do so for as long as it is held.
    let turning = timeout(PATIENCE, place.try_turn(false, 0)).await.expect("an answer at once");
    let error = turning.expect_err("a table is held");
    assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("55P03"));
    assert_eq!(Proof::new(1, "meanwhile").at(&node).await, Ok(Seen::Never));
    reading.rollback().await.expect("an end");
    assert!(place.turn(false, 0).await);
    assert_eq!(used.at(&node).await, Ok(Seen::Before));
}

// What a pool that forgets a session's settings could bring about.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_records_in_transactions_that_see_what_others_did() {
    let place = Place::new("isolation").await;
    place.run("ALTER ROLE keybound SET default_transaction_isolation = 'serializable'").await;
    let node = place.node().await;
    assert_eq!(Proof::new(1, "used").at(&node).await, Ok(Seen::Never), "it says itself what it needs");
    place.run("ALTER ROLE keybound RESET default_transaction_isolation").await;
    for level in ["REPEATABLE READ", "SERIALIZABLE"] {
        let mut connection = place.connection().await;
        connection.execute(sqlx::AssertSqlSafe(format!("BEGIN ISOLATION LEVEL {level}"))).await.expect("one");
        let recording = place.sql("SELECT {}.record((SELECT marker FROM {}.epoch), 0, 10, 5, 100, NULL, NULL, NULL)");
        let error = connection.execute(recording).await.expect_err("not so");
        assert_eq!(error.as_database_error().and_then(|error| error.code()).as_deref(), Some("KB001"), "{level}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_is_made_ready_by_one_of_many_that_come_at_once() {
    let place = Place::new("first").await;
    let nodes = join_all((0..8).map(|_| place.node())).await;
    assert!(nodes.iter().all(|node| node.epoch() == nodes[0].epoch()));
    let used = Proof::new(1, "used");
    let answers = join_all(nodes.iter().map(|node| used.at(node))).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Ok(Seen::Never)).count(), 1, "{answers:?}");
}

/// What it says of this proof once it says anything.
async fn seen_in_the_end(proof: &Proof, node: &PostgresStore) -> Seen {
    let mut seen = Err(Fault::ReplayUnreachable);
    eventually("the way back", async || {
        seen = proof.at(node).await;
        seen.is_ok()
    })
    .await;
    seen.expect("it was waited for")
}

// In operation, where it hides what the server has done.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_talks_nonsense_lets_nobody_through() {
    let place = Place::new("nonsense").await;
    let (url, proxy) = place.by_proxy();
    let settings = PostgresSettings::from_url(&url).expect("a URL").schema("test_nonsense").expect("a name");
    let node = PostgresStore::connect(settings).await.expect("a store");
    let (before, mut recorded) = (node.epoch(), 0);
    // A text, a message that is none, one that is longer than it says, and an error that is cut off.
    for nonsense in
        [&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..], b"\0\0\0\0\0\0", b"D\0\0\0\x06\xff\xff\xff", b"E\0\0\0\x05\0"]
    {
        // The statement is prepared by the first on a connection, and known to those that follow.
        for round in 0..8 {
            seen_in_the_end(&Proof::new(1, format!("{nonsense:?} {round}")), &node).await;
        }
        let proof = Proof::new(1, format!("{nonsense:?}"));
        proxy.answer_instead(nonsense);
        assert_eq!(proof.at(&node).await, Err(Fault::ReplayUnreachable), "{nonsense:?}");
        proxy.open();
        // Where it met a look, or the statement being prepared, nothing was recorded.
        let seen = seen_in_the_end(&proof, &node).await;
        assert!(matches!(seen, Seen::Never | Seen::Before), "{nonsense:?}: {seen:?}");
        recorded += usize::from(seen == Seen::Before);
        assert_eq!(seen_in_the_end(&proof, &node).await, Seen::Before, "{nonsense:?}");
    }
    assert!(recorded > 0, "none of the answers was to a record");
    assert_eq!(node.epoch(), before);
}
