//! The servers a node records at, each in one life of it, and the epoch that follows from all of them.

use core::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::future::{join_all, try_join_all};
use keybound::replay::Epoch;
use keybound::time::UnixTime;
use keybound_tower::pinned::{self, Answer, ConnectError, NotTaken, Record, Superseded, Trouble};
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};

use crate::dial::Dialer;
use crate::error::on;
use crate::find::Map;
use crate::lanes::LANES;
use crate::record::{Exchange, Job};
use crate::server::{self, Marker};
use crate::settings::Address;

/// Where each lane is recorded, as long as every server stays what it was when this was made.
pub struct Pinned {
    pub(crate) map: Map,
    epoch: Epoch,
    began: UnixTime,
    /// For which windows records are kept, in seconds.
    windows: (u64, u64),
    pub(crate) markers: Arc<[Marker]>,
    /// By lane: which of `doors`.
    at: Vec<usize>,
    doors: Vec<Door>,
}

/// The way to one server.
struct Door {
    jobs: mpsc::Sender<Job>,
    exchange: Arc<Exchange>,
    /// Something else than a record has shown that nothing may be recorded there.
    shut: AtomicBool,
}

impl Door {
    fn shut_at(&self, outcome: Result<(), Trouble>) -> Result<(), Trouble> {
        self.shut.fetch_or(outcome.is_err(), Ordering::AcqRel);
        outcome
    }
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("map", &self.map).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Pinned {
    /// Connects to these servers, looks at each, and takes or makes the markers of every lane.
    pub(crate) async fn pin(
        dialer: &Dialer,
        map: Map,
        superseded: &Superseded<Self>,
        troubles: &mpsc::UnboundedSender<Trouble>,
    ) -> Result<Self, ConnectError> {
        let settings = &dialer.settings;
        let mut servers: Vec<&Address> = map.0.iter().collect();
        servers.sort();
        servers.dedup();
        let at: Vec<usize> = map.0.iter().filter_map(|address| servers.binary_search(&address).ok()).collect();
        let entering = servers.iter().map(async |address| {
            let link = dialer.server(address).await?;
            let life = server::examine(&link, settings).await.map_err(|error| error.at(on(address)))?;
            if life.has_replicas && !settings.needs_nonces() {
                tracing::warn!(
                    store = %settings,
                    "this Redis has replicas; if one may ever take over, use redis-sentinel, or demand nonces of every proof"
                );
            }
            Ok::<_, ConnectError>((link, life))
        });
        let entered = try_join_all(entering).await?;
        let opening = at.iter().enumerate().map(async |(lane, server)| {
            let (link, life) = &entered[*server];
            let marker = superseded.pinned().and_then(|pinned| pinned.markers.get(lane));
            let opened = server::open(link, life, settings, lane, (marker, superseded.is_all())).await;
            opened.map_err(|error| error.at(on(servers[*server])))
        });
        let markers: Arc<[Marker]> = try_join_all(opening).await?.into();
        let doors = entered.into_iter().map(|(link, life)| {
            let exchange = Arc::new(Exchange::new(link, life, settings, Arc::clone(&markers)));
            let jobs = exchange.start(troubles.clone());
            Door { jobs, exchange, shut: AtomicBool::new(false) }
        });
        let doors = doors.collect();
        let windows = markers.iter().map(Marker::windows).fold((0, 0), |all, one| (all.0.max(one.0), all.1.max(one.1)));
        let (id, began) = epoch_of(&markers);
        // Where another server may take over, it may do so while this one goes on for some: then no time tells their proofs apart.
        let epoch = if settings.needs_nonces() { Epoch::of_nonces_alone(id) } else { Epoch::new(id, began) };
        Ok(Self { epoch, began, windows, markers, at, doors, map })
    }

    /// How many lanes there are.
    fn lanes(&self) -> usize {
        self.at.len()
    }

    /// Whether every server is still what it was, by a record of nothing in one lane of each; another lane each time.
    pub(crate) async fn probe(&self, turn: usize) -> Result<(), Trouble> {
        let probing = self.doors.iter().enumerate().map(|(server, door)| {
            let lanes: Vec<usize> = (0..self.lanes()).filter(|lane| self.at[*lane] == server).collect();
            let lane = lanes.get(turn % lanes.len().max(1)).copied().unwrap_or_default();
            async move { door.shut_at(door.exchange.probe(lane).await) }
        });
        join_all(probing).await.into_iter().collect()
    }

    /// Whether every server is still one that keeps what it has.
    pub(crate) async fn examine(&self) -> Result<(), Trouble> {
        let examining = self.doors.iter().map(async |door| door.shut_at(door.exchange.examine().await));
        join_all(examining).await.into_iter().collect()
    }

    /// The servers.
    pub(crate) fn servers(&self) -> Vec<Address> {
        let mut servers = self.map.0.clone();
        servers.sort();
        servers.dedup();
        servers
    }
}

impl pinned::Pinned for Pinned {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn began(&self) -> UnixTime {
        self.began
    }

    fn windows(&self) -> (u64, u64) {
        self.windows
    }

    fn hand_over(&self, record: Record, answer: oneshot::Sender<Answer>) -> Result<(), NotTaken> {
        let jkt = record.jkt.as_bytes();
        let mut tally = [0; 16];
        tally.copy_from_slice(&jkt[..16]);
        // All proofs of a key are in one lane, where its tally is.
        let lane = if self.lanes() == LANES { usize::from(jkt[16]) } else { 0 };
        let door = &self.doors[self.at[lane]];
        if door.shut.load(Ordering::Acquire) {
            return Err(NotTaken::Closed);
        }
        door.jobs.try_send(Job { lane, record: record.digest, tally, keep: record.keep, answer })?;
        Ok(())
    }

    /// At the server of the first lane.
    async fn text(&self, change: Option<(&[u8], &[u8])>) -> Result<Vec<u8>, Trouble> {
        let door = &self.doors[self.at[0]];
        if door.shut.load(Ordering::Acquire) {
            return Err(Trouble::Forgotten);
        }
        door.exchange.text(change).await
    }
}

/// All nodes that see the same markers have the same epoch, and no two sets of markers share one.
fn epoch_of(markers: &[Marker]) -> (u64, UnixTime) {
    let opened = markers.iter().map(Marker::opened).max().unwrap_or_default();
    let id = match markers {
        [only] => only.id(),
        all => {
            let digest =
                all.iter().fold(Sha256::new(), |digest, marker| digest.chain_update(marker.octets())).finalize();
            digest[..8].iter().fold(0, |id, octet| id << 8 | u64::from(*octet))
        }
    };
    (id, UnixTime::from_secs(opened))
}
