//! While a load runs: a line about it on a terminal, tokens renewed, Ctrl-C.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use keybound_probe::load::{Load as Plan, Running};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::callers::Callers;
use super::{Load, failure};
use crate::outcome::Failure;
use crate::token::block_on;

/// How often the line is written.
const TICK: Duration = Duration::from_millis(100);

/// How often tokens are looked at.
const RENEWAL: Duration = Duration::from_secs(1);

/// Starts the load, and returns when it has ended or has been stopped by a signal.
pub(super) fn to_the_end(plan: &Plan, load: &Load, callers: &Callers) -> Result<Running, Failure> {
    block_on(async {
        let mut interrupt = signal(SignalKind::interrupt()).map_err(Failure::failed)?;
        let mut terminate = signal(SignalKind::terminate()).map_err(Failure::failed)?;
        // Only now: a signal from the first answer on finds its handler.
        let running = plan.start().map_err(failure)?;
        let line = Line::new(load);
        let (mut tick, mut renewal) = (interval(TICK), interval(RENEWAL));
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        renewal.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut stopped = false;
        while !running.is_over() {
            tokio::select! {
                _ = tick.tick() => line.show(&running),
                _ = renewal.tick(), if !stopped => callers.renew().await?,
                () = either(&mut interrupt, &mut terminate) => {
                    if stopped {
                        return Err(Failure::failed("stopped before all requests were answered"));
                    }
                    stopped = true;
                    running.stop();
                }
            }
        }
        line.clear();
        Ok(running)
    })?
}

async fn either(one: &mut Signal, other: &mut Signal) {
    tokio::select! { _ = one.recv() => {}, _ = other.recv() => {} }
}

/// One line on standard error, if that is a terminal.
struct Line {
    bar: ProgressBar,
    begun: Instant,
    /// The bar is as long as there are requests; else as there are milliseconds.
    by_requests: bool,
}

impl Line {
    fn new(load: &Load) -> Self {
        let whole = load.duration().unwrap_or_default() + load.warm_up();
        let length = load.requests.unwrap_or_else(|| u64::try_from(whole.as_millis()).unwrap_or(u64::MAX));
        let style = ProgressStyle::with_template("{bar:30} {msg}").expect("a template of known keys");
        let bar = if std::io::stderr().is_terminal() { ProgressBar::new(length) } else { ProgressBar::hidden() };
        Self { bar: bar.with_style(style), begun: Instant::now(), by_requests: load.requests.is_some() }
    }

    fn show(&self, running: &Running) {
        if self.bar.is_hidden() {
            return;
        }
        let (done, bad) = (running.progress().done(), running.progress().bad());
        let elapsed = self.begun.elapsed();
        self.bar.set_position(if self.by_requests { done } else { u64::try_from(elapsed.as_millis()).unwrap_or(0) });
        let phase = if Instant::now() < running.counted_from() { "warming up, " } else { "" };
        let trouble = if bad > 0 { format!(", {bad} without success") } else { String::new() };
        self.bar.set_message(format!("{phase}{done} answers, {:.0}/s{trouble}", done as f64 / elapsed.as_secs_f64()));
    }

    fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
