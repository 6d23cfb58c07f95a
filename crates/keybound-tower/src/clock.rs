//! The one place where this crate learns the time.

use core::fmt;
use core::time::Duration;
use std::time::{Instant, SystemTime};

use keybound::time::UnixTime;

/// Tells the time: of day for what proofs and tokens claim, and since a start for how long something is remembered.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> UnixTime;

    /// Time since some fixed moment. It never steps back, whatever the time of day does.
    fn uptime(&self) -> Duration;
}

/// The clocks of the operating system.
#[derive(Clone, Copy, Debug)]
pub struct SystemClock {
    started: Instant,
}

impl SystemClock {
    /// Whose uptime begins now.
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
        }
    }
}

impl Default for SystemClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        SystemTime::now().into()
    }

    fn uptime(&self) -> Duration {
        self.started.elapsed()
    }
}
