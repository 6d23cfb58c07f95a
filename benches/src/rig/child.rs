//! A process that is measured.

use std::fs;
use std::process::Command;
use std::time::Duration;

/// A process that ends with this value.
#[derive(Debug)]
pub struct Child(std::process::Child);

impl Child {
    pub(super) fn start(mut command: Command) -> Self {
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
    }

    /// The processor time of all its threads.
    pub fn cpu_time(&self) -> Duration {
        let threads = fs::read_dir(format!("/proc/{}/task", self.0.id())).expect("Linux with /proc, and a process");
        let spent = threads.filter_map(|thread| {
            // A thread may end between the two.
            let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
            text.split_whitespace().next()?.parse::<u64>().ok()
        });
        Duration::from_nanos(spent.sum())
    }

    /// Octets of physical memory it has.
    pub fn resident(&self) -> usize {
        const PAGE: usize = 4096;
        crate::field(&format!("/proc/{}/statm", self.0.id()), 1) as usize * PAGE
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
