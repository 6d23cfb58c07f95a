//! What the benchmarks share: processor time and memory of this process, and how a figure is printed.

use std::fmt;
use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

/// One measured value beside its yardstick; printed as one JSON object.
#[derive(Clone, Debug)]
#[must_use]
pub struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    yardstick: Option<f64>,
}

impl Figure {
    /// A figure without a yardstick.
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self {
            name: name.into(),
            unit,
            value,
            yardstick: None,
        }
    }

    /// What the yardstick took in the same run, in the same unit.
    pub fn beside(self, yardstick: f64) -> Self {
        Self {
            yardstick: Some(yardstick),
            ..self
        }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            unit,
            value,
            yardstick,
        } = self;
        write!(f, r#"{{"name":"{name}","value":{value:.2},"unit":"{unit}""#)?;
        match yardstick {
            Some(yardstick) => write!(f, r#","yardstick":{yardstick:.2},"ratio":{:.3}}}"#, value / yardstick),
            None => write!(f, r#","yardstick":null,"ratio":null}}"#),
        }
    }
}

/// Processor time of this thread spent on something that is done many times.
#[derive(Clone, Copy, Debug, Default)]
pub struct CpuTime {
    spent: Duration,
    times: u64,
}

impl CpuTime {
    /// Runs `work`, which does the thing so many `times`.
    pub fn measure(times: u64, work: impl FnOnce()) -> Self {
        let before = thread_time();
        work();
        Self {
            spent: thread_time().saturating_sub(before),
            times,
        }
    }

    /// Nanoseconds each time.
    pub fn nanos(self) -> f64 {
        self.spent.as_nanos() as f64 / self.times as f64
    }
}

impl AddAssign for CpuTime {
    fn add_assign(&mut self, other: Self) {
        self.spent += other.spent;
        self.times += other.times;
    }
}

/// Octets of physical memory this process has.
pub fn resident() -> usize {
    const PAGE: usize = 4096;
    field("/proc/self/statm", 1) as usize * PAGE
}

fn thread_time() -> Duration {
    Duration::from_nanos(field("/proc/thread-self/schedstat", 0))
}

fn field(path: &str, index: usize) -> u64 {
    let text = fs::read_to_string(path).expect("Linux with /proc");
    text.split_whitespace()
        .nth(index)
        .and_then(|field| field.parse().ok())
        .expect("a number, by proc(5)")
}
