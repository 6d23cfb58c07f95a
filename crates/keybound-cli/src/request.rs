//! `keybound request`: like curl, with token, proof and nonce handled.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use http::{HeaderName, HeaderValue, Method};
use keybound::challenge::DpopChallenge;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use keybound::refusal::Reason;
use keybound_client::files::KeyStore;
use keybound_client::{Authentication, Client, ClientCredentials, Error, PlainHttp, Response, Secret};

use crate::outcome::{Failure, Outcome, Result};

/// Send requests with a bound token and a fresh proof each
///
/// Token and nonces are kept between the URLs of one run. Plain http is for loopback hosts only.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound request --issuer https://id.example.com --client-id job https://api.example.com/orders
  keybound request -X POST -d '{\"a\":1}' -H 'content-type: application/json' --issuer … --client-id job URL URL")]
pub(crate) struct Request {
    /// The method; GET, or POST with --data
    #[arg(short = 'X', long = "request", value_name = "METHOD")]
    method: Option<Method>,
    /// A field to send, `Name: value`
    #[arg(short = 'H', long = "header", value_name = "FIELD", value_parser = field)]
    headers: Vec<(HeaderName, HeaderValue)>,
    /// The body
    #[arg(short = 'd', long = "data", value_name = "DATA")]
    data: Option<String>,
    /// Print status and fields before the body
    #[arg(short = 'i', long = "include")]
    include: bool,
    /// Who issues the token
    #[arg(long, value_name = "URL")]
    issuer: String,
    /// As which client
    #[arg(long, value_name = "ID")]
    client_id: String,
    /// The client's secret
    #[arg(long, value_name = "SECRET", env = "KEYBOUND_CLIENT_SECRET", hide_env_values = true)]
    client_secret: Option<String>,
    /// A file with the client's secret
    #[arg(long, value_name = "FILE", conflicts_with = "client_secret")]
    client_secret_file: Option<PathBuf>,
    /// The scope to ask for
    #[arg(long, value_name = "SCOPE")]
    scope: Option<String>,
    /// A key of this user, by name; a new one for this run unless given
    #[arg(long, value_name = "NAME")]
    key: Option<String>,
    /// What to request
    #[arg(required = true, value_name = "URL")]
    urls: Vec<String>,
}

impl Request {
    pub(crate) fn run(&self) -> Result {
        let client = self.client()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
        runtime.block_on(async {
            let mut outcome = Outcome::Done;
            for url in &self.urls {
                if self.one(&client, url).await? == Outcome::Refused {
                    outcome = Outcome::Refused;
                }
            }
            Ok(outcome)
        })
    }

    fn client(&self) -> std::result::Result<Client, Failure> {
        let key = match &self.key {
            Some(name) => {
                let store = KeyStore::of_user().ok_or_else(|| Failure::usage("this user has no home for keys"))?;
                store.load(name).map_err(Failure::failed)?
            }
            None => SoftwareKey::generate(Alg::Es256).map_err(Failure::failed)?,
        };
        let mut access = ClientCredentials::new(self.issuer.as_str(), self.client_id.as_str());
        if let Some(secret) = self.secret()? {
            access = access.authentication(Authentication::Secret(Secret::new(secret)));
        }
        if let Some(scope) = &self.scope {
            access = access.scope(scope.as_str());
        }
        let builder = Client::builder(Arc::new(key)).client_credentials(access).plain_http(PlainHttp::Loopback);
        builder.build().map_err(Failure::failed)
    }

    fn secret(&self) -> std::result::Result<Option<String>, Failure> {
        let Some(path) = &self.client_secret_file else { return Ok(self.client_secret.clone()) };
        let text =
            std::fs::read_to_string(path).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))?;
        Ok(Some(text.trim_end_matches(['\r', '\n']).to_owned()))
    }

    async fn one(&self, client: &Client, url: &str) -> Result {
        let usual = if self.data.is_some() { Method::POST } else { Method::GET };
        let mut request = client.request(self.method.clone().unwrap_or(usual), url);
        for (name, value) in &self.headers {
            request = request.header(name.clone(), value.clone());
        }
        if let Some(data) = &self.data {
            request = request.body(data.clone());
        }
        let response = match request.send().await {
            Ok(response) => response,
            Err(Error::Refused(refused)) => refused.into_response(),
            Err(error) => return Err(Failure::failed(format!("{url}: {error}"))),
        };
        self.show(response).await
    }

    async fn show(&self, mut response: Response) -> Result {
        let (mut out, status) = (std::io::stdout(), response.status());
        if self.include {
            println!("{:?} {status}", response.version());
            for (name, value) in response.headers() {
                println!("{name}: {}", value.to_str().unwrap_or("(not ASCII)"));
            }
            println!();
        }
        let challenge = DpopChallenge::find(response.headers());
        while let Some(piece) = response.chunk().await.map_err(Failure::failed)? {
            out.write_all(&piece).map_err(Failure::failed)?;
        }
        out.flush().map_err(Failure::failed)?;
        if status.as_u16() < 400 {
            return Ok(Outcome::Done);
        }
        let reason = challenge.as_ref().and_then(|challenge| challenge.error_description());
        match reason.and_then(Reason::from_code).map(Reason::entry) {
            Some(row) => anstream::eprintln!("{status}: {}: {}; {}", row.code, row.meaning, row.advice),
            None => anstream::eprintln!("{status}"),
        }
        Ok(Outcome::Refused)
    }
}

fn field(text: &str) -> std::result::Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("a field is `Name: value`")?;
    let name = name.trim().parse().map_err(|_| "not the name of a field".to_owned())?;
    let value = value.trim().parse().map_err(|_| "not the value of a field".to_owned())?;
    Ok((name, value))
}
