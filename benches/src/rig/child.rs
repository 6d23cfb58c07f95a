//! A process that is measured.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

/// A process that ends with this value.
#[derive(Debug)]
pub struct Child(std::process::Child);

impl Child {
    /// What it says on its standard output is nobody's: figures alone stand on ours.
    pub(super) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::null());
        Self(command.spawn().unwrap_or_else(|error| panic!("{command:?} cannot be started: {error}")))
    }

    /// Sends a signal, by its name.
    pub(super) fn signal(&self, name: &str) {
        super::run("kill", &["-s", name, &self.0.id().to_string()]);
    }

    /// Waits until it has ended by itself.
    pub(super) fn ended(&mut self) -> ExitStatus {
        self.0.wait().expect("a process of ours")
    }

    /// The processor time of all its threads.
    pub fn cpu_time(&self) -> Duration {
        crate::spent_by(self.0.id())
    }

    /// Octets of physical memory it has.
    pub fn resident(&self) -> usize {
        crate::resident_of(self.0.id())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
