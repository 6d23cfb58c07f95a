//! The log on standard error: its form and its level can change while the process runs.
//!
//! Whatever the level is, of libraries only what is [`fit_to_print`] is written: below `info` they quote what they were sent, and a
//! path that h2 finds malformed may have a token in its query.

use std::io::IsTerminal as _;
use std::sync::OnceLock;

use keybound_gateway::admin::LogLevel;
use keybound_gateway::config::LogFormat;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_subscriber::filter::{FilterFn, filter_fn};
use tracing_subscriber::layer::{Layer, Layered, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Registry, fmt, reload};

type Levelled = Layered<reload::Layer<EnvFilter, Registry>, Registry>;
type Filtered = Layered<FilterFn<fn(&Metadata<'_>) -> bool>, Levelled>;
type Written = Box<dyn Layer<Filtered> + Send + Sync>;

struct Handles {
    filter: reload::Handle<EnvFilter, Registry>,
    written: reload::Handle<Written, Filtered>,
}

static HANDLES: OnceLock<Handles> = OnceLock::new();

/// Begins to log, for people and at the level of `KEYBOUND_LOG`.
pub(crate) fn begin() {
    let wanted = std::env::var_os("KEYBOUND_LOG").filter(|wanted| !wanted.is_empty());
    let read = wanted.map(|wanted| wanted.to_str().ok_or_else(|| "it is not UTF-8".to_owned()).and_then(filter_of));
    let (filter, mistake) = match read {
        Some(Ok(filter)) => (filter, None),
        Some(Err(mistake)) => (EnvFilter::new("info"), Some(mistake)),
        None => (EnvFilter::new("info"), None),
    };
    let (filter, filter_handle) = reload::Layer::new(filter);
    let (written, written_handle) = reload::Layer::new(written(LogFormat::Text));
    let fit: FilterFn<fn(&Metadata<'_>) -> bool> = filter_fn(fit_to_print);
    tracing_subscriber::registry().with(filter).with(fit).with(written).init();
    let _ = HANDLES.set(Handles { filter: filter_handle, written: written_handle });
    if let Some(mistake) = mistake {
        tracing::warn!("KEYBOUND_LOG is left aside, the level is info: {mistake}");
    }
}

/// What no level lets through is the rest. A filter of its own and not a part of the one that is set: nothing that can be written
/// there, targets and spans included, undoes it.
fn fit_to_print(said: &Metadata<'_>) -> bool {
    let ours =
        said.target().strip_prefix("keybound").is_some_and(|rest| rest.is_empty() || rest.starts_with([':', '_']));
    ours || *said.level() <= Level::INFO
}

/// From now on lines look like this.
pub(crate) fn use_format(format: LogFormat) {
    if let Some(handles) = HANDLES.get() {
        // It fails only when the log is gone.
        let _ = handles.written.reload(written(format));
    }
}

/// What the admin listener changes the level by.
pub(crate) fn level() -> LogLevel {
    LogLevel::new(current, set)
}

fn written(format: LogFormat) -> Written {
    match format {
        LogFormat::Json => {
            Box::new(fmt::layer().json().flatten_event(true).with_current_span(false).with_writer(std::io::stderr))
        }
        _ => Box::new(fmt::layer().with_writer(std::io::stderr).with_ansi(std::io::stderr().is_terminal())),
    }
}

fn current() -> String {
    let filter = HANDLES.get().and_then(|handles| handles.filter.with_current(ToString::to_string).ok());
    filter.unwrap_or_default()
}

fn set(filter: &str) -> Result<(), String> {
    let filter = filter_of(filter)?;
    let handles = HANDLES.get().ok_or("there is no log")?;
    handles.filter.reload(filter).map_err(|error| error.to_string())
}

fn filter_of(filter: &str) -> Result<EnvFilter, String> {
    // A word that is no level would be taken for a target, and everything else would fall silent.
    let misspelt = |part: &&str| !part.contains('=') && part.trim().parse::<LevelFilter>().is_err();
    if let Some(part) = filter.split(',').find(misspelt) {
        return Err(format!("{part:?} is not a level; use off, error, warn, info, debug or trace, or TARGET=LEVEL"));
    }
    EnvFilter::builder().parse(filter).map_err(|error| error.to_string())
}
