//! Points in time, handed in by the caller. Nothing here reads a clock.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

/// Whole seconds since 1970-01-01T00:00:00Z, leap seconds not counted (RFC 7519 section 2, `NumericDate`).
///
/// ```
/// use core::time::Duration;
/// use keybound::time::UnixTime;
///
/// let issued = UnixTime::from_secs(1_562_262_616);
/// let later = issued.plus(Duration::from_secs(300));
/// assert_eq!(later.as_secs(), 1_562_262_916);
/// assert_eq!(later.since(issued), Duration::from_secs(300));
/// assert_eq!(issued.since(later), Duration::ZERO);
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixTime(u64);

impl UnixTime {
    /// The last second of the year 9999. A date beyond it is a mistake or an attack, never a token.
    pub const MAX: Self = Self(253_402_300_799);

    /// This many whole seconds since the epoch; anything beyond [`UnixTime::MAX`] becomes that.
    pub const fn from_secs(seconds: u64) -> Self {
        if seconds > Self::MAX.0 { Self::MAX } else { Self(seconds) }
    }

    /// Whole seconds since the epoch.
    pub const fn as_secs(self) -> u64 {
        self.0
    }

    /// This time and whole seconds of `span` more, at most [`UnixTime::MAX`].
    #[must_use]
    pub const fn plus(self, span: Duration) -> Self {
        Self::from_secs(self.0.saturating_add(span.as_secs()))
    }

    /// This time less whole seconds of `span`, at least the epoch.
    #[must_use]
    pub const fn minus(self, span: Duration) -> Self {
        Self(self.0.saturating_sub(span.as_secs()))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_secs(self.0.saturating_sub(earlier.0))
    }
}

impl From<SystemTime> for UnixTime {
    /// A system time before the epoch becomes the epoch.
    fn from(time: SystemTime) -> Self {
        Self::from_secs(time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs()))
    }
}

impl fmt::Debug for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "UnixTime({})", self.0)
    }
}

impl fmt::Display for UnixTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
