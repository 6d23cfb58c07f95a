//! The layer of crate `keybound-tower` on this store, with nothing between.

use core::time::Duration;

use keybound::replay::ReplayStore as _;
use keybound::verify::NoncePolicy;
use keybound_postgres::{PostgresSettings, PostgresStore};

use crate::layer::Stage;
use crate::support::{Place, eventually, later};

// R-SEC-03, by real proofs: for as long as a proof is good by anybody's judgement, whatever has been emptied meanwhile.
#[tokio::test]
#[ignore = "needs PostgreSQL"]
async fn postgres_remembers_a_proof_at_the_edge_of_the_window_while_it_is_good() {
    let (place, stage) = (Place::new("edges").await, Stage::new(NoncePolicy::Offer));
    drop(place.node().await);
    // As if the epoch had begun an hour ago, so that no barrier stands.
    place.run("UPDATE {}.epoch SET opened = opened - 3600").await;
    let stores = [place.node().await, place.node().await];
    let nodes = stores.clone().map(|store| stage.node(store));
    let nonce = stage.nonce(&nodes[0]).await;
    let [near, far] = stage.at_both_edges();
    // By its nonce, one of a clock that is far ahead is good as well, and may be kept for a day.
    let ahead = stage.shown(stage.began().plus(Duration::from_secs(86_000)), Some(&nonce));
    let mut good = Vec::new();
    for shown in [&near, &far, &ahead] {
        good.push(stage.good_for(shown, stores[0].epoch()).await);
        assert_eq!(stage.ask(&nodes[0], shown).await.status, 200);
    }
    assert_eq!(good[..2], [0, 360]);
    assert!((299..=300).contains(&good[2]), "{good:?}");
    let mut passed = 0;
    for seconds in [0, 60, 120, 150, 200, 250, 299, 330, 360] {
        later(seconds - passed).await;
        passed = seconds;
        stage.turn(seconds);
        for (shown, good) in [&near, &far, &ahead].into_iter().zip(&good) {
            for node in &nodes {
                let answer = stage.answered(node, shown).await;
                let expected = if seconds <= *good { "replay.seen" } else { "" };
                assert!(answer.is(401, expected), "after {seconds} s: {answer:?}");
            }
        }
        eventually("a turn", async || place.turns().await >= i64::try_from(seconds / 150).expect("few")).await;
    }
    assert!(stores.iter().all(|store| store.figures().epochs == 0), "nothing was forgotten");
}

// The record is there and its answer is lost: nobody knows, and so nobody is let through, then or later.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_whose_answer_is_lost_lets_nobody_through() {
    let (place, stage) = (Place::new("lost").await, Stage::new(NoncePolicy::Offer));
    let (by_proxy, proxy) = place.by_proxy();
    // Longer than anything here takes: it is the connection that ends.
    let settings = PostgresSettings::from_url(&by_proxy).expect("a URL").schema("test_lost").expect("a name");
    let store = PostgresStore::connect(settings.timeout(Duration::from_secs(60))).await.expect("a store");
    let (one, other) = (stage.node(store.clone()), stage.node(place.node().await));
    let (nonce, before) = (stage.nonce(&one).await, store.epoch());
    // From now on the server knows the statement.
    for _ in 0..8 {
        assert_eq!(stage.ask(&one, &stage.shown(stage.began(), Some(&nonce))).await.status, 200);
    }
    let shown = stage.shown(stage.began(), Some(&nonce));
    let records = async || place.number("SELECT sum(proofs)::bigint FROM {}.tallies").await;
    proxy.bar_answers();
    let lost = async {
        eventually("the record", async || records().await == 9).await;
        proxy.reset();
    };
    let (answer, ()) = tokio::join!(stage.ask(&one, &shown), lost);
    assert!(answer.is(503, "replay.unreachable"), "{answer:?}");
    proxy.open();
    let answer = stage.answered(&one, &shown).await;
    assert!(answer.is(401, "replay.seen"), "{answer:?}");
    let answer = stage.ask(&other, &shown).await;
    assert!(answer.is(401, "replay.seen"), "{answer:?}");
    assert_eq!((records().await, store.epoch()), (9, before), "nothing was forgotten, and it is counted once");
}
