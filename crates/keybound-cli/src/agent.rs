//! `keybound agent`: a proxy on this machine for programs that know nothing of DPoP. They send plain requests; it adds token, proof
//! and nonce, and lets nobody else use them.

mod fields;
mod guard;
mod lines;
mod listen;
mod pass;
mod targets;
mod upload;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;

use self::guard::Secret;
use self::listen::{Door, End, Listen};
use self::pass::Agency;
use self::targets::{Target, Targets};
use crate::access::{Access, Cache, variable};
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::request::seconds;
use crate::style::{FAINT, PLAIN, STRONG};
use crate::token::{block_on, failure};

/// Sign for programs that cannot: a local proxy that adds token, proof and nonce
///
/// Programs reach a target in one of two ways. Through its place at the agent: with `--target https://api.example.com/v1`, what
/// is sent to http://127.0.0.1:7777/orders goes to https://api.example.com/v1/orders; with `--target api=https://…` it is
/// http://127.0.0.1:7777/api/orders. Or with the agent for a proxy: `http_proxy`, `curl -x`, and the target as
/// http://api.example.com/v1/orders, which the agent sends by https. Tunnels (CONNECT) are refused: what is in them cannot be signed.
///
/// On a port, each program shows the agent's secret: as the token of `Authorization: Bearer`, as the password of Basic (also
/// for a proxy: http://agent:SECRET@127.0.0.1:7777), or in `Keybound-Agent-Secret`. On a Unix socket the permissions of the
/// socket are enough: it is yours alone. Requests of web pages are refused. Nonces, expired tokens and redirects within a target
/// are dealt with. After `keybound key rotate`, SIGHUP has the agent take the new key for new tokens. A body of up to 1 MiB is sent
/// again if need be, a longer one or one that comes slowly is passed on as it comes. Programs may speak HTTP/2 (gRPC too), and so may
/// targets; WebSockets are refused.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound agent --issuer https://id.example.com --client-id orders-job --target https://api.example.com --secret-file agent.secret
  curl -u agent:$(cat agent.secret) http://127.0.0.1:7777/orders
  curl -x http://agent:$(cat agent.secret)@127.0.0.1:7777 http://api.example.com/orders

  keybound agent --profile orders --listen unix:/run/user/1000/keybound.sock --target https://api.example.com
  curl --unix-socket /run/user/1000/keybound.sock http://agent/orders")]
pub(crate) struct Agent {
    /// Where to listen: a port of loopback, or unix: and the path of a socket that is made and that only you can use
    #[arg(long, value_name = "ADDR|unix:PATH", default_value = "127.0.0.1:7777", value_parser = listen::address)]
    listen: Listen,
    /// Where requests may go: an origin, with a path if that is all; with NAME= it has a place of its own. May be given again
    #[arg(long = "target", value_name = "[NAME=]URL", required = true, value_parser = targets::target)]
    targets: Vec<Target>,
    /// Read the secret from this file, or write a new one there that only you can read
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// How long a target may take until its answer begins
    #[arg(long, value_name = "SECONDS", value_parser = seconds, default_value = "60")]
    max_wait: Duration,
    /// Speak HTTP/2 with targets also where it is not negotiated: by plain http on this machine (h2c), for gRPC
    #[arg(long)]
    http2: bool,
    /// A token that is bound to --key; better in KEYBOUND_TOKEN, other users see command lines
    #[arg(long, value_name = "TOKEN", allow_hyphen_values = true, requires = "key", conflicts_with = "issuer")]
    token: Option<String>,
    #[command(flatten)]
    access: Access,
}

impl Agent {
    pub(crate) fn run(&self) -> Result {
        let access = self.access.settled()?;
        let builder = if let Some(token) = &self.token {
            access.client_with(token.clone())?
        } else if access.has_issuer() {
            access.client(Cache::Used)?
        } else {
            match variable("KEYBOUND_TOKEN")? {
                Some(token) => access.client_with(token)?,
                None => {
                    return Err(Failure::usage(
                        "there is no token: give --issuer and --client-id to get one, or --token and --key",
                    ));
                }
            }
        };
        let builder = if self.http2 { builder.http2_prior_knowledge() } else { builder };
        let client = builder.answer_timeout(self.max_wait).build().map_err(Failure::failed)?;
        let targets = Targets::new(self.targets.clone())?;
        block_on(async {
            if !access.discovers() {
                // Now, while somebody is there to log in or to mend what is wrong.
                client.token().await.map_err(|error| failure(&error))?;
            }
            let end = End::await_signals()?;
            let door = self.listen.open().await?;
            let secret = Secret::of(&self.listen, self.secret_file.as_deref())?;
            self.announce(&door, secret.as_ref())?;
            tracing::info!(address = %door, "listening");
            let agency = Agency::new(client, targets, secret, door.hosts(), access);
            listen::serve(door, Arc::new(agency), end).await;
            Ok(Outcome::Done)
        })?
    }

    /// Says how to come in. A secret that is in a file is not shown.
    fn announce(&self, door: &Door, secret: Option<&Secret>) -> std::result::Result<(), Failure> {
        let shown = match (secret, &self.secret_file) {
            (None, _) => None,
            (Some(_), Some(path)) => Some(format!("$(cat {})", path.display())),
            (Some(secret), None) => Some(secret.expose().to_owned()),
        };
        let user = shown.map(|secret| format!("-u agent:{secret} ")).unwrap_or_default();
        let first = self.targets.first().map(Target::place).unwrap_or_default();
        let curl = match door {
            Door::Port(_, address) => format!("curl {user}http://{address}{first}"),
            Door::Socket(_, path) => format!("curl {user}--unix-socket {} http://agent{first}", path.display()),
        };
        output::styled(format_args!(
            "{FAINT}Paste into another terminal; Ctrl-C ends the agent:{PLAIN}\n\n{STRONG}{curl}{PLAIN}"
        ))
    }
}
