//! `keybound request`: like curl, with token, proof and nonce taken care of.

pub(crate) mod data;
mod report;
mod trace;
mod transfer;
mod write_out;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use keybound::challenge::DPOP_NONCE;
use keybound::client::ServerMemory;
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::nonce::{Nonce, Role};
use keybound::request::TargetUri;
use keybound_client::{Certificate, Client, ClientBuilder};

use self::report::Verbose;
use self::trace::Trace;
use self::transfer::{Sink, Transfer};
use crate::access::{Access, Cache, reachable, variable};
use crate::outcome::{Failure, Outcome, Result};
use crate::proof::nonce;
use crate::token::block_on;

/// Send requests with a bound token and a proof
///
/// The token is got from the issuer and kept, or given with --token. Nonces, expired tokens and redirects within a server
/// are dealt with; token and proof never go to another server. The status is 0 if every answer is below 400, else 1; 2 if the
/// command line is to be mended. Options are curl's where there is one of the kind.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound request --issuer https://id.example.com --client-id orders-job https://api.example.com/orders
  keybound request --key orders --token $TOKEN -v https://api.example.com/orders/1 https://api.example.com/orders/2
  keybound request --profile orders --data-json '{\"sku\": 17}' https://api.example.com/orders
  keybound request --profile orders --trace https://api.example.com/orders

--json is about what is printed. For a body of JSON there is --data-json.")]
pub(crate) struct Request {
    /// The method; POST if there is data, else GET
    #[arg(short = 'X', long = "method", visible_alias = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A field of the request; may be given again
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = data::field)]
    fields: Vec<(HeaderName, HeaderValue)>,
    /// Data to send, as a form unless -H says otherwise; @FILE sends a file without its line ends, @- standard input; several
    /// are joined by &
    #[arg(short, long, value_name = "DATA|@FILE", visible_alias = "data-ascii")]
    data: Vec<String>,
    /// The same, with files sent as they are
    #[arg(long, value_name = "DATA|@FILE")]
    data_binary: Vec<String>,
    /// The same, with @ meaning itself
    #[arg(long, value_name = "DATA")]
    data_raw: Vec<String>,
    /// The same, with the text encoded: TEXT, NAME=TEXT, @FILE, NAME@FILE; behind the other data
    #[arg(long, value_name = "DATA")]
    data_urlencode: Vec<String>,
    /// JSON to send, @FILE from a file, with Content-Type and Accept
    #[arg(long, value_name = "JSON|@FILE", conflicts_with_all = DATA)]
    data_json: Option<String>,
    /// A part of a form: NAME=TEXT, NAME=@FILE for a file, NAME=<FILE for its text, ;type= behind a file; may be given again
    #[arg(short = 'F', long, value_name = "NAME=VALUE", conflicts_with_all = DATA, conflicts_with = "data_json")]
    form: Vec<String>,
    /// Send a file, by PUT unless -X says otherwise; - for standard input
    #[arg(short = 'T', long, value_name = "FILE", conflicts_with_all = DATA, conflicts_with_all = ["data_json", "form"])]
    upload_file: Option<String>,
    /// Put the data into the query, and send GET
    #[arg(short = 'G', long, conflicts_with_all = ["data_json", "form", "upload_file"])]
    get: bool,
    /// Add this to the query, encoded as with --data-urlencode; may be given again
    #[arg(long, value_name = "DATA")]
    url_query: Vec<String>,
    /// Send HEAD, and print status and fields
    #[arg(short = 'I', long, conflicts_with = "json")]
    head: bool,
    /// The value of User-Agent
    #[arg(short = 'A', long, value_name = "TEXT")]
    user_agent: Option<HeaderValue>,
    /// Write to a file instead of standard output (-); given once for each URL, to a file for each
    #[arg(short, long, value_name = "FILE")]
    output: Vec<PathBuf>,
    /// Print status and fields of the answer too
    #[arg(short, long, conflicts_with = "json")]
    include: bool,
    /// Do not print the body of an answer that is 400 or above
    #[arg(short, long, conflicts_with = "json")]
    fail: bool,
    /// Print this on standard output behind each answer: text with \n, \t, and %{http_code}, %{size_download}, %{time_total}, %{url_effective},
    /// %{content_type}, %{num_attempts}
    #[arg(short, long, value_name = "FORMAT", conflicts_with = "json")]
    write_out: Option<String>,
    /// Say nothing on standard error
    #[arg(short, long, conflicts_with_all = ["verbose", "trace"])]
    silent: bool,
    /// With --silent, say what went wrong all the same
    #[arg(short = 'S', long)]
    show_error: bool,
    /// Show every request and answer, token requests too; tokens, proofs and secrets are left out
    #[arg(short, long)]
    verbose: bool,
    /// The same, and each proof taken apart: what it is about, by which key; its nonce and jti are cut short
    #[arg(long)]
    trace: bool,
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
    /// Trust the certificate authorities in this PEM file too
    #[arg(long, value_name = "FILE")]
    cacert: Option<PathBuf>,
    /// How long connecting may take
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    connect_timeout: Option<Duration>,
    /// How long each URL may take
    #[arg(short, long, value_name = "SECONDS", value_parser = seconds)]
    max_time: Option<Duration>,
    /// Redirects within a server are followed anyway; this is for the habit
    #[arg(short = 'L', long)]
    location: bool,
    /// How many redirects in a row to follow; with 0 a redirect is the answer
    #[arg(long, value_name = "NUMBER", default_value_t = 5)]
    max_redirs: usize,
    /// Where to send it, one after the other
    #[arg(required = true, value_name = "URL", value_parser = reachable)]
    urls: Vec<String>,
}

/// The options whose data is joined.
const DATA: [&str; 4] = ["data", "data_binary", "data_raw", "data_urlencode"];

/// What the options about data come to.
#[derive(Default)]
struct Payload {
    body: Option<Bytes>,
    content_type: Option<String>,
    accept: Option<&'static str>,
    query: String,
    method: Option<Method>,
}

impl Request {
    pub(crate) fn run(&self) -> Result {
        let payload = self.payload()?;
        let urls = self.urls.iter().map(|url| data::with_query(url, &payload.query));
        let urls: Vec<String> = urls.collect();
        let client = self.client()?;
        let fields = self.fields(&payload)?;
        let transfer = Transfer {
            client,
            method: self.method.clone().or(payload.method).unwrap_or(Method::GET),
            fields,
            body: payload.body.unwrap_or_default(),
            max_time: self.max_time,
            include: self.include || self.head,
            fail: self.fail,
            quiet: self.silent && !self.show_error,
            write_out: self.write_out.clone(),
            json: self.json,
        };
        let (mut sink, others) = self.sinks()?;
        let mut others = others.into_iter();
        block_on(async {
            let mut outcome = Outcome::Done;
            for url in &urls {
                if transfer.run(url, &mut sink).await? == Outcome::Refused {
                    outcome = Outcome::Refused;
                }
                if let Some(next) = others.next() {
                    sink = next;
                }
            }
            Ok(outcome)
        })?
    }

    /// Where the answers go: all to the first place, or each to its own. Known before anything is sent.
    fn sinks(&self) -> std::result::Result<(Sink, Vec<Sink>), Failure> {
        let (files, urls) = (self.output.len(), self.urls.len());
        if files > 1 && files != urls {
            let why = format!("-o is given {files} times for {urls} URLs: once for all, or once for each");
            return Err(Failure::usage(why));
        }
        let mut paths = self.output.iter().map(|path| (path.as_os_str() != "-").then_some(&**path));
        let first = Sink::open(paths.next().flatten())?;
        Ok((first, paths.map(Sink::open).collect::<std::result::Result<_, _>>()?))
    }

    fn payload(&self) -> std::result::Result<Payload, Failure> {
        let mut payload = Payload::default();
        if let Some(json) = &self.data_json {
            payload.body = Some(data::json(json)?);
            payload.content_type = Some("application/json".to_owned());
            payload.accept = Some("application/json");
        } else if !self.form.is_empty() {
            let random: [u8; 16] = random_array().map_err(Failure::failed)?;
            let (body, content_type) = data::form(&self.form, &format!("keybound-{}", encode_base64url(&random)))?;
            (payload.body, payload.content_type) = (Some(body), Some(content_type));
        } else if let Some(file) = &self.upload_file {
            payload.body = Some(data::whole(file)?);
            payload.method = Some(Method::PUT);
        } else {
            payload.body = self.data()?;
            payload.content_type = Some("application/x-www-form-urlencoded".to_owned());
        }
        let mut query: Vec<String> = Vec::new();
        if self.get {
            let body = payload.body.take().unwrap_or_default();
            query.extend(
                String::from_utf8(body.into())
                    .map(|text| (!text.is_empty()).then_some(text))
                    .map_err(|_| Failure::usage("the data is no text, and cannot stand in a query"))?,
            );
            payload.method = Some(Method::GET);
        }
        for piece in &self.url_query {
            query.push(data::encoded(piece)?);
        }
        payload.query = query.join("&");
        if payload.body.is_some() {
            payload.method = payload.method.or(Some(Method::POST));
        }
        if self.head {
            payload.method = Some(Method::HEAD);
        }
        Ok(payload)
    }

    /// The data that is joined.
    fn data(&self) -> std::result::Result<Option<Bytes>, Failure> {
        let mut pieces: Vec<Bytes> = Vec::new();
        pieces.extend(data::read(&self.data, &self.data_binary)?);
        pieces.extend(self.data_raw.iter().map(|text| Bytes::from(text.clone())));
        for piece in &self.data_urlencode {
            pieces.push(data::encoded(piece)?.into());
        }
        Ok((!pieces.is_empty()).then(|| pieces.join(&b'&').into()))
    }

    fn fields(&self, payload: &Payload) -> std::result::Result<HeaderMap, Failure> {
        let mut fields: HeaderMap = HeaderMap::new();
        for (name, value) in &self.fields {
            fields.append(name, value.clone());
        }
        if let Some(content_type) = payload.content_type.as_ref().filter(|_| payload.body.is_some()) {
            let value = HeaderValue::try_from(content_type).map_err(Failure::usage)?;
            fields.entry(CONTENT_TYPE).or_insert(value);
        }
        if let Some(accept) = payload.accept {
            fields.entry(ACCEPT).or_insert(HeaderValue::from_static(accept));
        }
        if let Some(user_agent) = &self.user_agent {
            fields.insert(USER_AGENT, user_agent.clone());
        }
        Ok(fields)
    }

    fn client(&self) -> std::result::Result<Client, Failure> {
        let mut builder = self.builder()?.redirects(self.max_redirs);
        if self.trace {
            builder = builder.watch(Trace);
        } else if self.verbose {
            builder = builder.watch(Verbose);
        }
        if let Some(limit) = self.connect_timeout {
            builder = builder.connect_timeout(limit);
        }
        if let Some(path) = &self.cacert {
            let failed = |why: &dyn std::fmt::Display| Failure::usage(format!("{}: {why}", path.display()));
            let text = std::fs::read(path).map_err(|why| failed(&why))?;
            let all = Certificate::from_pem_bundle(&text).map_err(|why| failed(&why))?;
            builder = all.into_iter().fold(builder, ClientBuilder::root_certificate);
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
        if self.fresh && !access.has_issuer() {
            return Err(Failure::usage("--fresh needs --issuer: a token that is given cannot be got anew"));
        }
        if let Some(token) = &self.token {
            return access.client_with(token.clone());
        }
        if access.has_issuer() {
            let cache = match (self.fresh, self.verbose || self.trace) {
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
