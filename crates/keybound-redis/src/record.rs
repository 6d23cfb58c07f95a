//! Records at one server, many in one step: what comes in while an answer is under way goes with the next question.

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use keybound::refusal::Fault;
use keybound::replay::Seen;
use keybound_tower::pinned::{APART, Answer, ConnectError, Trouble};
use redis::{RedisError, Script, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::dial::{Link, Operands};
use crate::error::answered;
use crate::server::{self, Life, Marker};
use crate::settings::RedisSettings;

const RECORD: &str = include_str!("record.lua");
static RECORDING: LazyLock<Script> = LazyLock::new(|| Script::new(RECORD));

const TEXT: &str = include_str!("text.lua");
static TEXTING: LazyLock<Script> = LazyLock::new(|| Script::new(TEXT));

/// Records that wait for one server; one more is turned away.
const WAITING: usize = 8192;

/// Records in one question: a server answers nobody else meanwhile, for about half a millisecond.
const TOGETHER: usize = 128;

/// Questions under way at once.
const UNDER_WAY: usize = 4;

/// One record to make.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) lane: usize,
    pub(crate) record: [u8; 16],
    pub(crate) tally: [u8; 16],
    pub(crate) keep: Duration,
    pub(crate) answer: oneshot::Sender<Answer>,
}

/// One server in one life of it.
#[derive(Debug)]
pub(crate) struct Exchange {
    link: Link,
    life: Life,
    markers: Arc<[Marker]>,
    settings: RedisSettings,
}

impl Exchange {
    pub(crate) fn new(link: Link, life: Life, settings: &RedisSettings, markers: Arc<[Marker]>) -> Self {
        Self { link, life, markers, settings: settings.clone() }
    }

    /// Takes jobs from now on, until the first trouble or until nobody has any more.
    pub(crate) fn start(self: &Arc<Self>, troubles: mpsc::UnboundedSender<Trouble>) -> mpsc::Sender<Job> {
        let (jobs, coming) = mpsc::channel(WAITING);
        let own = Arc::clone(self);
        tokio::spawn(async move {
            if let Err(trouble) = own.work(coming).await {
                // Nobody listens once the store is gone.
                let _ = troubles.send(trouble);
            }
        });
        jobs
    }

    /// What is under way when there is trouble is dropped, and so answered as unreachable: it may have been recorded.
    async fn work(&self, mut jobs: mpsc::Receiver<Job>) -> Result<(), Trouble> {
        let mut under_way = FuturesUnordered::new();
        loop {
            tokio::select! {
                biased;
                Some(outcome) = under_way.next() => outcome?,
                job = jobs.recv(), if under_way.len() < UNDER_WAY => {
                    let Some(first) = job else { break };
                    let mut by_lane = BTreeMap::<usize, Vec<Job>>::new();
                    by_lane.entry(first.lane).or_default().push(first);
                    for _ in 1..TOGETHER {
                        let Ok(job) = jobs.try_recv() else { break };
                        by_lane.entry(job.lane).or_default().push(job);
                    }
                    for (lane, together) in by_lane {
                        under_way.push(self.record(lane, together));
                    }
                }
            }
        }
        while let Some(outcome) = under_way.next().await {
            outcome?;
        }
        Ok(())
    }

    /// Records nothing, and so says whether the server is still what it was.
    pub(crate) async fn probe(&self, lane: usize) -> Result<(), Trouble> {
        self.record(lane, Vec::new()).await
    }

    /// Looks at the server again as at first.
    pub(crate) async fn examine(&self) -> Result<(), Trouble> {
        server::examine(&self.link, &self.settings).await.map(|_| ()).map_err(Trouble::Failed)
    }

    /// What the text that nodes share is now, which has its place in the first lane.
    pub(crate) async fn text(&self, change: Option<(&[u8], &[u8])>) -> Result<Vec<u8>, Trouble> {
        let mut operands = Operands::default();
        operands.key([&server::prefix(&self.settings, 0)[..], b"n"].concat());
        operands
            .argument(self.life.line.as_str())
            .argument(server::now_in_milliseconds().to_string())
            .argument(APART.as_millis().to_string());
        if let Some((old, new)) = change {
            operands.argument(old).argument(new);
        }
        let answer = self.link.run(&TEXTING, TEXT, &operands).await;
        match answer.map_err(|error| answered(&error))? {
            Value::Array(parts) => match &parts[..] {
                [Value::Int(0), Value::BulkString(text)] => Ok(text.clone()),
                [Value::Int(1)] => Err(Trouble::Forgotten),
                [Value::Int(2), Value::Int(ahead)] => Err(ConnectError::apart(*ahead).into()),
                _ => Err(ConnectError::nonsense().into()),
            },
            _ => Err(ConnectError::nonsense().into()),
        }
    }

    async fn record(&self, lane: usize, mut jobs: Vec<Job>) -> Result<(), Trouble> {
        // Nobody waits for those any more, and they would only be in the way.
        jobs.retain(|job| !job.answer.is_closed());
        let operands = self.operands(lane, &jobs);
        let asking = self.link.run(&RECORDING, RECORD, &operands);
        let Ok(answer) = timeout(self.patience(), asking).await else {
            return Err(ConnectError::passing("does not answer in time").into());
        };
        match answer {
            Ok(Value::Array(parts)) => self.deal_out(jobs, &parts),
            Ok(_) => Err(ConnectError::nonsense().into()),
            Err(error) => refused(jobs, &error),
        }
    }

    fn deal_out(&self, jobs: Vec<Job>, parts: &[Value]) -> Result<(), Trouble> {
        match parts {
            [Value::Int(0), answers @ ..] if answers.len() == jobs.len() => {
                let answers =
                    answers.iter().map(meaning).collect::<Option<Vec<_>>>().ok_or_else(ConnectError::nonsense)?;
                tell(jobs, answers);
                Ok(())
            }
            [Value::Int(1)] => {
                let forgotten = jobs.iter().map(|_| Ok(Seen::Forgotten)).collect();
                tell(jobs, forgotten);
                Err(Trouble::Forgotten)
            }
            [Value::Int(2), Value::Int(ahead)] => Err(ConnectError::apart(*ahead).into()),
            _ => Err(ConnectError::nonsense().into()),
        }
    }

    fn operands(&self, lane: usize, jobs: &[Job]) -> Operands {
        let mut operands = Operands::default();
        operands.key(server::lane_key(&self.settings, lane));
        operands
            .argument(*self.markers[lane].octets())
            .argument(self.life.line.as_str())
            .argument(server::now_in_milliseconds().to_string())
            .argument(APART.as_millis().to_string())
            .argument(self.settings.per_key.to_string());
        let prefix = server::prefix(&self.settings, lane);
        for job in jobs {
            operands.key([&prefix, &b"q"[..], &job.tally].concat());
            operands.argument(job.record).argument(job.keep.as_millis().to_string());
        }
        operands
    }

    /// A little more than the connection has by itself, which says what happened.
    fn patience(&self) -> Duration {
        self.settings.timeout.saturating_add(Duration::from_millis(50))
    }
}

/// A server refused the whole question: nothing of it was recorded, unless a script failed half way.
fn refused(jobs: Vec<Job>, error: &RedisError) -> Result<(), Trouble> {
    let fault = match error.code().unwrap_or_default() {
        "OOM" => Fault::ReplayFull,
        // One slot is on its way to another server. Whether that is to be asked will be seen when it has arrived; if it is given
        // up, a lane that had gone already is missed by its marker.
        "ASK" | "TRYAGAIN" => Fault::ReplayUnreachable,
        _ => return Err(Trouble::Failed(answered(error))),
    };
    let answers = jobs.iter().map(|_| Err(fault)).collect();
    tell(jobs, answers);
    Ok(())
}

fn meaning(answer: &Value) -> Option<Answer> {
    match answer {
        Value::Int(0) => Some(Ok(Seen::Never)),
        Value::Int(1) => Some(Ok(Seen::Before)),
        Value::Int(2) => Some(Err(Fault::ReplayFull)),
        Value::Int(wait) => {
            u32::try_from(wait.checked_sub(10)?).ok().map(|retry_after| Ok(Seen::OverQuota { retry_after }))
        }
        _ => None,
    }
}

fn tell(jobs: Vec<Job>, answers: Vec<Answer>) {
    for (job, answer) in jobs.into_iter().zip(answers) {
        // Who has gone away meanwhile has left a record, and nobody was let in by it.
        let _ = job.answer.send(answer);
    }
}
