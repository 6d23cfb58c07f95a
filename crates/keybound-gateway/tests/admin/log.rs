//! The log of this process, as JSON, where tests can read it.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

use serde_json::Value;

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Write for Written {
    fn write(&mut self, octets: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(octets);
        Ok(octets.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static WRITTEN: OnceLock<Written> = OnceLock::new();

/// Begins to log, once for all tests; everything there is to say.
pub(crate) fn begin() {
    WRITTEN.get_or_init(|| {
        let written = Written::default();
        let writer = written.clone();
        tracing_subscriber::fmt()
            .json()
            .flatten_event(true)
            .with_max_level(tracing::Level::TRACE)
            .with_writer(move || writer.clone())
            .init();
        written
    });
}

/// All of it so far.
pub(crate) fn text() -> String {
    let octets = WRITTEN.get().unwrap().0.lock().unwrap().clone();
    String::from_utf8(octets).unwrap()
}

/// The decisions among it.
pub(crate) fn decisions() -> Vec<Value> {
    let lines = text();
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["target"] == "keybound::decision").collect()
}
