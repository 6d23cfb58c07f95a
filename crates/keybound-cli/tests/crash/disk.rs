//! The disk of the PostgreSQL server for tests, which can be full: no file grows beyond what it is allowed.

use std::path::PathBuf;
use std::process::Command;
use std::{env, fs};

/// With room again when this is dropped, whatever a test has come to.
pub(crate) struct Disk {
    /// The folder of the server's data.
    data: PathBuf,
}

impl Disk {
    /// That of the server which the environment names.
    pub(crate) fn named() -> Self {
        Self { data: env::var_os("KEYBOUND_TEST_POSTGRES_DATA").expect("it is of a PostgreSQL server").into() }
    }

    /// From now on files may be so long and no longer, until there is `unlimited` room. To PostgreSQL it is a full disk: it ignores the
    /// signal that would come otherwise.
    pub(crate) fn limit_files(&self, octets: &str) {
        assert!(self.try_limit_files(octets), "its files are not limited");
    }

    fn try_limit_files(&self, octets: &str) -> bool {
        let file = fs::read_to_string(self.data.join("postmaster.pid")).unwrap_or_default();
        let (pid, data) = (file.lines().next().unwrap_or_default(), self.data.display());
        // As whose they are: to root they may be strangers'.
        let user = format!("[ $(id -u) != 0 ] || user=\"runuser -u $(stat -c %U '{data}') --\"");
        let limit = |pid: &str| format!("$user prlimit --pid {pid} --fsize={octets}:unlimited");
        // The first one first: it starts the others, which may end meanwhile.
        let (first, other) = (limit(pid), limit("$pid"));
        let line = format!("{user}; {first} && for pid in $(pgrep -P {pid}); do {other} || true; done");
        Command::new("sh").args(["-c", &line]).status().is_ok_and(|status| status.success())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.try_limit_files("unlimited");
    }
}
