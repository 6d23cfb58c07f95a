//! `keybound serve`: the gateway, with a file, or without one as a self-contained default on loopback.

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use clap::Args;
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound_gateway::admin::{Admin, Shown};
use keybound_gateway::config::{Config, Overrides};
use keybound_gateway::decisions::{Decisions, ExtAuthz};
use keybound_gateway::engine::Engine;
use keybound_gateway::front::{Drained, Front, Handler, Sockets, Stop};
use keybound_gateway::notify;
use keybound_gateway::reload::Live;
use keybound_gateway::stack::Stack;

use crate::outcome::{Failure, Outcome, Result};
use crate::service::{Service, TRIAL_USER, announce, drained, environment, own_name, stay_on_hangup, trial_clients};
use crate::style::{PLAIN, STRONG};
use crate::{logging, sample};

/// Run the gateway
///
/// With --config, it enforces DPoP in front of your services. Without, it is a complete example on loopback: a gateway, an
/// issuer under /issuer and a small API behind them, all in memory; nothing is written to disk.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound serve
  keybound serve --config keybound.toml
  keybound serve --listen 127.0.0.1:8090")]
pub(crate) struct Serve {
    #[command(flatten)]
    service: Service,
}

impl Serve {
    pub(crate) fn run(&self) -> Result {
        let mut sockets = self.service.sockets()?;
        let stop = self.service.stop()?;
        match &self.service.config {
            Some(path) => {
                let overrides = Overrides::listen(self.service.listen.clone());
                let config = Config::load(path, environment(), &overrides).map_err(Failure::configuration)?;
                logging::use_format(config.log.format);
                let front = self.service.bind("serve", &config, &mut sockets)?;
                let asked = Asked::bind(&config, &mut sockets)?;
                let admin = Admin::bind_among(&mut sockets, &config.listen).map_err(Failure::failed)?;
                sockets.finish().map_err(Failure::usage)?;
                let live = live(config, &front)?;
                let path = path.clone();
                let load = move || Config::load(&path, environment(), &overrides);
                live.reload_on_hangup(load).map_err(Failure::failed)?;
                serve(front, asked, admin, live, &stop)
            }
            None => {
                stay_on_hangup("there is no configuration file to read again")?;
                self.self_contained(&stop)
            }
        }
    }

    fn self_contained(&self, stop: &Stop) -> Result {
        let address = self.service.trial_address("serve", "127.0.0.1:8080")?;
        let sample = sample::start().map_err(|error| Failure::failed(format!("the sample API: {error}")))?;
        let secret = encode_base64url(&random_array::<16>().map_err(Failure::failed)?);
        // Bound before the configuration is complete: the origin holds the port that was found.
        let config = default_config(address, sample, &secret)?;
        logging::use_format(config.log.format);
        let front = self.service.bind("serve", &config, &mut Sockets::default())?;
        let found = front.address().map_err(Failure::failed)?;
        let admin = Admin::bind(&config.listen).map_err(Failure::failed)?;
        let console = admin.address().map_err(Failure::failed)?;
        let config = default_config(found, sample, &secret)?;
        say_what_to_try(found, console, &secret);
        let live = live(config, &front)?;
        serve(front, Asked::default(), admin, live, stop)
    }
}

fn live(config: Config, front: &Front) -> std::result::Result<Arc<Live>, Failure> {
    let engine = Engine::new(config).map_err(Failure::configuration)?;
    Ok(Arc::new(Live::new(engine).showing(front.certificates())))
}

/// The listeners for other proxies, as far as there are to be any.
#[derive(Default)]
struct Asked {
    decisions: Option<Front>,
    ext_authz: Option<Front>,
}

impl Asked {
    fn bind(config: &Config, sockets: &mut Sockets) -> std::result::Result<Self, Failure> {
        let Config { listen, limits, .. } = config;
        let decisions = listen.decisions.as_ref();
        let decisions = decisions.map(|own| Front::bind_decisions_among(sockets, own, listen, limits)).transpose();
        let ext_authz = listen.ext_authz.as_ref();
        let ext_authz = ext_authz.map(|own| Front::bind_ext_authz_among(sockets, own, listen, limits)).transpose();
        Ok(Self { decisions: decisions.map_err(Failure::failed)?, ext_authz: ext_authz.map_err(Failure::failed)? })
    }

    /// Answers questions until `stop`, in threads of their own.
    fn start(self, live: &Arc<Live>, stop: &Stop) -> std::result::Result<Vec<Deciding>, Failure> {
        let (one, two) = (Arc::clone(live), Arc::clone(live));
        let decisions = self.decisions.map(|front| {
            tracing::info!(address = %address(&front)?, "listening for questions of other proxies");
            decide("keybound-decisions", front, move || Decisions::new(Arc::clone(&one)), stop)
        });
        let ext_authz = self.ext_authz.map(|front| {
            tracing::info!(address = %address(&front)?, "listening for questions of Envoy");
            decide("keybound-ext-authz", front, move || ExtAuthz::new(Arc::clone(&two)), stop)
        });
        [decisions, ext_authz].into_iter().flatten().collect()
    }
}

/// A thread that answers questions.
type Deciding = JoinHandle<io::Result<Drained>>;

fn address(front: &Front) -> std::result::Result<SocketAddr, Failure> {
    front.address().map_err(Failure::failed)
}

fn serve(front: Front, asked: Asked, admin: Admin, live: Arc<Live>, stop: &Stop) -> Result {
    let shown = Shown::new(Arc::clone(&live), front.connections(), stop).log_level(logging::level());
    let shown = shown.deciding(asked.decisions.as_ref(), asked.ext_authz.as_ref());
    let console = admin.address().map_err(Failure::failed)?;
    tracing::info!(address = %address(&front)?, admin = %console, "listening");
    let _console = admin.start(shown).map_err(Failure::failed)?;
    let deciding = asked.start(&live, stop)?;
    notify::ready();
    let served = front.run(|proxy| Stack::new(Arc::clone(&live), proxy), stop);
    stop.now();
    let decided: Vec<_> = deciding
        .into_iter()
        .map(|thread| thread.join().unwrap_or_else(|_| Err(io::Error::other("a worker panicked"))))
        .collect();
    live.end();
    drained(served.map_err(Failure::failed)?)?;
    for ended in decided {
        drained(ended.map_err(Failure::failed)?)?;
    }
    Ok(Outcome::Done)
}

/// Answers questions until `stop`; if it cannot, the gateway stops too: whoever relies on both would not notice half of it.
fn decide<H: Handler>(
    name: &str,
    front: Front,
    make: impl Fn() -> H + Send + Sync + 'static,
    stop: &Stop,
) -> std::result::Result<Deciding, Failure> {
    let stop = stop.clone();
    let work = move || {
        let ended = front.run(|_| make(), &stop);
        stop.now();
        ended
    };
    thread::Builder::new().name(name.to_owned()).spawn(work).map_err(Failure::failed)
}

fn default_config(address: SocketAddr, sample: SocketAddr, secret: &str) -> std::result::Result<Config, Failure> {
    let trial = trial_clients(secret);
    let text = format!(
        r#"
[listen]
address = "{address}"
[[origin]]
url = "http://{address}"
[[route]]
path = "/"
upstream = ["http://{sample}"]
scope = ["read"]
[authorization_server]
url = "http://{address}/issuer"
store = "memory"
{trial}"#
    );
    let environment =
        environment().filter(|(name, _)| name == "KEYBOUND_LISTEN_ADMIN" || name.starts_with("KEYBOUND_LOG_"));
    Config::from_parts(&text, Path::new("default"), environment, &Overrides::default()).map_err(Failure::configuration)
}

fn say_what_to_try(address: SocketAddr, console: SocketAddr, secret: &str) {
    let keybound = own_name();
    announce(
        format_args!(
            "{STRONG}keybound{PLAIN} protects a sample API on http://{address}, with an issuer under /issuer.\n\
             The console is on {STRONG}http://{console}{PLAIN}."
        ),
        format_args!(
            "export KEYBOUND_CLIENT_SECRET={secret}\n\
             {keybound} request --issuer http://{address}/issuer --client-id demo http://{address}/hello\n\
             curl -i http://{address}/hello"
        ),
        format_args!(
            "The first gets in with a bound token and a fresh proof; curl has neither. As the person {TRIAL_USER}, whom nobody asks\n\
             for a password here: --client-id demo --login."
        ),
    );
}
