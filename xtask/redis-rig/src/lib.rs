//! Redis servers for tests and figures: alone, under Sentinel and in a Cluster, on ports and in folders of their own, gone when
//! dropped. They can be killed, stopped and started again, and cut off from whomever a test likes.
//!
//! Needs the programs `redis-server` and `redis-cli`. Every server speaks from a loopback address of its own, so that a
//! [`Proxy`] in front of another one can tell them apart: clients of a test come from 127.0.0.1.

mod cluster;
mod proxy;
mod sentinel;
mod server;

use std::io;
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use self::cluster::{Cluster, Member};
pub use self::proxy::Proxy;
pub use self::sentinel::{Sentinels, Watcher};
pub use self::server::{Server, Settings};

/// How long anything that a rig waits for may take: a Cluster that has not agreed on a primary tries again after four times the
/// silence that it waited for.
const PATIENCE: Duration = Duration::from_secs(90);

/// Waits until `done` says so.
///
/// # Errors
///
/// If that takes longer than a minute and a half; `what` is in the message.
pub fn wait_until(what: &str, mut done: impl FnMut() -> bool) -> io::Result<()> {
    let end = Instant::now() + PATIENCE;
    while !done() {
        if Instant::now() > end {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("waited too long for {what}")));
        }
        sleep(Duration::from_millis(10));
    }
    Ok(())
}

/// Whether the programs are there.
pub fn is_installed() -> bool {
    let there = |program| std::process::Command::new(program).arg("--version").output().is_ok();
    there("redis-server") && there("redis-cli")
}
