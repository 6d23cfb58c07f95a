//! Keeps a node pinned: notices that a server is not what it was, and pins again. Until then nothing is recorded there.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keybound::replay::Epoch;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use crate::dial::Dialer;
use crate::error::ConnectError;
use crate::find::Scouts;
use crate::pin::Pinned;
use crate::record::Trouble;
use crate::server::Marker;
use crate::settings::Address;

/// From one look at the servers to the next.
const BEAT: Duration = Duration::from_secs(1);

/// In so many beats the settings of the servers are looked at once.
const EXAMINE: usize = 5;

/// From one try to pin to the next: it doubles up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// For all of a try.
const PIN: Duration = Duration::from_secs(10);

/// What is counted, and how it stands.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    /// Whether trying to pin has failed since there was trouble.
    pub(crate) away: AtomicBool,
    /// How many new epochs have been asked for and have not begun.
    pub(crate) raising: AtomicU64,
    pub(crate) pins: AtomicU64,
    pub(crate) epochs: AtomicU64,
}

/// Opens a new epoch, for these windows at least.
pub(crate) struct Raise {
    pub(crate) windows: (Duration, Duration),
    pub(crate) done: Box<dyn FnOnce(Epoch) + Send>,
}

pub(crate) struct Keeper {
    dialer: Dialer,
    scouts: Scouts,
    publish: watch::Sender<Arc<Pinned>>,
    troubles: mpsc::UnboundedReceiver<Trouble>,
    raises: mpsc::UnboundedReceiver<Raise>,
    standing: Arc<Standing>,
    turn: usize,
    /// Markers that count no more, until others are in their place.
    superseded: Option<Arc<[Marker]>>,
}

impl Keeper {
    /// Pins for the first time.
    pub(crate) async fn begin(
        dialer: Dialer,
        raises: mpsc::UnboundedReceiver<Raise>,
        standing: Arc<Standing>,
    ) -> Result<(Self, watch::Receiver<Arc<Pinned>>), ConnectError> {
        let scouts = Scouts::default();
        let (pinned, troubles) = pin(&dialer, &scouts, &[], None).await?;
        let (publish, watching) = watch::channel(Arc::new(pinned));
        let keeper = Self { dialer, scouts, publish, troubles, raises, standing, turn: 0, superseded: None };
        Ok((keeper, watching))
    }

    /// Until nobody has the store any more.
    pub(crate) async fn keep(mut self) {
        loop {
            let pinned = Arc::clone(&self.publish.borrow());
            tokio::select! {
                biased;
                raise = self.raises.recv() => match raise {
                    Some(raise) => self.raise(raise, &pinned).await,
                    None => return,
                },
                Some(trouble) = self.troubles.recv() => self.mend(trouble, &pinned).await,
                outcome = look(&self.dialer, &self.scouts, &pinned, self.turn) => match outcome {
                    Ok(()) => self.turn = self.turn.wrapping_add(1),
                    Err(trouble) => self.mend(trouble, &pinned).await,
                },
            }
        }
    }

    /// Nothing is recorded from before this was asked for until it is done.
    async fn raise(&mut self, raise: Raise, pinned: &Arc<Pinned>) {
        let settings = &mut self.dialer.settings;
        (settings.max_age, settings.nonce_lifetime) =
            (settings.max_age.max(raise.windows.0), settings.nonce_lifetime.max(raise.windows.1));
        self.superseded = Some(Arc::clone(&pinned.markers));
        self.mend(Trouble::Forgotten, pinned).await;
        self.standing.raising.fetch_sub(1, Ordering::AcqRel);
        (raise.done)(self.publish.borrow().epoch);
    }

    /// Pins again, however long it takes.
    async fn mend(&mut self, trouble: Trouble, pinned: &Arc<Pinned>) {
        let store = self.dialer.settings.clone();
        if let Trouble::Failed(why) = &trouble {
            tracing::warn!(%store, %why, "the replay store failed; looking at it again");
        }
        let mut said = String::new();
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.pin_again(pinned).await {
            if error.is_configuration() {
                // As the server is now, it may drop what it has recorded. What that is, it drops whole; but nobody should rely on it.
                self.superseded = Some(Arc::clone(&pinned.markers));
            }
            self.standing.away.store(true, Ordering::Release);
            let why = error.to_string();
            if why != said {
                tracing::error!(%store, %why, "the replay store is away: proofs cannot be recorded");
                said = why;
            }
            if self.publish.is_closed() {
                return;
            }
            sleep(pause).await;
            pause = LONGEST_PAUSE.min(pause * 2);
        }
        if self.standing.away.swap(false, Ordering::AcqRel) {
            tracing::info!(%store, "the replay store is there again");
        }
    }

    async fn pin_again(&mut self, pinned: &Pinned) -> Result<(), ConnectError> {
        let (also, superseded) = (pinned.servers(), self.superseded.clone());
        let (fresh, troubles) = pin(&self.dialer, &self.scouts, &also, superseded.as_deref()).await?;
        self.troubles = troubles;
        self.superseded = None;
        self.standing.pins.fetch_add(1, Ordering::Relaxed);
        if fresh.epoch != self.publish.borrow().epoch {
            self.standing.epochs.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                store = %self.dialer.settings,
                "the replay store may have forgotten: a new epoch has begun, and proofs of before need a nonce, once"
            );
        }
        self.publish.send_replace(Arc::new(fresh));
        Ok(())
    }
}

async fn pin(
    dialer: &Dialer,
    scouts: &Scouts,
    also: &[Address],
    superseded: Option<&[Marker]>,
) -> Result<(Pinned, mpsc::UnboundedReceiver<Trouble>), ConnectError> {
    let (report, troubles) = mpsc::unbounded_channel();
    let pinning = async {
        let map = scouts.primaries(dialer, also).await?;
        Pinned::pin(dialer, map, superseded, &report).await
    };
    let late = |_| ConnectError::passing("the servers do not answer in time");
    Ok((timeout(PIN, pinning).await.map_err(late)??, troubles))
}

/// After a beat: whether the servers are what they were, and the right ones.
async fn look(dialer: &Dialer, scouts: &Scouts, pinned: &Pinned, turn: usize) -> Result<(), Trouble> {
    sleep(BEAT).await;
    pinned.probe(turn).await?;
    if turn.is_multiple_of(EXAMINE) {
        pinned.examine().await?;
    }
    // Who cannot be asked for the way is asked again: nonces keep two sides of a partition apart.
    match scouts.primaries(dialer, &pinned.servers()).await {
        Ok(map) if map != pinned.map => Err(Trouble::Forgotten),
        _ => Ok(()),
    }
}
