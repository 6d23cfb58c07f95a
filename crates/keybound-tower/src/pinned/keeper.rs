//! Keeps a node pinned: notices that a server is not what it was, and pins again. Until then nothing is recorded there.

use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use keybound::replay::Epoch;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};

use super::{ConnectError, Pinned as _, Servers, Superseded, Trouble};

/// From one look at the servers to the next.
const BEAT: Duration = Duration::from_secs(1);

/// From one try to pin to the next: it doubles up to the second.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// For all of a try.
const PIN: Duration = Duration::from_secs(10);

/// What is counted, and how it stands.
#[derive(Debug, Default)]
pub(super) struct Standing {
    /// Whether trying to pin has failed since there was trouble.
    pub(super) away: AtomicBool,
    /// How many new epochs have been asked for and have not begun.
    pub(super) raising: AtomicU64,
    pub(super) pins: AtomicU64,
    pub(super) epochs: AtomicU64,
}

/// Opens a new epoch, for these windows at least.
pub(super) struct Raise {
    pub(super) windows: (Duration, Duration),
    pub(super) done: Box<dyn FnOnce(Epoch) + Send>,
}

pub(super) struct Keeper<S: Servers> {
    servers: S,
    settings: S::Settings,
    publish: watch::Sender<Arc<S::Pinned>>,
    troubles: mpsc::UnboundedReceiver<Trouble>,
    raises: mpsc::UnboundedReceiver<Raise>,
    standing: Arc<Standing>,
    turn: usize,
    /// What counts no more, until other markers are in its place.
    superseded: Superseded<S::Pinned>,
}

impl<S: Servers> Keeper<S> {
    /// Pins for the first time.
    pub(super) async fn begin(
        settings: S::Settings,
        raises: mpsc::UnboundedReceiver<Raise>,
        standing: Arc<Standing>,
    ) -> Result<(Self, watch::Receiver<Arc<S::Pinned>>), ConnectError> {
        let servers = S::new(settings.clone())?;
        let (pinned, troubles) = pin(&servers, None, &Superseded::Nothing).await?;
        let (publish, watching) = watch::channel(Arc::new(pinned));
        let superseded = Superseded::Nothing;
        let keeper = Self { servers, settings, publish, troubles, raises, standing, turn: 0, superseded };
        Ok((keeper, watching))
    }

    /// Until nobody has the store any more.
    pub(super) async fn keep(mut self) {
        loop {
            let pinned = Arc::clone(&self.publish.borrow());
            tokio::select! {
                biased;
                raise = self.raises.recv() => match raise {
                    Some(raise) => self.raise(raise, &pinned).await,
                    None => return,
                },
                Some(trouble) = self.troubles.recv() => self.mend(trouble, &pinned).await,
                outcome = look(&self.servers, &pinned, self.turn) => match outcome {
                    Ok(()) => self.turn = self.turn.wrapping_add(1),
                    Err(trouble) => self.mend(trouble, &pinned).await,
                },
            }
        }
    }

    /// Nothing is recorded from before this was asked for until it is done.
    async fn raise(&mut self, raise: Raise, pinned: &Arc<S::Pinned>) {
        self.servers.lengthen(raise.windows.0, raise.windows.1);
        self.superseded = Superseded::All;
        self.mend(Trouble::Forgotten, pinned).await;
        self.standing.raising.fetch_sub(1, Ordering::AcqRel);
        (raise.done)(self.publish.borrow().epoch());
    }

    /// Pins again, however long it takes.
    async fn mend(&mut self, trouble: Trouble, pinned: &Arc<S::Pinned>) {
        let store = self.settings.clone();
        if let Trouble::Failed(why) = &trouble {
            tracing::warn!(%store, %why, "the replay store failed; looking at it again");
        }
        let mut said = String::new();
        let mut pause = FIRST_PAUSE;
        while let Err(error) = self.pin_again(pinned).await {
            if error.is_configuration() && !self.superseded.is_all() {
                // As the server is now, it may drop what it has recorded.
                self.superseded = Superseded::Of(Arc::clone(pinned));
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

    async fn pin_again(&mut self, pinned: &Arc<S::Pinned>) -> Result<(), ConnectError> {
        let (fresh, troubles) = pin(&self.servers, Some(pinned), &self.superseded).await?;
        self.troubles = troubles;
        self.superseded = Superseded::Nothing;
        self.standing.pins.fetch_add(1, Ordering::Relaxed);
        if fresh.epoch() != self.publish.borrow().epoch() {
            self.standing.epochs.fetch_add(1, Ordering::Relaxed);
            tracing::warn!(
                store = %self.settings,
                "the replay store may have forgotten: a new epoch has begun, and proofs of before need a nonce, once"
            );
        }
        self.publish.send_replace(Arc::new(fresh));
        Ok(())
    }
}

async fn pin<S: Servers>(
    servers: &S,
    before: Option<&Arc<S::Pinned>>,
    superseded: &Superseded<S::Pinned>,
) -> Result<(S::Pinned, mpsc::UnboundedReceiver<Trouble>), ConnectError> {
    let late = |_| ConnectError::passing("the servers do not answer in time");
    timeout(PIN, servers.pin(before, superseded)).await.map_err(late)?
}

/// After a beat: whether the servers are what they were, and the right ones.
async fn look<S: Servers>(servers: &S, pinned: &S::Pinned, turn: usize) -> Result<(), Trouble> {
    sleep(BEAT).await;
    servers.look(pinned, turn).await
}
