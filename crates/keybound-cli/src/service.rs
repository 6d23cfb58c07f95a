//! What `serve` and `issuer` have in common: their options, where they listen, what the environment says, when they end.

use std::fmt;
use std::io::Read as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use keybound_gateway::config::Config;
use keybound_gateway::front::{Drained, Front, Sockets, Stop};
use keybound_gateway::notify;
use tokio::signal::unix::{SignalKind, signal};

use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::style::{FAINT, PLAIN};

/// The options of a service.
#[derive(Debug, Args)]
pub(crate) struct Service {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "KEYBOUND_CONFIG")]
    pub(crate) config: Option<PathBuf>,
    /// Where to listen, instead of what the file says
    #[arg(long, value_name = "ADDR")]
    pub(crate) listen: Option<String>,
    /// End with standard input: whoever holds its other end is gone then, even if it was killed
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl Service {
    /// What stops the service, by a signal or as asked for.
    pub(crate) fn stop(&self) -> std::result::Result<Stop, Failure> {
        let stop = Stop::new();
        stop.on_signals().map_err(Failure::failed)?;
        if self.end_with_stdin {
            let stop = stop.clone();
            let wait = move || {
                let mut nothing = [0; 64];
                while std::io::stdin().read(&mut nothing).is_ok_and(|octets| octets > 0) {}
                stop.now();
            };
            std::thread::Builder::new().name("keybound-stdin".to_owned()).spawn(wait).map_err(Failure::failed)?;
        }
        Ok(stop)
    }

    /// The address of a service that is for trying out: on loopback.
    pub(crate) fn trial_address(&self, command: &str, default: &str) -> std::result::Result<SocketAddr, Failure> {
        let listen = self.listen.as_deref().unwrap_or(default);
        let address: SocketAddr =
            listen.parse().map_err(|_| Failure::usage(format!("{listen:?} is no address such as {default}")))?;
        if address.ip().is_loopback() {
            return Ok(address);
        }
        Err(Failure::usage(format!(
            "without --config, {command} is for trying out: it listens on loopback only; to listen elsewhere, give --config"
        )))
    }

    /// The sockets that were passed in. What is for trying out has none.
    pub(crate) fn sockets(&self) -> std::result::Result<Sockets, Failure> {
        let sockets = Sockets::from_environment().map_err(Failure::usage)?;
        if self.config.is_none() && !sockets.is_empty() {
            return Err(Failure::usage("sockets were passed in (LISTEN_FDS), and no --config says what listens there"));
        }
        Ok(sockets)
    }

    /// The listener of `config`. If its port cannot be had, the advice repeats what was typed, up to the address.
    pub(crate) fn bind(
        &self,
        command: &str,
        config: &Config,
        sockets: &mut Sockets,
    ) -> std::result::Result<Front, Failure> {
        Front::bind_among(sockets, &config.listen, &config.limits).map_err(|error| {
            let file = self.config.as_ref().map(|path| format!(" --config {}", path.display())).unwrap_or_default();
            Failure::failed(error.of_command(format!("keybound {command}{file}")))
        })
    }
}

/// Stays when a hangup asks to read the configuration again, and says why that is not done.
pub(crate) fn stay_on_hangup(why: &'static str) -> std::result::Result<(), Failure> {
    on_hangup(move || {
        tracing::warn!("SIGHUP: {why}");
        notify::kept();
    })
}

/// Does this at every SIGHUP, on a thread of its own, once the service manager knows that something is read again.
pub(crate) fn on_hangup(act: impl Fn() + Send + 'static) -> std::result::Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Failure::failed)?;
    let mut hangup = {
        let _inside = runtime.enter();
        signal(SignalKind::hangup()).map_err(Failure::failed)?
    };
    let wait = move || {
        runtime.block_on(async {
            while hangup.recv().await.is_some() {
                notify::reloading();
                act();
            }
        });
    };
    std::thread::Builder::new().name("keybound-hangup".to_owned()).spawn(wait).map_err(Failure::failed)?;
    Ok(())
}

/// Says what to try: what it is, what to paste, what comes of it. A service lives on if nobody reads that.
pub(crate) fn announce(what: impl fmt::Display, paste: impl fmt::Display, outcome: impl fmt::Display) {
    let said = output::styled(format_args!(
        "{what}\n{FAINT}Everything is in memory and ends with this process. Paste into another terminal:{PLAIN}\n\n\
         {paste}\n\n{FAINT}{outcome} Ctrl-C ends it.{PLAIN}"
    ));
    if said.is_err() {
        tracing::warn!("what to try cannot be written to standard output");
    }
}

/// Who is signed in at a self-contained issuer, wherever somebody is asked.
pub(crate) const TRIAL_USER: &str = "alice";

/// The end of `[authorization_server]` at a self-contained issuer: who is signed in, and the clients, of which one has this secret.
pub(crate) fn trial_clients(secret: &str) -> String {
    format!(
        r#"auto_approve = "{TRIAL_USER}"
[[authorization_server.client]]
client_id = "app"
token_endpoint_auth_method = "none"
grant_types = ["authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
redirect_uris = ["http://127.0.0.1/callback"]
scope = ["openid", "read", "write"]
dpop_bound_access_tokens = true
[[authorization_server.client]]
client_id = "demo"
client_secret = "{secret}"
grant_types = ["client_credentials", "authorization_code", "refresh_token", "urn:ietf:params:oauth:grant-type:device_code"]
redirect_uris = ["http://127.0.0.1/callback"]
scope = ["read", "write"]
dpop_bound_access_tokens = true
"#
    )
}

/// What to type for this program: its name where the shell would find it, else the path to it, from here if that is shorter.
pub(crate) fn own_name() -> String {
    let Ok(own) = std::env::current_exe() else { return "keybound".to_owned() };
    let found = std::env::var_os("PATH").is_some_and(|path| {
        std::env::split_paths(&path).any(|folder| own.file_name().is_some_and(|name| folder.join(name) == own))
    });
    let here = std::env::current_dir().ok();
    let shown = match own.file_name() {
        Some(name) if found => Path::new(name),
        _ => here
            .as_deref()
            .and_then(|here| own.strip_prefix(here).ok())
            .filter(|path| path.parent() != Some(Path::new("")))
            .unwrap_or(&own),
    };
    let shown = shown.display().to_string();
    // What a shell would take apart is quoted.
    let plain = |char: char| char.is_ascii_alphanumeric() || "/._-+".contains(char);
    if shown.chars().all(plain) { shown } else { format!("'{}'", shown.replace('\'', "'\\''")) }
}

/// How a service ends that served.
pub(crate) fn drained(drained: Drained) -> Result {
    if drained.cut_off > 0 {
        tracing::warn!(connections = drained.cut_off, "requests were not finished in time and were cut off");
    }
    Ok(Outcome::Done)
}

/// What the environment says over the file; the variables of single commands are not its own.
pub(crate) fn environment() -> impl Iterator<Item = (String, String)> {
    const OF_COMMANDS: [&str; 5] =
        ["KEYBOUND_CONFIG", "KEYBOUND_TOKEN", "KEYBOUND_CLIENT_SECRET", "KEYBOUND_HOME", "KEYBOUND_LOG"];
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| !OF_COMMANDS.contains(&name.as_str()))
}
