//! A PostgreSQL server that somebody else has started, and will stop.

use std::fs;
use std::time::Duration;

use super::{Side, has_two_processors, run};
use crate::spent_by;

/// A server.
#[derive(Debug)]
pub struct Postgres {
    url: String,
    process: u32,
}

impl Postgres {
    /// The one with this address of a database, and this number of its first process. It moves out of the way of what is measured: a
    /// database is mostly a machine of its own.
    pub fn new(url: &str, process: u32) -> Self {
        if has_two_processors() {
            let processes = [process].into_iter().chain(children(process));
            processes.for_each(|one| run("taskset", &["-acp", Side::Rest.processor(), &one.to_string()]));
        }
        Self { url: url.to_owned(), process }
    }

    /// The address of a new database.
    pub fn database(&self, name: &str) -> String {
        run("psql", &["-q", &self.url, "-c", &format!("CREATE DATABASE {name}")]);
        let (server, _) = self.url.rsplit_once('/').expect("an address ends in a database");
        format!("{server}/{name}")
    }

    /// The processor time of all its processes, as long as none of them ends.
    pub fn cpu_time(&self) -> Duration {
        [self.process].into_iter().chain(children(self.process)).map(spent_by).sum()
    }
}

fn children(process: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|number| number.parse().ok()).collect()
}
