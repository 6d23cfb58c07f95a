//! `keybound proof`: one proof, for a request that another program sends.

use clap::Args;
use http::Method;
use keybound::client::{Credentials, ProofClaims, Prover};
use keybound::crypto::aws_lc::random_array;
use keybound::nonce::Nonce;
use keybound::request::TargetUri;
use keybound::time::UnixTime;

use crate::access::target;
use crate::explain::time;
use crate::outcome::{Failure, Outcome, Result};
use crate::{key, output};

/// Print a proof for one request
///
/// A proof is good for one request, within minutes: make a new one for the next.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound proof --key orders -X POST https://id.example.com/token
  curl -H \"Authorization: DPoP $TOKEN\" \\
       -H \"$(keybound proof --header --key orders --token $TOKEN https://api.example.com/orders)\" \\
       https://api.example.com/orders")]
pub(crate) struct Proof {
    /// The key to sign with: a name, or a file with a private JWK or PEM
    #[arg(long, value_name = "NAME|FILE")]
    key: String,
    /// The method of the request
    #[arg(short = 'X', long = "method", value_name = "METHOD", default_value = "GET")]
    method: Method,
    /// The access token that the request carries
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, env = "KEYBOUND_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// The newest nonce of the server
    #[arg(long, value_name = "NONCE", allow_hyphen_values = true, value_parser = nonce)]
    nonce: Option<Nonce>,
    /// Sign it as of then: seconds since 1970, or like 2026-01-31T12:00:00Z
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<UnixTime>,
    /// Print it as a field: "DPoP: …"
    #[arg(long)]
    header: bool,
    /// The URL of the request: https, or http on this machine
    #[arg(value_parser = target)]
    url: TargetUri,
}

impl Proof {
    pub(crate) fn run(&self) -> Result {
        let key = match &self.token {
            Some(token) => key::load_for(&self.key, token)?,
            None => key::load(&self.key)?,
        };
        let credentials = match &self.token {
            Some(token) => Some(Credentials::new(token).map_err(Failure::usage)?),
            None => None,
        };
        let at = self.at.unwrap_or_else(|| std::time::SystemTime::now().into());
        let jti = random_array().map_err(Failure::failed)?;
        let mut claims = ProofClaims::new(&self.method, &self.url, jti, at);
        if let Some(credentials) = &credentials {
            claims = claims.credentials(credentials);
        }
        if let Some(nonce) = &self.nonce {
            claims = claims.nonce(nonce);
        }
        let prover = Prover::of(&key).map_err(Failure::failed)?;
        let proof = prover.prepare(&claims).sign(&key).map_err(Failure::failed)?;
        let name = if self.header { "DPoP: " } else { "" };
        output::line(format_args!("{name}{}", proof.as_str()))?;
        Ok(Outcome::Done)
    }
}

/// What a server may give as a nonce.
pub(crate) fn nonce(text: &str) -> std::result::Result<Nonce, String> {
    Nonce::parse(text)
        .ok_or_else(|| "not a nonce: visible ASCII without quotes and backslashes, at most 512".to_owned())
}
