//! A process of this very binary that listens somewhere, and that ends with whoever holds this.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStderr, Command};
use tokio::time::timeout;

use crate::outcome::Failure;

/// How long a process may take to say that it listens.
const START: Duration = Duration::from_secs(20);

/// How long a process that was killed may take to be gone.
const END: Duration = Duration::from_secs(5);

/// How often another port is tried when somebody took the one that was free a moment ago.
const TRIES: usize = 5;

/// A running `keybound serve` or `keybound issuer`. It is killed when this is dropped, and gone then; should this process be killed first,
/// it ends with its standard input.
pub(super) struct Service {
    child: Child,
}

enum Unstarted {
    PortTaken,
    Failed(Failure),
}

impl Service {
    /// Starts `command` on a free port of loopback, with the configuration that `config` makes for it.
    pub(super) async fn on_free_port(
        command: &str,
        file: &Path,
        config: impl Fn(SocketAddr) -> String,
    ) -> Result<(Self, SocketAddr), Failure> {
        for _ in 0..TRIES {
            let address = free_address().map_err(Failure::failed)?;
            std::fs::write(file, config(address)).map_err(Failure::failed)?;
            match Self::try_start(command, file).await {
                Ok(service) => return Ok((service, address)),
                Err(Unstarted::PortTaken) => {}
                Err(Unstarted::Failed(failure)) => return Err(failure),
            }
        }
        Err(Failure::failed(format!("keybound {command}: every free port was taken at once by another program")))
    }

    /// Starts `command` with the configuration that is there.
    pub(super) async fn start(command: &str, file: &Path) -> Result<Self, Failure> {
        Self::try_start(command, file).await.map_err(|unstarted| match unstarted {
            Unstarted::PortTaken => Failure::failed(format!("keybound {command}: another program took its port")),
            Unstarted::Failed(failure) => failure,
        })
    }

    async fn try_start(command: &str, file: &Path) -> Result<Self, Unstarted> {
        let failed =
            |why: &dyn std::fmt::Display| Unstarted::Failed(Failure::failed(format!("keybound {command}: {why}")));
        let program = std::env::current_exe().map_err(|why| failed(&why))?;
        let mut process = Command::new(program);
        process.arg(command).arg("--config").arg(file).arg("--end-with-stdin");
        process.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        for (name, _) in std::env::vars_os() {
            if name.to_string_lossy().starts_with("KEYBOUND_") {
                process.env_remove(name); // the user's settings are not the demo's
            }
        }
        process.env("KEYBOUND_LOG", "info");
        let mut service = Self { child: process.spawn().map_err(|why| failed(&why))? };
        let stderr = service.child.stderr.take().ok_or_else(|| failed(&"no standard error"))?;
        let mut lines = BufReader::new(stderr).lines();
        match timeout(START, listening(&mut lines)).await {
            Ok(Ok(())) => {}
            Ok(Err(said)) if said.contains("is in use by another program") => return Err(Unstarted::PortTaken),
            Ok(Err(said)) => return Err(failed(&said)),
            Err(_) => return Err(failed(&format_args!("did not start within {} s", START.as_secs()))),
        }
        // What it says later is read and forgotten: a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Ok(service)
    }

    /// `kill -9`: it gets no chance to write anything down.
    pub(super) async fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().await.map_err(Failure::failed)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.start_kill();
        let begun = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && begun.elapsed() < END {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Reads until the process listens; if it ends first, what it said.
async fn listening(lines: &mut Lines<BufReader<ChildStderr>>) -> Result<(), String> {
    let mut said = Vec::new();
    while let Ok(Some(line)) = lines.next_line().await {
        if line.contains(": listening ") {
            return Ok(());
        }
        said.push(line);
    }
    Err(said.join("\n"))
}

fn free_address() -> std::io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}
