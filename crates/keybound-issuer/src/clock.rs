//! Where the issuer reads the time: one place, which a test replaces.

use core::fmt;
use core::time::Duration;
use std::sync::Arc;
use std::time::SystemTime;

use keybound::time::UnixTime;
use keybound_tower::SystemClock;

/// Tells the time.
///
/// ```
/// use keybound::time::UnixTime;
/// use keybound_issuer::Clock;
///
/// let stopped = Clock::new(|| UnixTime::from_secs(1_700_000_000));
/// assert_eq!(stopped.now().as_secs(), 1_700_000_000);
/// ```
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> UnixTime + Send + Sync>);

impl Clock {
    /// A clock of your own.
    pub fn new(now: impl Fn() -> UnixTime + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }

    /// The clock of the machine.
    pub fn system() -> Self {
        Self::new(|| SystemTime::now().into())
    }

    /// What time it is.
    pub fn now(&self) -> UnixTime {
        (self.0)()
    }
}

impl keybound_tower::Clock for Clock {
    fn now(&self) -> UnixTime {
        Self::now(self)
    }

    fn uptime(&self) -> Duration {
        keybound_tower::Clock::uptime(&SystemClock::new())
    }
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Clock(..)")
    }
}
