//! The level of the log, which whoever set the log up lets us change.

use core::fmt;

type Get = Box<dyn Fn() -> String + Send + Sync>;
type Set = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// A way to see and change which events are logged, at run time.
pub struct LogLevel {
    get: Get,
    set: Set,
}

impl LogLevel {
    /// `get` tells the filter in force; `set` puts another in its place, or says what is wrong with it.
    pub fn new(
        get: impl Fn() -> String + Send + Sync + 'static,
        set: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self { get: Box::new(get), set: Box::new(set) }
    }

    pub(super) fn get(&self) -> String {
        (self.get)()
    }

    pub(super) fn set(&self, filter: &str) -> Result<(), String> {
        (self.set)(filter)
    }
}

impl fmt::Debug for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "LogLevel({})", self.get())
    }
}
