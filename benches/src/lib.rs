//! What the benchmarks share: processor time and memory of this process, and how a figure is printed.

pub mod bare;
pub mod rig;
pub mod subject;

use std::collections::BTreeMap;
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
    aim: Option<f64>,
}

impl Figure {
    /// A figure without a yardstick.
    pub fn new(name: impl Into<String>, unit: &'static str, value: f64) -> Self {
        Self { name: name.into(), unit, value, yardstick: None, aim: None }
    }

    /// What the yardstick took in the same run, in the same unit.
    pub fn beside(self, yardstick: f64) -> Self {
        Self { yardstick: Some(yardstick), ..self }
    }

    /// The most that the ratio to the yardstick should be; without a yardstick, the value itself.
    pub fn aim(self, most: f64) -> Self {
        Self { aim: Some(most), ..self }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |number: Option<f64>| number.map_or("null".to_owned(), |number| format!("{number:.3}"));
        let ratio = self.yardstick.map(|yardstick| self.value / yardstick);
        write!(f, r#"{{"name":"{}","value":{:.2},"unit":"{}","#, self.name, self.value, self.unit)?;
        write!(f, r#""yardstick":{},"ratio":{},"aim":{}}}"#, json(self.yardstick), json(ratio), json(self.aim))
    }
}

/// How many rounds a figure is the median of.
const ROUNDS: usize = 9;

/// What was measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Rounds(BTreeMap<String, Vec<f64>>);

/// One round of [`interleaved`].
pub type Round = Rounds;

/// Runs `work` once to warm up and then nine times, so that everything it measures meets the same neighbours.
pub fn interleaved(mut work: impl FnMut(&mut Round)) -> Rounds {
    work(&mut Rounds::default());
    let mut rounds = Rounds::default();
    (0..ROUNDS).for_each(|_| work(&mut rounds));
    rounds
}

impl Rounds {
    /// Notes what something took in this round.
    pub fn time(&mut self, name: &str, took: CpuTime) {
        self.0.entry(name.to_owned()).or_default().push(took.nanos());
    }

    /// Notes any other value of this round.
    pub fn value(&mut self, name: &str, value: f64) {
        self.0.entry(name.to_owned()).or_default().push(value);
    }

    /// What was measured.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The median of all rounds; of times, in nanoseconds.
    pub fn median(&self, name: &str) -> f64 {
        let mut values = self.0[name].clone();
        values.sort_by(f64::total_cmp);
        values[values.len() / 2]
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
        Self { spent: thread_time().saturating_sub(before), times }
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
    text.split_whitespace().nth(index).and_then(|field| field.parse().ok()).expect("a number, by proc(5)")
}
