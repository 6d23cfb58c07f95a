//! `keybound token`: gets a bound token and keeps it until it is about to expire.

use std::error::Error as StdError;
use std::io::ErrorKind;

use clap::Args;
use keybound::refusal::Reason;
use keybound_client::Error;
use serde_json::json;

use crate::access::{Access, Cache};
use crate::outcome::{Failure, Outcome, Result};
use crate::output;

/// Get a token that is bound to a key
///
/// By the client credentials grant. The token is kept in a file that only you can read, and printed from there until it is
/// about to expire; `keybound request` with the same options uses it too.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  export KEYBOUND_CLIENT_SECRET=…
  keybound token --issuer https://id.example.com --client-id orders-job --scope orders:read
  keybound token --issuer https://id.example.com --client-id orders-job --private-key client.pem --json")]
pub(crate) struct Token {
    #[command(flatten)]
    access: Access,
    /// Get a new one even if there is one that is good
    #[arg(long)]
    fresh: bool,
    /// Print JSON: access_token, token_type, expires_in, scope, jkt
    #[arg(long)]
    json: bool,
}

impl Token {
    pub(crate) fn run(&self) -> Result {
        let cache = if self.fresh { Cache::Skipped } else { Cache::Used };
        let access = self.access.settled()?;
        if access.discovers() {
            return Err(Failure::usage("--discover is for requests: a resource says which issuer; here give --issuer"));
        }
        let client = access.client(cache)?.build().map_err(Failure::failed)?;
        let (token, jkt) = block_on(client.token_and_key())?.map_err(|error| failure(&error))?;
        if self.json {
            let now = std::time::SystemTime::now().into();
            let object = json!({
                "access_token": token.secret(),
                "token_type": "DPoP",
                "expires_in": token.expires().map(|expires| expires.since(now).as_secs()),
                "scope": token.scope(),
                "jkt": jkt.to_string(),
            });
            output::line(format_args!("{object:#}"))?;
        } else {
            output::line(token.secret())?;
        }
        Ok(Outcome::Done)
    }
}

/// Runs one command's requests.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> std::result::Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(Failure::failed)?.block_on(work))
}

/// An error with what to do about it, where the server gave a reason that is known here.
pub(crate) fn failure(error: &Error) -> Failure {
    match error {
        Error::TokenRequest(why) => match &**why {
            Error::TokenRefused { description: Some(code), .. } => match Reason::from_code(code) {
                Some(reason) => {
                    let entry = reason.entry();
                    Failure::failed(format!("{error}\n  {}\n  do: {}", entry.meaning, entry.advice))
                }
                None => Failure::failed(error),
            },
            why => failure(why),
        },
        Error::Network { server, source } if source.is_connect() => unreachable(server, source),
        Error::Url | Error::PlainHttp(_) | Error::Field(_) | Error::MalformedToken(_) | Error::NoToken => {
            Failure::usage(error)
        }
        _ => Failure::failed(error),
    }
}

/// There is no connection: of the causes, each within the other, the last one tells.
fn unreachable(server: &str, error: &(dyn StdError + 'static)) -> Failure {
    let mut last = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    let kind = last.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    let advice = if kind == Some(ErrorKind::ConnectionRefused) { "; is it running?" } else { "" };
    Failure::failed(format!("{server} cannot be reached: {last}{advice}"))
}
