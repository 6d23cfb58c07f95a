//! `keybound request`: like curl, with token, proof and nonce taken care of.

pub(crate) mod data;
mod report;
mod transfer;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keybound::challenge::DPOP_NONCE;
use keybound::client::ServerMemory;
use keybound::nonce::{Nonce, Role};
use keybound::request::TargetUri;
use keybound_client::{Client, ClientBuilder};

use self::report::Verbose;
use self::transfer::{Sink, Transfer};
use crate::access::{Access, Cache, reachable, variable};
use crate::outcome::{Failure, Outcome, Result};
use crate::proof::nonce;
use crate::token::block_on;

/// Send requests with a bound token and a proof
///
/// The token is got from the issuer and kept, or given with --token. Nonces, expired tokens and redirects within a server
/// are dealt with; token and proof never go to another server. The status is 0 if every answer is below 400, else 1.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound request --issuer https://id.example.com --client-id orders-job https://api.example.com/orders
  keybound request --key orders --token $TOKEN -v https://api.example.com/orders/1 https://api.example.com/orders/2
  keybound request … -H 'Content-Type: application/json' -d '{\"sku\": 17}' https://api.example.com/orders

--json is about what is printed. For a body of JSON use -d with -H as above.")]
pub(crate) struct Request {
    /// The method; POST if there is data, else GET
    #[arg(short = 'X', long = "method", visible_alias = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A field of the request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = data::field)]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Data to send, as a form unless -H says otherwise; @FILE sends a file without its line ends, @- standard input; several
    /// are joined by &
    #[arg(short, long, value_name = "DATA|@FILE")]
    data: Vec<String>,
    /// The same, with files sent as they are
    #[arg(long, value_name = "DATA|@FILE")]
    data_binary: Vec<String>,
    /// Write to a file instead of standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Print status and fields of the answer too
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Show every request and answer, token requests too; tokens, proofs and secrets are left out
    #[arg(short, long)]
    verbose: bool,
    /// Print one JSON object a line for each URL: url, status, headers, body (body_base64 if it is no text), attempts; error
    /// instead if there is no answer
    #[arg(long)]
    json: bool,
    /// A token that is bound to --key; better in KEYBOUND_TOKEN, other users see command lines
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, requires = "key", conflicts_with = "issuer")]
    token: Option<String>,
    #[command(flatten)]
    access: Access,
    /// Get a new token even if there is one that is good
    #[arg(long)]
    fresh: bool,
    /// A nonce of the first URL's server, if one is known
    #[arg(long, value_name = "NONCE", allow_hyphen_values = true, value_parser = nonce)]
    nonce: Option<Nonce>,
    /// How long each URL may take
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    max_time: Option<Duration>,
    /// How many redirects in a row to follow; with 0 a redirect is the answer
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    max_redirs: usize,
    /// Where to send it, one after the other
    #[arg(required = true, value_name = "URL", value_parser = reachable)]
    urls: Vec<String>,
}

impl Request {
    pub(crate) fn run(&self) -> Result {
        let body = data::read(&self.data, &self.data_binary)?;
        let client = self.client()?;
        let mut fields: HeaderMap = HeaderMap::new();
        for (name, value) in &self.fields {
            fields.append(name, value.clone());
        }
        if body.is_some() && !fields.contains_key(http::header::CONTENT_TYPE) {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            fields.insert(http::header::CONTENT_TYPE, form);
        }
        let default = if body.is_some() { Method::POST } else { Method::GET };
        let transfer = Transfer {
            client,
            method: self.method.clone().unwrap_or(default),
            fields,
            body: body.unwrap_or_default(),
            max_time: self.max_time,
            include: self.include,
            json: self.json,
        };
        let mut sink = Sink::open(self.output.as_deref())?;
        block_on(async {
            let mut outcome = Outcome::Done;
            for url in &self.urls {
                if transfer.run(url, &mut sink).await? == Outcome::Refused {
                    outcome = Outcome::Refused;
                }
            }
            Ok(outcome)
        })?
    }

    fn client(&self) -> std::result::Result<Client, Failure> {
        let mut builder = self.builder()?.redirects(self.max_redirs);
        if self.verbose {
            builder = builder.watch(Verbose);
        }
        if let (Some(nonce), Some(url)) = (&self.nonce, self.urls.first()) {
            let target = TargetUri::parse(url).map_err(|why| Failure::usage(format!("{url}: {why}")))?;
            let mut fields = HeaderMap::new();
            let nonce = HeaderValue::try_from(nonce.as_str()).map_err(Failure::usage)?;
            fields.insert(&DPOP_NONCE, nonce);
            let servers = ServerMemory::new();
            let now = std::time::SystemTime::now().into();
            servers.learn(target.origin(), Role::ResourceServer, &fields, now);
            builder = builder.servers(Arc::new(servers));
        }
        builder.build().map_err(Failure::failed)
    }

    /// The token of the command line, else the issuer, else the token of the environment.
    fn builder(&self) -> std::result::Result<ClientBuilder, Failure> {
        let access = self.access.settled()?;
        if let Some(token) = &self.token {
            return access.client_with(token.clone());
        }
        if access.has_issuer() {
            let cache = match (self.fresh, self.verbose) {
                (true, _) => Cache::Skipped,
                (false, true) => Cache::Shown,
                (false, false) => Cache::Used,
            };
            return access.client(cache);
        }
        match variable("KEYBOUND_TOKEN")? {
            Some(token) => access.client_with(token),
            None => {
                Err(Failure::usage("there is no token: give --issuer and --client-id to get one, or --token and --key"))
            }
        }
    }
}

pub(crate) fn seconds(text: &str) -> std::result::Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| *seconds > 0.0);
    seconds
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "not a number of seconds above 0".to_owned())
}
