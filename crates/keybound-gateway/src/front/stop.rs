//! Telling a front to stop: from another thread, or by a signal.

use std::io;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::notify;

/// Stops a front: it takes no more connections, finishes the requests it has, and returns.
///
/// ```
/// use keybound_gateway::front::Stop;
///
/// let stop = Stop::new();
/// let elsewhere = stop.clone();
/// std::thread::spawn(move || elsewhere.now());
/// ```
#[derive(Clone, Debug)]
pub struct Stop(watch::Sender<bool>);

impl Stop {
    /// Nothing has stopped yet.
    pub fn new() -> Self {
        Self(watch::Sender::new(false))
    }

    /// Stops now. More than once is as good as once.
    pub fn now(&self) {
        self.0.send_replace(true);
    }

    /// Stops on SIGINT or SIGTERM; a second one ends the process at once, with status 1.
    ///
    /// # Errors
    ///
    /// If the signals cannot be caught or there can be no thread for it.
    pub fn on_signals(&self) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut interrupt, mut terminate) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let stop = self.clone();
        let wait = move || {
            runtime.block_on(async {
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
                notify::stopping(); // before: with nothing left to finish, the process ends with the stop
                stop.now();
                tokio::select! { _ = interrupt.recv() => {}, _ = terminate.recv() => {} }
            });
            tracing::warn!("second signal: requests in flight are dropped");
            std::process::exit(1);
        };
        std::thread::Builder::new().name("keybound-signals".to_owned()).spawn(wait)?;
        Ok(())
    }

    pub(crate) fn watch(&self) -> watch::Receiver<bool> {
        self.0.subscribe()
    }
}

impl Default for Stop {
    fn default() -> Self {
        Self::new()
    }
}
