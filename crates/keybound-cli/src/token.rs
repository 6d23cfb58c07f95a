//! `keybound token`: gets a bound token and keeps it until it is about to expire.

use clap::Args;
use keybound::refusal::Reason;
use keybound_client::Error;
use serde_json::json;

use crate::access::Access;
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
        let client = self.access.client(self.fresh)?.build().map_err(Failure::failed)?;
        let token = block_on(client.token())?.map_err(|error| failure(&error))?;
        if self.json {
            let now = std::time::SystemTime::now().into();
            let object = json!({
                "access_token": token.secret(),
                "token_type": "DPoP",
                "expires_in": token.expires().map(|expires| expires.since(now).as_secs()),
                "scope": token.scope(),
                "jkt": client.jkt().to_string(),
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
    let mut text = error.to_string();
    if let Error::TokenRequest(why) = error
        && let Error::TokenRefused { description: Some(code), .. } = &**why
        && let Some(reason) = Reason::from_code(code)
    {
        let entry = reason.entry();
        text.push_str(&format!("\n  {}\n  do: {}", entry.meaning, entry.advice));
    }
    Failure::failed(text)
}
