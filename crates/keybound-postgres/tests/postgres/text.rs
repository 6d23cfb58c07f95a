//! The text that nodes share.

use keybound::refusal::Fault;

use crate::support::{PATIENCE, Place, eventually};

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_has_a_text_that_one_of_several_replaces() {
    let place = Place::new("text").await;
    let (one, other) = (place.node().await, place.node().await);
    assert_eq!(one.shared_text().await, Ok(None));
    assert_eq!(one.replace_shared_text(Some(b"another"), b"c").await, Ok(false));
    let (first, second) = tokio::join!(one.replace_shared_text(None, b"a"), other.replace_shared_text(None, b"b"));
    assert_ne!(first.expect("an answer"), second.expect("an answer"), "one of them was first");
    let text = one.shared_text().await.expect("an answer").expect("a text");
    assert_eq!(other.shared_text().await, Ok(Some(text.clone())));
    assert_eq!(other.replace_shared_text(Some(b"another"), b"c").await, Ok(false));
    assert_eq!(other.replace_shared_text(Some(&text), b"\0\xff").await, Ok(true));
    assert_eq!(one.shared_text().await, Ok(Some(b"\0\xff".to_vec())));
    // It outlives a crash.
    place.server.kill();
    eventually("it to be noticed", async || !one.figures().is_there).await;
    assert_eq!(one.shared_text().await, Err(Fault::ReplayUnreachable));
    assert_eq!(one.replace_shared_text(None, b"d").await, Err(Fault::ReplayUnreachable));
    place.server.start();
    eventually("it to be back", async || one.shared_text().await == Ok(Some(b"\0\xff".to_vec()))).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs PostgreSQL"]
async fn postgres_that_stands_still_has_no_text() {
    let place = Place::new("text_held").await;
    assert_eq!(place.node().await.replace_shared_text(None, b"a").await, Ok(true));
    let node = place.hasty().await;
    place.server.signal("STOP");
    let began = tokio::time::Instant::now();
    assert_eq!(node.shared_text().await, Err(Fault::ReplayUnreachable));
    // It would be for ever.
    assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
    place.server.signal("CONT");
    eventually("it to be back", async || node.shared_text().await == Ok(Some(b"a".to_vec()))).await;
}
