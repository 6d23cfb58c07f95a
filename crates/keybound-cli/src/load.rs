//! `keybound load`: many requests, each with a fresh proof, and how long the answers took.

mod callers;
mod report;
mod watch;

use std::num::NonZeroUsize;
use std::time::Duration;

use clap::{Args, ValueEnum};
use http::{HeaderName, HeaderValue, Method};
use keybound::crypto::Alg;
use keybound_probe::load::{Load as Plan, LoadError};

use self::callers::Callers;
use crate::access::Access;
use crate::outcome::{Failure, Outcome, Result};
use crate::request::data;

/// Put load on a server, with a fresh proof per request
///
/// As fast as --connections are answered, or at a --rate, whatever the server makes of it: then the time of an answer runs
/// from when its request was due. Proofs are signed ahead, on threads of their own; nonces are followed; tokens are got from
/// the issuer, one for each of --keys, or given. The status is 0 if every answer is a success, else 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound load --issuer https://id.example.com --client-id bench --rate 500 --duration 60 https://api.example.com/orders
  keybound load --issuer https://id.example.com --client-id bench --keys 100 --connections 256 https://api.example.com/orders
  keybound load --scheme none --requests 100000 --json http://127.0.0.1:8080/public")]
pub(crate) struct Load {
    /// Open loop: so many requests a second, on the connections as they are free; from 10,000 on, up to 150 µs late
    #[arg(long, value_name = "NUMBER", value_parser = positive)]
    rate: Option<f64>,
    /// How many connections
    #[arg(short, long, value_name = "NUMBER", value_parser = some, default_value = "64")]
    connections: NonZeroUsize,
    /// For how long; 10 unless --requests is given
    #[arg(short = 't', long, value_name = "SECONDS", value_parser = seconds)]
    duration: Option<Duration>,
    /// How many requests
    #[arg(short = 'n', long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    requests: Option<u64>,
    /// Send for so long before anything is counted; 1 unless --requests is given, then 0
    #[arg(long, value_name = "SECONDS", value_parser = seconds_or_none)]
    warm_up: Option<Duration>,
    /// How long a request may take
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds, default_value = "10")]
    max_time: Duration,
    /// The method; POST if there is data, else GET
    #[arg(short = 'X', long = "method", visible_alias = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A field of each request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = data::field)]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Data to send, as with keybound request
    #[arg(short, long, value_name = "DATA|@FILE")]
    data: Vec<String>,
    /// The same, with files sent as they are
    #[arg(long, value_name = "DATA|@FILE")]
    data_binary: Vec<String>,
    /// What goes with each request; bearer and none are for comparison
    #[arg(long, value_enum, default_value_t)]
    scheme: Scheme,
    /// A token; with the scheme dpop it is bound to --key. Better in KEYBOUND_TOKEN, other users see command lines
    #[arg(long, value_name = "TOKEN", conflicts_with = "issuer")]
    token: Option<String>,
    /// How many keys take turns, each with a token of its own; they are made anew for each run
    #[arg(long, value_name = "NUMBER", value_parser = some, default_value = "1", conflicts_with_all = ["token", "key"])]
    keys: NonZeroUsize,
    /// The algorithm of those keys
    #[arg(long, value_name = "ALG", default_value = "ES256", conflicts_with = "key")]
    alg: Alg,
    #[command(flatten)]
    access: Access,
    /// How many threads send; half of the processors unless set, and the others sign
    #[arg(long, value_name = "NUMBER", value_parser = some)]
    threads: Option<NonZeroUsize>,
    /// Print one JSON object; times are in seconds
    #[arg(long)]
    json: bool,
    /// Where to send the requests
    #[arg(value_name = "URL")]
    url: String,
}

/// What goes with each request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum Scheme {
    /// Token and proof
    #[default]
    Dpop,
    /// The token alone, under Bearer
    Bearer,
    /// Neither
    None,
}

impl Load {
    pub(crate) fn run(mut self) -> Result {
        self.access = self.access.settled()?;
        let plan = self.plan()?;
        let callers = Callers::of(&self)?;
        let plan = callers.join(plan)?;
        let report = watch::to_the_end(&plan, &self, &callers)?.finish().map_err(failure)?;
        report::print(&self, &report)?;
        Ok(if report.is_good() { Outcome::Done } else { Outcome::Refused })
    }

    fn plan(&self) -> std::result::Result<Plan, Failure> {
        let body = data::read(&self.data, &self.data_binary)?;
        let mut plan = Plan::new(&self.url)
            .map_err(failure)?
            .method(self.method.clone().unwrap_or(if body.is_some() { Method::POST } else { Method::GET }))
            .connections(self.connections)
            .patience(self.max_time)
            .warm_up(self.warm_up());
        if body.is_some() && !self.fields.iter().any(|(name, _)| name == http::header::CONTENT_TYPE) {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            plan = plan.field(http::header::CONTENT_TYPE, form);
        }
        for (name, value) in &self.fields {
            plan = plan.field(name.clone(), value.clone());
        }
        if let Some(rate) = self.rate {
            plan = plan.rate(rate);
        }
        if let Some(duration) = self.duration() {
            plan = plan.duration(duration);
        }
        if let Some(requests) = self.requests {
            plan = plan.requests(requests);
        }
        if let Some(threads) = self.threads {
            plan = plan.workers(threads);
        }
        Ok(plan.body(body.unwrap_or_default()))
    }

    fn duration(&self) -> Option<Duration> {
        self.duration.or((self.requests.is_none()).then_some(Duration::from_secs(10)))
    }

    fn warm_up(&self) -> Duration {
        self.warm_up.unwrap_or(if self.requests.is_some() { Duration::ZERO } else { Duration::from_secs(1) })
    }
}

/// What is wrong with the command line is told from what went wrong with the server.
fn failure(error: LoadError) -> Failure {
    match error {
        LoadError::Url(_) | LoadError::PlainHttp(_) | LoadError::Rate(_) | LoadError::Token(_) | LoadError::Key(_) => {
            Failure::usage(error)
        }
        other => Failure::failed(other),
    }
}

fn some(text: &str) -> std::result::Result<NonZeroUsize, String> {
    text.parse().map_err(|_| "not a whole number above 0".to_owned())
}

fn positive(text: &str) -> std::result::Result<f64, String> {
    let number = text.parse().ok().filter(|number: &f64| number.is_finite() && *number > 0.0);
    number.ok_or_else(|| "not a number above 0".to_owned())
}

fn seconds(text: &str) -> std::result::Result<Duration, String> {
    // As the configuration writes them too.
    positive(text.strip_suffix('s').unwrap_or(text))
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a number of seconds above 0".to_owned())
}

fn seconds_or_none(text: &str) -> std::result::Result<Duration, String> {
    if text.parse() == Ok(0.0) { Ok(Duration::ZERO) } else { seconds(text) }
}
