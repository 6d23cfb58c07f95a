//! What the benchmarks share: processor time and memory of this process, and how a figure is printed.

pub mod bare;
pub mod rig;
pub mod subject;

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::ops::AddAssign;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// One measured value beside its yardstick; printed as one JSON object.
#[derive(Clone, Debug)]
#[must_use]
pub struct Figure {
    name: String,
    unit: &'static str,
    value: f64,
    yardstick: Option<f64>,
    aim: Option<Aim>,
}

/// The most that something should be.
#[derive(Clone, Copy, Debug)]
enum Aim {
    Ratio(f64),
    Value(f64),
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

    /// The most that the ratio to the yardstick should be.
    pub fn aim_at_ratio(self, most: f64) -> Self {
        Self { aim: Some(Aim::Ratio(most)), ..self }
    }

    /// The most that the value should be.
    pub fn aim_at(self, most: f64) -> Self {
        Self { aim: Some(Aim::Value(most)), ..self }
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = |number: Option<f64>| number.map_or("null".to_owned(), |number| format!("{number:.3}"));
        let ratio = self.yardstick.map(|yardstick| self.value / yardstick);
        write!(f, r#"{{"name":"{}","value":{:.2},"unit":"{}","#, self.name, self.value, self.unit)?;
        write!(f, r#""yardstick":{},"ratio":{},"#, json(self.yardstick), json(ratio))?;
        let (aim, of) = match self.aim {
            Some(Aim::Ratio(most)) => (Some(most), "ratio"),
            Some(Aim::Value(most)) => (Some(most), "value"),
            None => (None, "value"),
        };
        write!(f, r#""aim":{},"aim_of":"{of}"}}"#, json(aim))
    }
}

/// How many rounds a figure is the median of.
pub const ROUNDS: usize = 9;

/// What was measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Rounds(BTreeMap<String, Vec<f64>>);

/// One round of [`interleaved`].
pub type Round = Rounds;

/// Runs `work` once to warm up and then nine times, so that everything it measures meets the same neighbours.
pub fn interleaved(work: impl FnMut(&mut Round)) -> Rounds {
    repeated(ROUNDS, work)
}

/// The same with another number of rounds.
pub fn repeated(times: usize, mut work: impl FnMut(&mut Round)) -> Rounds {
    work(&mut Rounds::default());
    let mut rounds = Rounds::default();
    (0..times).for_each(|_| work(&mut rounds));
    rounds
}

impl Rounds {
    /// Notes what something took in this round, or in one of its turns.
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

    /// The median of all that was noted; of times, in nanoseconds.
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
    resident_of("self")
}

/// Octets of physical memory that the process of this number has.
pub fn resident_of(process: impl fmt::Display) -> usize {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("Linux with /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line, by proc(5)");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number, by proc(5)");
    kib << 10
}

/// Processor time of all threads of the process of this number, which has not been running just now.
pub fn spent_by(process: u32) -> Duration {
    let threads = fs::read_dir(format!("/proc/{process}/task")).expect("Linux with /proc, and a process");
    let nanos = threads.filter_map(|thread| {
        // A thread may end between the two.
        let text = fs::read_to_string(thread.ok()?.path().join("schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<u64>().ok()
    });
    Duration::from_nanos(nanos.sum())
}

fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::from_secs(time.tv_sec.cast_unsigned()) + Duration::from_nanos(time.tv_nsec.cast_unsigned())
}
