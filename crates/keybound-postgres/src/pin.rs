//! The server in one life of it: the epoch, and the way of a proof there.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use keybound::replay::Epoch;
use keybound::time::UnixTime;
use keybound_tower::pinned::{self, APART, Answer, ConnectError, NotTaken, Record, Superseded, Trouble};
use parking_lot::Mutex;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex as AsyncMutex, mpsc, oneshot};
use tokio::time::Instant;
use uuid::Uuid;

use crate::error::answered;
use crate::record::{Call, Job, TOO_LONG, WAITING};
use crate::ring::{NEAR, Rings, width};
use crate::server::{self, Opened, TABLES_PATIENCE};
use crate::settings::PostgresSettings;

/// Over which records go. One more looks.
const CONNECTIONS: usize = 4;

/// How far ahead an `iat` may be without a nonce, and with one.
const AHEAD: Duration = Duration::from_secs(60);
const FAR_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// What an entry lives beyond the window, and what clocks and ways add.
const SPARE: Duration = Duration::from_secs(60);

/// A server in one life of it.
pub struct Pinned {
    opened: Opened,
    epoch: Epoch,
    settings: PostgresSettings,
    call: Arc<Call>,
    jobs: mpsc::Sender<Job>,
    /// There was trouble: nothing more is recorded there.
    shut: Arc<AtomicBool>,
    rings: Arc<Mutex<Rings>>,
    looker: AsyncMutex<Looker>,
}

struct Looker {
    connection: PgConnection,
    rings: Arc<Mutex<Rings>>,
    /// Whether it was said that a slot cannot be emptied.
    is_said: bool,
}

impl fmt::Debug for Pinned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pinned").field("store", &self.settings).field("epoch", &self.epoch).finish_non_exhaustive()
    }
}

impl Pinned {
    /// Connects, looks at the server, and takes or makes its marker.
    pub(crate) async fn pin(
        settings: &PostgresSettings,
        before: Option<&Self>,
        superseded: &Superseded<Self>,
        troubles: &mpsc::UnboundedSender<Trouble>,
    ) -> Result<Self, ConnectError> {
        let mut connection = server::connect(settings, TABLES_PATIENCE).await?;
        let system = server::examine(&mut connection, settings).await?;
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            // Each of them may have come to another server: the marker tells.
            connections.push(server::connect(settings, settings.timeout).await?);
        }
        // The last that may fail: a new epoch that nobody here comes to know of would be followed by another.
        let marker = superseded.pinned().map(|pinned| pinned.opened.marker);
        let opened = server::open(&mut connection, settings, system, (marker, superseded.is_all())).await?;
        let rings = rings(&opened, before);
        let near_width = width(NEAR, spans(opened.windows).0);
        let call = Arc::new(Call::new(settings, opened.marker, near_width));
        let (jobs, coming) = mpsc::channel(WAITING);
        let coming = Arc::new(AsyncMutex::new(coming));
        let shut = Arc::<AtomicBool>::default();
        for connection in connections {
            let (call, coming, troubles) = (Arc::clone(&call), Arc::clone(&coming), troubles.clone());
            let shut = Arc::clone(&shut);
            tokio::spawn(async move {
                if let Err(trouble) = call.work(connection, coming).await {
                    shut.store(true, Ordering::Release);
                    // Nobody listens once the store is gone.
                    let _ = troubles.send(trouble);
                }
            });
        }
        let (id, since) = (opened.marker.as_u64_pair().0, UnixTime::from_secs(opened.since));
        let epoch = if settings.needs_nonces() { Epoch::of_nonces_alone(id) } else { Epoch::new(id, since) };
        let looker = AsyncMutex::new(Looker { connection, rings: Arc::clone(&rings), is_said: false });
        Ok(Self { opened, epoch, settings: settings.clone(), call, jobs, shut, rings, looker })
    }

    /// Whether the server is still what it was, by a record of nothing; and turns the rings when it is time.
    pub(crate) async fn look(&self, is_thorough: bool) -> Result<(), Trouble> {
        let mut looker = self.looker.lock().await;
        let mut outcome = looker.look(&self.call, &self.settings, self.opened.marker).await;
        if is_thorough && outcome.is_ok() {
            outcome = server::is_unlogged(&mut looker.connection, &self.settings.schema).await.map_err(Trouble::Failed);
        }
        self.shut.fetch_or(outcome.is_err(), Ordering::AcqRel);
        outcome
    }
}

impl Looker {
    async fn look(&mut self, call: &Call, settings: &PostgresSettings, marker: Uuid) -> Result<(), Trouble> {
        let Some(turns) = call.record(&mut self.connection, Vec::new()).await? else { return Ok(()) };
        let now = Instant::now();
        self.rings.lock().saw(turns, now);
        let due = self.rings.lock().due(now);
        for (is_far, turn) in due {
            self.turn(settings, marker, is_far, turn).await?;
        }
        Ok(())
    }

    async fn turn(
        &mut self,
        settings: &PostgresSettings,
        marker: Uuid,
        is_far: bool,
        turn: u64,
    ) -> Result<(), Trouble> {
        let question = format!("SELECT {}.turn($1, $2, $3)", settings.schema);
        let turning = sqlx::query_scalar::<_, bool>(AssertSqlSafe(question));
        let turning = turning.bind(marker).bind(is_far).bind(server::signed(turn));
        match turning.fetch_one(&mut self.connection).await {
            Ok(is_turned) => {
                if is_turned {
                    self.rings.lock().turned(is_far, turn, Instant::now());
                }
                self.is_said = false;
                Ok(())
            }
            // Somebody holds a table: the next time. What is recorded goes on where it went.
            Err(error) if error.as_database_error().is_some() => {
                if !core::mem::replace(&mut self.is_said, true) {
                    tracing::warn!(store = %settings, %error, "a part of the memory of used proofs could not be emptied yet");
                }
                Ok(())
            }
            Err(error) => Err(Trouble::Failed(answered(&error))),
        }
    }

    async fn text(
        &mut self,
        settings: &PostgresSettings,
        marker: Uuid,
        change: Option<(&[u8], &[u8])>,
    ) -> Result<Vec<u8>, Trouble> {
        let question = format!("SELECT judged, its_text FROM {}.share($1, $2, $3, $4, $5)", settings.schema);
        let (old, new) = change.unzip();
        let asking = sqlx::query_as::<_, (Vec<i64>, Option<Vec<u8>>)>(AssertSqlSafe(question));
        let asking = asking.bind(marker).bind(server::now()).bind(APART.as_secs_f64()).bind(old).bind(new);
        let (judged, text) =
            asking.fetch_one(&mut self.connection).await.map_err(|error| Trouble::Failed(answered(&error)))?;
        match (&judged[..], text) {
            ([0, ..], Some(text)) => Ok(text),
            ([1], _) => Err(Trouble::Forgotten),
            ([2, ahead], _) => Err(ConnectError::apart(*ahead).into()),
            _ => Err(ConnectError::nonsense().into()),
        }
    }
}

impl pinned::Pinned for Pinned {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn began(&self) -> UnixTime {
        UnixTime::from_secs(self.opened.since)
    }

    fn windows(&self) -> (u64, u64) {
        self.opened.windows
    }

    fn hand_over(&self, record: Record, answer: oneshot::Sender<Answer>) -> Result<(), NotTaken> {
        let (near, far) = spans(self.opened.windows);
        // All clocks may be set back together by less than that, and nobody notices.
        let keep = record.keep.saturating_add(2 * APART);
        if keep > far {
            let _ = answer.send(TOO_LONG);
            return Ok(());
        }
        if self.shut.load(Ordering::Acquire) {
            return Err(NotTaken::Closed);
        }
        let (record, key) = (Uuid::from_bytes(record.digest), first_half(record.jkt.as_bytes()));
        self.jobs.try_send(Job { record, key, is_long: keep > near, answer })?;
        Ok(())
    }

    async fn text(&self, change: Option<(&[u8], &[u8])>) -> Result<Vec<u8>, Trouble> {
        if self.shut.load(Ordering::Acquire) {
            return Err(Trouble::Forgotten);
        }
        let mut looker = self.looker.lock().await;
        looker.text(&self.settings, self.opened.marker, change).await
    }
}

/// For how long a slot is kept once its time is over: for all proofs, and for those that live longer.
fn spans((max_age, nonce_lifetime): (u64, u64)) -> (Duration, Duration) {
    let (max_age, nonce_lifetime) = (Duration::from_secs(max_age), Duration::from_secs(nonce_lifetime));
    let near = (max_age + AHEAD).max(nonce_lifetime) + SPARE;
    (near, FAR_AHEAD + max_age.max(nonce_lifetime) + 2 * SPARE)
}

/// How it stands with the rings; what was seen of those of the same epoch before still holds.
fn rings(opened: &Opened, before: Option<&Pinned>) -> Arc<Mutex<Rings>> {
    let (turns, now) = ((opened.near, opened.far), Instant::now());
    let same = before.filter(|before| before.opened.marker == opened.marker);
    match same.map(|before| &before.rings).filter(|rings| rings.lock().may_be_at(turns)) {
        Some(rings) => {
            rings.lock().saw(turns, now);
            Arc::clone(rings)
        }
        None => Arc::new(Mutex::new(Rings::new(spans(opened.windows), turns, now))),
    }
}

fn first_half(octets: &[u8; 32]) -> Uuid {
    let mut half = [0; 16];
    half.copy_from_slice(&octets[..16]);
    Uuid::from_bytes(half)
}
