//! Another configuration while requests are served: all of it or nothing.

use core::fmt;
use std::io;
use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Notify;

use crate::config::{Config, ConfigErrors};
use crate::engine::{Engine, EngineError};
use crate::front::Certificates;
use crate::notify;

/// The engine in force. Workers look here at every request, so that one that has begun ends under the engine it began with.
///
/// What outlives a reload: the replay memory and what is in it, the nonce key, the embedded issuer's keys, keys that were
/// fetched, and every connection, of clients and to upstreams. Key files are read again. What was remembered of tokens is
/// forgotten.
#[derive(Debug)]
pub struct Live {
    engine: ArcSwap<Engine>,
    /// What the listener shows, which changes with the rest.
    certificates: Option<Certificates>,
    /// One reload at a time: each begins from what the one before has left.
    reloading: Mutex<()>,
    /// Told of another engine: whoever looks after upstreams.
    changed: Notify,
}

/// Why the configuration in force was kept: a line for each mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadError(Vec<String>);

impl fmt::Display for ReloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

impl core::error::Error for ReloadError {}

impl From<ConfigErrors> for ReloadError {
    fn from(errors: ConfigErrors) -> Self {
        Self(errors.to_string().lines().map(str::to_owned).collect())
    }
}

impl Live {
    /// Begins with this engine.
    pub fn new(engine: Engine) -> Self {
        Self {
            engine: ArcSwap::from_pointee(engine),
            certificates: None,
            reloading: Mutex::new(()),
            changed: Notify::new(),
        }
    }

    /// The same, with the certificate of the listener, as [`Front::certificates`](crate::front::Front::certificates) gives
    /// it: from each reload on, new connections are shown the one that was read then.
    #[must_use]
    pub fn showing(self, certificates: Option<Certificates>) -> Self {
        Self { certificates, ..self }
    }

    /// The engine in force.
    pub fn engine(&self) -> Arc<Engine> {
        self.engine.load_full()
    }

    /// As [`Live::engine`], at the price of no shared counter.
    pub(crate) fn load(&self) -> Guard<Arc<Engine>> {
        self.engine.load()
    }

    /// Returns once another engine is in force than at the last call, or than at the beginning. For one task.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Puts another configuration into force, in place of the present one.
    ///
    /// If windows of proofs or the nonce policy change, or routes record proofs that did not, a barrier is raised: for the
    /// first minute proofs of before are answered with `use_dpop_nonce`.
    ///
    /// # Errors
    ///
    /// Every mistake: settings that need a restart, and what [`Engine::new`] says. Nothing has changed then.
    pub fn reload(&self, config: Config) -> Result<(), ReloadError> {
        let _one_at_a_time = self.reloading.lock();
        let present = self.engine();
        let mut mistakes = needing_restart(&present.config, &config);
        match present.successor(config) {
            Ok(successor) if mistakes.is_empty() => {
                let engine = successor.take_over();
                if let (Some(certificates), Some(tls)) = (&self.certificates, &engine.config.listen.tls) {
                    certificates.reload(tls);
                }
                self.engine.store(Arc::new(engine));
                self.changed.notify_one();
                return Ok(());
            }
            Ok(_) => {}
            Err(error) => mistakes.extend(lines(&error)),
        }
        Err(ReloadError(mistakes))
    }

    /// Hands over what is recorded of requests and was not sent yet. Call it once the fronts have drained; a receiver that does not
    /// answer is waited for a few seconds.
    pub fn end(&self) {
        self.engine().observe().end();
    }

    /// Reloads what `load` reads at every SIGHUP, and says in the log what came of it.
    ///
    /// # Errors
    ///
    /// If the signal cannot be caught or there can be no thread for it.
    pub fn reload_on_hangup(
        self: &Arc<Self>,
        load: impl Fn() -> Result<Config, ConfigErrors> + Send + 'static,
    ) -> io::Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let mut hangup = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup())?
        };
        let live = Arc::downgrade(self);
        let wait = move || {
            runtime.block_on(async {
                while hangup.recv().await.is_some() {
                    let Some(live) = live.upgrade() else { return };
                    notify::reloading();
                    tell(load().map_err(Into::into).and_then(|config| live.reload(config)));
                }
            });
        };
        std::thread::Builder::new().name("keybound-reload".to_owned()).spawn(wait)?;
        Ok(())
    }
}

fn tell(outcome: Result<(), ReloadError>) {
    match outcome {
        Ok(()) => {
            tracing::info!("the configuration was read again and is in force");
            notify::ready();
        }
        Err(ReloadError(mistakes)) => {
            for mistake in mistakes {
                tracing::error!("{mistake}");
            }
            tracing::error!("the configuration was not reloaded; the one before stays in force");
            notify::kept();
        }
    }
}

fn lines(error: &EngineError) -> Vec<String> {
    error.to_string().lines().map(str::to_owned).collect()
}

/// A message for each setting that a running process cannot change.
fn needing_restart(present: &Config, wanted: &Config) -> Vec<String> {
    let servers = present.authorization_server.as_ref().zip(wanted.authorization_server.as_ref());
    [
        ("listen.address", present.listen.address != wanted.listen.address),
        ("listen.admin", present.listen.admin != wanted.listen.admin),
        ("listen.decisions", present.listen.decisions != wanted.listen.decisions),
        ("listen.ext_authz", present.listen.ext_authz != wanted.listen.ext_authz),
        ("listen.trusted_peers", present.listen.trusted_peers != wanted.listen.trusted_peers),
        ("listen.proxy_protocol_peers", present.listen.proxy_protocol_peers != wanted.listen.proxy_protocol_peers),
        ("listen.tls", present.listen.tls.is_some() != wanted.listen.tls.is_some()),
        ("listen.workers", present.listen.workers != wanted.listen.workers),
        ("log.format", present.log.format != wanted.log.format),
        ("telemetry", present.telemetry != wanted.telemetry),
        ("proof.nonce_sealing_key_file", present.nonce_ring.kept() != wanted.nonce_ring.kept()),
        ("replay", present.replay != wanted.replay),
        ("limits", present.limits != wanted.limits),
        ("authorization_server.store", servers.is_some_and(|(present, wanted)| present.store != wanted.store)),
        (
            "authorization_server.audit_lifetime",
            servers.is_some_and(|(present, wanted)| present.audit_lifetime != wanted.audit_lifetime),
        ),
        (
            "authorization_server.audit_file",
            servers.is_some_and(|(present, wanted)| present.audit_file != wanted.audit_file),
        ),
        (
            "authorization_server.signing_key",
            servers.is_some_and(|(present, wanted)| present.signing_key != wanted.signing_key),
        ),
        ("authorization_server.keys", servers.is_some_and(|(present, wanted)| present.keys != wanted.keys)),
    ]
    .into_iter()
    .filter(|(_, differs)| *differs)
    .map(|(setting, _)| format!("{setting}: differs from what this process runs with, and needs a restart"))
    .collect()
}
