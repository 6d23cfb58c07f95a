//! The one place where this crate learns the time.

use core::fmt;
use core::time::Duration;
use std::sync::LazyLock;
use std::time::{Instant, SystemTime};

use keybound::time::UnixTime;

/// Tells the time: of day for what proofs and tokens claim, and since a start for how long something is remembered.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The time of day.
    fn now(&self) -> UnixTime;

    /// Time since some fixed moment, the same for all who share keys. It never steps back, whatever the time of day does.
    fn uptime(&self) -> Duration;
}

/// The clocks of the operating system. All values of this type are the same clock.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct SystemClock;

static STARTED: LazyLock<Instant> = LazyLock::new(Instant::now);

impl SystemClock {
    /// The clocks of the operating system.
    pub const fn new() -> Self {
        Self
    }
}

impl Clock for SystemClock {
    fn now(&self) -> UnixTime {
        SystemTime::now().into()
    }

    fn uptime(&self) -> Duration {
        STARTED.elapsed()
    }
}
