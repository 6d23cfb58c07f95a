//! One thread that sends: a runtime of its own, and its share of the connections.

use std::cell::{Cell, RefCell};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::header::AUTHORIZATION;
use http::{HeaderMap, Method, Request, StatusCode, response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use keybound::challenge::{DPOP, DPOP_NONCE, DpopChallenge, ErrorCode};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::caller::Signed;
use super::connection::{Connection, Unanswered};
use super::mint::{Batch, Mint};
use super::pace::{Budget, Schedule};
use super::report::Failure;
use super::running::Progress;
use super::tally::{Tally, error_of, reason};
use super::target::Target;

/// The most that is looked at of the body of a refusal.
const MAX_REFUSAL: usize = 4096;

/// A server that cannot be connected to is not tried again at once.
const BREATH: Duration = Duration::from_millis(100);

/// What all workers share.
pub(crate) struct Job {
    pub(crate) target: Arc<Target>,
    pub(crate) method: Method,
    pub(crate) fields: HeaderMap,
    pub(crate) body: Bytes,
    pub(crate) mint: Option<Mint>,
    pub(crate) patience: Duration,
    pub(crate) budget: Budget,
    pub(crate) progress: Progress,
}

/// Where the time of a request comes from.
pub(crate) enum Slots {
    /// It is now, whenever a connection is free.
    Closed,
    /// Somebody else says.
    Open(Mutex<UnboundedReceiver<Instant>>),
}

/// What a worker needs.
pub(crate) struct Work {
    pub(crate) job: Arc<Job>,
    pub(crate) connections: usize,
    pub(crate) slots: Slots,
    /// Told when all connections of all workers are open.
    pub(crate) begun: watch::Receiver<Option<Schedule>>,
}

impl Work {
    /// Opens the connections, says so to `ready`, waits for the beginning, and sends until the end.
    pub(crate) fn run(self, ready: impl FnOnce(io::Result<()>)) -> io::Result<Tally> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build_local(Default::default())?;
        runtime.block_on(self.send(ready))
    }

    async fn send(mut self, ready: impl FnOnce(io::Result<()>)) -> io::Result<Tally> {
        let connections = match self.open().await {
            Ok(connections) => connections,
            Err(error) => {
                ready(Err(error));
                return Ok(Tally::new());
            }
        };
        ready(Ok(()));
        let Ok(Some(schedule)) = self.begun.wait_for(Option::is_some).await.map(|begun| *begun) else {
            return Ok(Tally::new()); // another worker has no connection
        };
        let worker = Rc::new(Worker {
            job: self.job,
            slots: self.slots,
            schedule,
            batch: Mutex::default(),
            tally: RefCell::new(Tally::new()),
            over: Cell::new(false),
        });
        let mut lanes = JoinSet::new();
        for connection in connections {
            lanes.spawn_local(Rc::clone(&worker).lane(connection));
        }
        while let Some(done) = lanes.join_next().await {
            done.map_err(io::Error::other)?;
        }
        let tally = worker.tally.borrow().clone();
        Ok(tally)
    }

    async fn open(&self) -> io::Result<Vec<Connection>> {
        let mut connections = Vec::with_capacity(self.connections);
        for _ in 0..self.connections {
            let opened = timeout(self.job.patience, Connection::open(&self.job.target)).await;
            connections.push(opened.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??);
        }
        Ok(connections)
    }
}

struct Worker {
    job: Arc<Job>,
    slots: Slots,
    schedule: Schedule,
    /// Proofs at hand.
    batch: Mutex<Option<Batch>>,
    tally: RefCell<Tally>,
    /// There are no more proofs.
    over: Cell<bool>,
}

/// What is kept of an answer.
struct Answer {
    status: StatusCode,
    octets: u64,
    /// Of a refusal.
    reason: Option<String>,
    wants_nonce: bool,
}

impl Worker {
    /// One connection, request after request.
    async fn lane(self: Rc<Self>, connection: Connection) {
        let mut connection = Some(connection);
        while let Some(due) = self.next().await {
            if self.exchange(due, &mut connection).await == Some(Failure::Connect) {
                tokio::time::sleep(BREATH).await;
            }
        }
    }

    /// When the next request is, or was, due.
    async fn next(&self) -> Option<Instant> {
        let Slots::Open(slots) = &self.slots else {
            let now = Instant::now();
            return (!self.over.get() && self.job.budget.allows(now, &self.schedule)).then_some(now);
        };
        let mut slots = slots.lock().await;
        loop {
            let due = slots.recv().await?;
            let too_late = self.schedule.end.is_some_and(|end| Instant::now() >= end);
            if !too_late && !self.over.get() && !self.job.budget.is_stopped() {
                return Some(due);
            }
            self.tally.borrow_mut().overdue += 1;
        }
    }

    /// One request with its answer, and its repetition if the server wants a nonce.
    async fn exchange(&self, due: Instant, connection: &mut Option<Connection>) -> Option<Failure> {
        let mut repeated = false;
        let result = loop {
            let Some((request, generation)) = self.request().await else {
                self.over.set(true);
                return None;
            };
            let result = match timeout(self.job.patience, self.deliver(request, connection)).await {
                Ok(result) => result,
                Err(_elapsed) => Err(Failure::Timeout),
            };
            match (&result, &self.job.mint) {
                (Ok(answer), Some(mint)) if answer.wants_nonce => {
                    mint.renew(generation);
                    if repeated {
                        break result;
                    }
                    repeated = true;
                    self.tally.borrow_mut().nonce_retries += 1;
                }
                _ => break result,
            }
        };
        let failure = result.as_ref().err().copied();
        self.count(due, result);
        failure
    }

    fn count(&self, due: Instant, result: Result<Answer, Failure>) {
        let now = Instant::now();
        let good = result.as_ref().is_ok_and(|answer| answer.status.is_success());
        self.job.progress.count(good);
        let mut tally = self.tally.borrow_mut();
        if due < self.schedule.counted {
            tally.warm_up += 1;
            return;
        }
        match result {
            Err(failure) => tally.failed(failure),
            Ok(answer) => {
                tally.answered(answer.status, now.saturating_duration_since(due));
                tally.in_time += u64::from(self.schedule.end.is_none_or(|end| now <= end));
                tally.body_octets += answer.octets;
                if let Some(reason) = answer.reason {
                    tally.refused(&reason);
                }
            }
        }
    }

    /// A request with a proof of its own, if proofs are sent at all, and the generation of that.
    async fn request(&self) -> Option<(Request<Full<Bytes>>, u64)> {
        let job = &*self.job;
        let mut request = Request::new(Full::new(job.body.clone()));
        *request.method_mut() = job.method.clone();
        *request.uri_mut() = job.target.path.clone();
        *request.headers_mut() = job.fields.clone();
        let Some(mint) = &job.mint else { return Some((request, 0)) };
        let (signed, generation) = self.proof(mint).await?;
        if let Some(authorization) = signed.authorization {
            request.headers_mut().insert(AUTHORIZATION, authorization);
        }
        request.headers_mut().insert(&DPOP, signed.proof);
        Some((request, generation))
    }

    async fn proof(&self, mint: &Mint) -> Option<(Signed, u64)> {
        let mut at_hand = self.batch.lock().await;
        loop {
            if let Some(batch) = at_hand.as_mut().filter(|batch| mint.is_good(batch))
                && let Some(signed) = batch.proofs.pop_front()
            {
                return Some((signed, batch.generation));
            }
            let wanted = Instant::now();
            *at_hand = Some(mint.take().await?);
            if wanted >= self.schedule.counted {
                self.tally.borrow_mut().waited_for_proofs += wanted.elapsed();
            }
        }
    }

    /// Sends the request, over a new connection if the old one has ended, and reads the whole answer.
    async fn deliver(
        &self,
        mut request: Request<Full<Bytes>>,
        connection: &mut Option<Connection>,
    ) -> Result<Answer, Failure> {
        loop {
            // Taken out: if this is given up half way, the connection goes too.
            let (mut present, used) = match connection.take() {
                Some(present) => (present, true),
                None => (Connection::open(&self.job.target).await.map_err(|_| Failure::Connect)?, false),
            };
            if used && !present.is_ready().await {
                self.tally.borrow_mut().reconnects += 1;
                continue;
            }
            match present.send(request).await {
                Ok(response) => {
                    let answer = self.read(response).await?;
                    *connection = Some(present);
                    return Ok(answer);
                }
                // The server had closed it before.
                Err(Unanswered::Unsent(back)) if used => {
                    self.tally.borrow_mut().reconnects += 1;
                    request = *back;
                }
                Err(_) => return Err(Failure::Broken),
            }
        }
    }

    async fn read(&self, response: http::Response<Incoming>) -> Result<Answer, Failure> {
        let (head, mut body) = response.into_parts();
        let refused = head.status.is_client_error() || head.status.is_server_error();
        if let Some(mint) = &self.job.mint
            && (refused || head.headers.contains_key(&DPOP_NONCE))
        {
            mint.learn(&head.headers);
        }
        let (mut octets, mut kept) = (0, BytesMut::new());
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame.map_err(|_| Failure::Broken)?.into_data() else { continue };
            octets += data.len() as u64;
            if refused && kept.len() < MAX_REFUSAL {
                kept.extend_from_slice(&data[..data.len().min(MAX_REFUSAL - kept.len())]);
            }
        }
        Ok(Answer {
            status: head.status,
            octets,
            reason: if refused { reason(&head.headers, &kept) } else { None },
            wants_nonce: wants_nonce(&head, &kept),
        })
    }
}

/// A resource says so in its challenge, an authorization server in its JSON (RFC 9449 sections 8 and 9).
fn wants_nonce(head: &response::Parts, body: &[u8]) -> bool {
    match head.status {
        StatusCode::UNAUTHORIZED => {
            let challenge = DpopChallenge::find(&head.headers);
            challenge.and_then(|challenge| challenge.error()) == Some(ErrorCode::UseDpopNonce)
        }
        StatusCode::BAD_REQUEST => error_of(body).as_deref() == Some(ErrorCode::UseDpopNonce.as_str()),
        _ => false,
    }
}
