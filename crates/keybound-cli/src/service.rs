//! What `serve` and `issuer` have in common: where they listen, what the environment says, when they end.

use std::io::Read as _;
use std::net::SocketAddr;
use std::path::Path;

use clap::Args;
use keybound_gateway::front::{BindError, Drained, Stop};

use crate::outcome::{Failure, Outcome, Result};

/// When a service ends besides by signals.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Ending {
    /// End with standard input: whoever holds its other end is gone then, even if it was killed
    #[arg(long, hide = true)]
    end_with_stdin: bool,
}

impl Ending {
    /// What stops the service, by a signal or as asked for.
    pub(crate) fn stop(self) -> std::result::Result<Stop, Failure> {
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
}

/// The address of a service that is for trying out: on loopback.
pub(crate) fn trial_address(command: &str, listen: &str) -> std::result::Result<SocketAddr, Failure> {
    let address: SocketAddr =
        listen.parse().map_err(|_| Failure::usage(format!("{listen:?} is no address such as 127.0.0.1:8080")))?;
    if address.ip().is_loopback() {
        Ok(address)
    } else {
        let message = format!("without --config, {command} is for trying out: it listens on loopback only");
        Err(Failure::usage(message))
    }
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

/// The port cannot be had; the advice repeats what was typed, up to the address.
pub(crate) fn unbound(error: BindError, command: &str, config: Option<&Path>) -> Failure {
    let file = config.map(|path| format!(" --config {}", path.display())).unwrap_or_default();
    Failure::failed(error.of_command(format!("keybound {command}{file}")))
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
