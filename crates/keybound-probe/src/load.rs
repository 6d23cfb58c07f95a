//! A load generator that signs a fresh proof for every request.
//!
//! Proofs are signed ahead, on threads of their own, so that signing is not what is measured. The pace is either as fast as
//! so many connections are answered (closed loop), or a rate, whatever the server makes of it (open loop): then the time of
//! an answer runs from the moment its request was due, so that a server that stalls is charged for all who waited.
//!
//! ```no_run
//! use std::sync::Arc;
//! use std::time::Duration;
//! use keybound::crypto::{Alg, aws_lc::SoftwareKey};
//! use keybound_probe::load::{Caller, Load};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let key = Arc::new(SoftwareKey::generate(Alg::Es256)?);
//! let token = std::env::var("TOKEN")?; // bound to that key
//! let load = Load::new("https://api.example.com/orders")?
//!     .caller(Caller::new(key, &token)?)
//!     .rate(500.0)
//!     .duration(Duration::from_secs(30));
//! let report = load.start()?.finish()?;
//! println!("{:.0}/s, p99 {:?}", report.rate(), report.quantile(0.99));
//! # Ok(())
//! # }
//! ```

mod caller;
mod connection;
mod error;
mod mint;
mod pace;
mod report;
mod running;
mod tally;
mod target;
mod worker;

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue, Method};

pub use caller::Caller;
pub use error::LoadError;
pub use report::{Failure, Report};
pub use running::{Progress, Running};

use target::Target;

/// What to send, where, how fast and for how long.
#[derive(Clone, Debug)]
#[must_use = "nothing is sent until it is started"]
pub struct Load {
    target: Arc<Target>,
    method: Method,
    fields: HeaderMap,
    body: Bytes,
    callers: Vec<Caller>,
    connections: NonZeroUsize,
    rate: Option<f64>,
    duration: Option<Duration>,
    requests: Option<u64>,
    warm_up: Duration,
    patience: Duration,
    workers: NonZeroUsize,
    signers: NonZeroUsize,
}

impl Load {
    /// GET requests to this URL, without a token, on 64 connections, as fast as they are answered, until stopped. The name
    /// of the server is looked up now.
    ///
    /// # Errors
    ///
    /// [`LoadError::Url`], [`LoadError::PlainHttp`] for http that is not to this machine, [`LoadError::Lookup`],
    /// [`LoadError::Tls`] if there are no root certificates.
    pub fn new(url: &str) -> Result<Self, LoadError> {
        let cores = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let half = NonZeroUsize::new(cores / 2).unwrap_or(NonZeroUsize::MIN);
        Ok(Self {
            target: Arc::new(Target::new(url)?),
            method: Method::GET,
            fields: HeaderMap::new(),
            body: Bytes::new(),
            callers: Vec::new(),
            connections: const { NonZeroUsize::new(64).unwrap() },
            rate: None,
            duration: None,
            requests: None,
            warm_up: Duration::ZERO,
            patience: Duration::from_secs(10),
            workers: half,
            signers: NonZeroUsize::new(cores - half.get().min(cores - 1)).unwrap_or(NonZeroUsize::MIN),
        })
    }

    /// Another method.
    pub fn method(self, method: Method) -> Self {
        Self { method, ..self }
    }

    /// One more field of each request.
    pub fn field(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.fields.append(name, value);
        self
    }

    /// The body of each request.
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// One more holder of a key and a token bound to it. The callers take turns; every request has a proof of its own.
    pub fn caller(mut self, caller: Caller) -> Self {
        self.callers.push(caller);
        self
    }

    /// Sends this token under the scheme `Bearer`, without a proof, for comparison.
    ///
    /// # Errors
    ///
    /// [`LoadError::Token`] if it cannot be sent.
    pub fn bearer(mut self, token: &str) -> Result<Self, LoadError> {
        self.fields.insert(AUTHORIZATION, caller::bearer(token)?);
        Ok(self)
    }

    /// On how many connections. In an open loop that is how many requests can wait for an answer at once.
    pub fn connections(self, connections: NonZeroUsize) -> Self {
        Self { connections, ..self }
    }

    /// Open loop: so many requests a second.
    pub fn rate(self, rate: f64) -> Self {
        Self { rate: Some(rate), ..self }
    }

    /// For how long requests are sent, after the warm-up.
    pub fn duration(self, duration: Duration) -> Self {
        Self { duration: Some(duration), ..self }
    }

    /// How many requests are sent, after the warm-up. With a duration too, whichever comes first.
    pub fn requests(self, requests: u64) -> Self {
        Self { requests: Some(requests), ..self }
    }

    /// Requests of this time are sent before, and not counted.
    pub fn warm_up(self, warm_up: Duration) -> Self {
        Self { warm_up, ..self }
    }

    /// How long a request may take, 10 s unless set.
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// How many threads send, half of the processors unless set; the others sign.
    pub fn workers(self, workers: NonZeroUsize) -> Self {
        Self { workers, ..self }
    }

    /// How many threads sign.
    pub fn signers(self, signers: NonZeroUsize) -> Self {
        Self { signers, ..self }
    }

    /// Opens all connections and begins.
    ///
    /// # Errors
    ///
    /// [`LoadError::Connect`] if the server cannot be reached, [`LoadError::Rate`] if the rate is no positive number,
    /// [`LoadError::Thread`] if there can be no more threads.
    pub fn start(&self) -> Result<Running, LoadError> {
        Running::start(self)
    }
}
