//! Records over a few connections, many proofs in one call: what comes in while an answer is under way goes with the next question.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use keybound::refusal::Fault;
use keybound::replay::Seen;
use keybound_tower::pinned::{APART, Answer, ConnectError, Trouble};
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::time::timeout;
use uuid::Uuid;

use crate::error::{answered, undone};
use crate::server;
use crate::settings::PostgresSettings;

/// Records that wait; one more is turned away.
pub(crate) const WAITING: usize = 8192;

/// Proofs in one call.
const TOGETHER: usize = 128;

/// One record to make.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) record: Uuid,
    pub(crate) key: Uuid,
    /// Whether it outlives a near slot.
    pub(crate) is_long: bool,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// What is recorded, in the life of the server that has this marker.
#[derive(Debug)]
pub(crate) struct Call {
    question: String,
    marker: Uuid,
    settings: PostgresSettings,
    near_width: Duration,
}

/// Those who wait for the answer about one proof: whoever asked first, and those that came with the same.
type Asked = (Job, Vec<Job>);

impl Call {
    pub(crate) fn new(settings: &PostgresSettings, marker: Uuid, near_width: Duration) -> Self {
        let question = format!("SELECT {}.record($1, $2, $3, $4, $5, $6, $7, $8)", settings.schema);
        Self { question, marker, settings: settings.clone(), near_width }
    }

    /// Takes jobs over a connection until the first trouble or until nobody has any more. What is under way when there is trouble is dropped,
    /// and so answered as unreachable: it may have been recorded.
    pub(crate) async fn work(
        self: Arc<Self>,
        mut connection: PgConnection,
        jobs: Arc<Mutex<mpsc::Receiver<Job>>>,
    ) -> Result<(), Trouble> {
        loop {
            let mut together = Vec::new();
            {
                let mut jobs = jobs.lock().await;
                if jobs.recv_many(&mut together, TOGETHER).await == 0 {
                    return Ok(());
                }
            }
            self.record(&mut connection, together).await?;
        }
    }

    /// Records these, and says how often the rings have turned.
    pub(crate) async fn record(
        &self,
        connection: &mut PgConnection,
        mut jobs: Vec<Job>,
    ) -> Result<Option<(u64, u64)>, Trouble> {
        // Nobody waits for those any more, and they would only be in the way.
        jobs.retain(|job| !job.answer.is_closed());
        // In order, so that two calls with the same proofs do not wait for each other in a circle.
        let mut asked = BTreeMap::<Uuid, Asked>::new();
        for job in jobs {
            match asked.get_mut(&job.record) {
                Some((_, others)) => others.push(job),
                None => drop(asked.insert(job.record, (job, Vec::new()))),
            }
        }
        let asked: Vec<Asked> = asked.into_values().collect();
        let records: Vec<Uuid> = asked.iter().map(|(job, _)| job.record).collect();
        let keys: Vec<Uuid> = asked.iter().map(|(job, _)| job.key).collect();
        let long: Vec<bool> = asked.iter().map(|(job, _)| job.is_long).collect();
        let asking = sqlx::query_scalar::<_, Vec<i64>>(AssertSqlSafe(self.question.as_str()))
            .bind(self.marker)
            .bind(server::now())
            .bind(APART.as_secs_f64())
            .bind(i64::from(self.settings.per_key))
            .bind(self.near_width.as_secs_f64())
            .bind(records)
            .bind(keys)
            .bind(long)
            .fetch_one(connection);
        let Ok(answer) = timeout(self.patience(), asking).await else {
            return Err(ConnectError::passing("does not answer in time").into());
        };
        match answer {
            Ok(parts) => deal_out(asked, &parts),
            Err(error) => match undone(&error) {
                Some(fault) => {
                    asked.into_iter().for_each(|asked| tell(asked, Err(fault)));
                    Ok(None)
                }
                None => Err(Trouble::Failed(answered(&error))),
            },
        }
    }

    /// A little more than the server has, which says what happened.
    fn patience(&self) -> Duration {
        self.settings.timeout.saturating_add(Duration::from_millis(50))
    }
}

fn deal_out(asked: Vec<Asked>, parts: &[i64]) -> Result<Option<(u64, u64)>, Trouble> {
    match parts {
        [0, near, far, answers @ ..] if answers.len() == asked.len() => {
            let answers = answers
                .iter()
                .map(|answer| meaning(*answer))
                .collect::<Option<Vec<_>>>()
                .ok_or_else(ConnectError::nonsense)?;
            asked.into_iter().zip(answers).for_each(|(asked, answer)| tell(asked, answer));
            Ok(Some((near.unsigned_abs(), far.unsigned_abs())))
        }
        [1] => {
            asked.into_iter().for_each(|asked| tell(asked, Ok(Seen::Forgotten)));
            Err(Trouble::Forgotten)
        }
        [2, ahead] => Err(ConnectError::apart(*ahead).into()),
        _ => Err(ConnectError::nonsense().into()),
    }
}

fn meaning(answer: i64) -> Option<Answer> {
    match answer {
        0 => Some(Ok(Seen::Never)),
        1 => Some(Ok(Seen::Before)),
        wait => u32::try_from(wait.checked_sub(10)?).ok().map(|retry_after| Ok(Seen::OverQuota { retry_after })),
    }
}

/// Who has gone away meanwhile has left a record, and nobody was let in by it; nor is another let in by the same.
fn tell((first, others): Asked, answer: Answer) {
    let _ = first.answer.send(answer);
    let again = if answer == Ok(Seen::Never) { Ok(Seen::Before) } else { answer };
    for other in others {
        let _ = other.answer.send(again);
    }
}

/// What is answered to a proof that would have to be kept for longer than anything is.
pub(crate) const TOO_LONG: Answer = Err(Fault::ReplayFull);
