//! Nodes and entries.

use core::time::Duration;
use std::time::SystemTime;

use keybound::jwk::Thumbprint;
use keybound::refusal::Fault;
use keybound::replay::{Epoch, ReplayEntry, ReplayStore as _, Seen, suite};
use keybound::time::UnixTime;
use keybound_redis::{ConnectError, RedisSettings, RedisStore};
use redis_rig::{Server, Settings};
use tokio::time::{Instant, sleep};

/// For an answer that has to come: a machine that has much to do may stand still for seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// For what servers do by themselves. A Cluster that has not agreed on a primary takes twenty seconds to try again.
const LONG: Duration = Duration::from_secs(90);

pub(crate) const HTU: &str = "https://api.example.com/";

pub(crate) fn server() -> Server {
    Server::start(Settings::new()).expect("a server")
}

pub(crate) fn settings(url: &str) -> RedisSettings {
    RedisSettings::from_url(url).expect("a URL").timeout(PATIENCE)
}

pub(crate) async fn node(url: &str) -> RedisStore {
    connected(settings(url)).await
}

/// One that is to come upon a fault, and soon: it waits for half a second, as a node does unless told otherwise.
pub(crate) async fn hasty(url: &str) -> RedisStore {
    connected(RedisSettings::from_url(url).expect("a URL")).await
}

pub(crate) async fn connected(settings: RedisSettings) -> RedisStore {
    outcome(settings).await.unwrap_or_else(|error| panic!("{error}"))
}

/// Of connecting, by servers that answer: for how long a node tries to connect is no setting.
async fn outcome(settings: RedisSettings) -> Result<RedisStore, ConnectError> {
    let end = Instant::now() + LONG;
    loop {
        match RedisStore::connect(settings.clone()).await {
            Err(error) if error.to_string().ends_with("answer in time") && Instant::now() < end => {}
            outcome => return outcome,
        }
    }
}

/// Connects to servers among which one has just taken over.
pub(crate) async fn joined(url: &str) -> RedisStore {
    let mut joined = None;
    eventually("servers that are at one", async || match outcome(settings(url)).await {
        Err(error) if !error.is_configuration() => false,
        outcome => {
            joined = Some(outcome.unwrap_or_else(|error| panic!("{error}")));
            true
        }
    })
    .await;
    joined.expect("it was waited for")
}

/// What the store must do whoever it is, on two nodes and on one, which it gives back.
pub(crate) async fn every_duty(url: &str) -> RedisStore {
    let (one, other) = (node(url).await, node(url).await);
    assert_eq!(one.epoch(), other.epoch(), "who comes later takes the epoch that is there");
    suite::shared(&one, &other, "shared", now()).await;
    suite::run(&one, "first", now()).await;
    one
}

pub(crate) async fn refused(settings: RedisSettings) -> ConnectError {
    outcome(settings).await.expect_err("no store")
}

pub(crate) fn now() -> UnixTime {
    SystemTime::now().into()
}

/// A proof of the key of this number.
#[derive(Clone)]
pub(crate) struct Proof {
    jkt: [u8; 32],
    jti: String,
    expires: UnixTime,
}

impl Proof {
    pub(crate) fn new(key: u8, jti: impl Into<String>) -> Self {
        // Bits of every octet differ from key to key, so that in a Cluster keys lie far apart.
        Self { jkt: [key; 32], jti: jti.into(), expires: now().plus(Duration::from_secs(306)) }
    }

    /// Of another key, in the same lane of a Cluster.
    pub(crate) fn beside(key: u8, jti: impl Into<String>) -> Self {
        let mut other = Self::new(key, jti);
        other.jkt[0] = !key;
        other
    }

    pub(crate) const fn until(mut self, expires: UnixTime) -> Self {
        self.expires = expires;
        self
    }

    /// Judged by this node just now.
    pub(crate) async fn at(&self, node: &RedisStore) -> Result<Seen, Fault> {
        self.under(node.epoch(), node).await
    }

    /// Judged when this was the epoch.
    pub(crate) async fn under(&self, epoch: Epoch, node: &RedisStore) -> Result<Seen, Fault> {
        let jkt = Thumbprint::from_bytes(self.jkt);
        node.record(&ReplayEntry::new(jkt, &self.jti, HTU, epoch, self.expires), now()).await
    }
}

/// Waits for something that the store does by itself.
pub(crate) async fn eventually(what: &str, mut done: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done().await {
        assert!(Instant::now() < end, "waited too long for {what}");
        sleep(Duration::from_millis(5)).await;
    }
}

/// Begins an epoch for these windows: whoever asks for one gives up after three seconds.
pub(crate) async fn raised(node: &RedisStore, max_age: Duration, nonce_lifetime: Duration) -> Epoch {
    let mut raised = None;
    eventually("an epoch", async || {
        raised = node.raise(max_age, nonce_lifetime).await.ok();
        raised.is_some()
    })
    .await;
    raised.expect("it was waited for")
}

/// Waits until the node has another epoch than this.
pub(crate) async fn new_epoch(node: &RedisStore, before: Epoch) -> Epoch {
    eventually("a new epoch", async || node.epoch() != before).await;
    node.epoch()
}
