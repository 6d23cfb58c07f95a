//! A PostgreSQL server of the test's own, which whoever runs the test has started and tells of.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use std::{fs, thread};

/// How long what was killed may take to be there again.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Server {
    url: String,
    /// The folder of its data.
    data: PathBuf,
    /// A line for the shell that starts it and waits until it takes connections.
    start: String,
}

impl Server {
    /// The one that the environment names.
    pub(crate) fn named() -> Self {
        let named = |name| std::env::var(name).unwrap_or_else(|_| panic!("{name} is of a PostgreSQL server"));
        Self {
            url: named("KEYBOUND_TEST_POSTGRES"),
            data: named("KEYBOUND_TEST_POSTGRES_DATA").into(),
            start: named("KEYBOUND_TEST_POSTGRES_START"),
        }
    }

    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    /// By SIGKILL, all of its processes.
    pub(crate) fn kill(&self) {
        self.signal("KILL");
    }

    /// To all of its processes.
    pub(crate) fn signal(&self, name: &str) {
        let pid = fs::read_to_string(self.data.join("postmaster.pid")).expect("it runs");
        let pid = pid.lines().next().expect("its number");
        // The first one starts the others, and so it stands still meanwhile. Of those, one may be gone by now.
        let each = format!("kill -{name} $child 2>/dev/null || ! kill -0 $child 2>/dev/null || exit 1");
        let line = format!("children=$(pgrep -P {pid}); kill -{name} {pid} && for child in $children; do {each}; done");
        assert!(shell(&format!("kill -STOP {pid} && {{ {line}; }}")), "no {name} for {pid}");
    }

    /// Starts it again, once the system has cleared away what was killed.
    pub(crate) fn start(&self) {
        self.start_with(&[]);
    }

    /// The same with these variables in its environment.
    pub(crate) fn start_with(&self, variables: &[(&str, &PathBuf)]) {
        let deadline = Instant::now() + PATIENCE;
        let setting = variables.iter().map(|(name, value)| format!("export {name}='{}'; ", value.display()));
        let line = setting.collect::<String>() + &self.start;
        while !shell(&line) {
            assert!(Instant::now() < deadline, "PostgreSQL does not start again");
            thread::sleep(Duration::from_millis(50));
        }
    }
}

fn shell(line: &str) -> bool {
    Command::new("sh").args(["-c", line]).status().expect("a shell").success()
}
