//! `keybound issuer`: the authorization server alone, with a file, or without one as a self-contained default on loopback; and what
//! is done with its store, a file for each subject.

mod audit;
mod client;
mod entry;
mod key;
mod place;
mod user;

use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use clap::{Args, Subcommand};
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound_gateway::admin::{Admin, Running, ShownIssuer};
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine::IssuerAlone;
use keybound_gateway::front::{Front, Sockets, Stop};
use keybound_gateway::issuer::IssuerStack;
use keybound_gateway::notify;

use crate::logging;
use crate::outcome::{Failure, Result};
use crate::service::{
    Service, TRIAL_USER, announce, drained, environment, on_hangup, own_name, stay_on_hangup, trial_clients,
};
use crate::style::{PLAIN, STRONG};

/// What the tokens of the self-contained default are for: where `keybound serve` listens by default.
const TRIAL_AUDIENCE: &str = "http://127.0.0.1:8080";

/// Run the authorization server alone, or look after its clients, users and keys
///
/// It issues tokens that are bound to the client's key. With --config, it reads [authorization_server] of the file, with
/// [listen], [proof], [replay] and [limits]; gateways name it in [[issuer]]. Without, it is an issuer on loopback, all in memory,
/// with the client demo, the public client app, and alice signed in. The commands work on the store: a running issuer sees at once
/// what they change.
#[derive(Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:
  keybound issuer
  keybound issuer --config issuer.toml
  keybound issuer --listen 127.0.0.1:8091
  keybound issuer client add orders --config issuer.toml --grant client_credentials --scope read
  keybound issuer key list --config issuer.toml"
)]
pub(crate) struct Issuer {
    #[command(flatten)]
    service: Service,
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    Key(key::SigningKeys),
    Client(client::Clients),
    User(user::Users),
    Audit(audit::Entries),
}

impl Issuer {
    pub(crate) fn run(&self) -> Result {
        match &self.what {
            Some(What::Key(keys)) => keys.run(),
            Some(What::Client(clients)) => clients.run(),
            Some(What::User(users)) => users.run(),
            Some(What::Audit(entries)) => entries.run(),
            None => self.serve(),
        }
    }

    fn serve(&self) -> Result {
        let mut sockets = self.service.sockets()?;
        let stop = self.service.stop()?;
        match &self.service.config {
            Some(path) => {
                let overrides = Overrides::listen(self.service.listen.clone()).reader(Reader::Issuer);
                let config = Config::load(path, environment(), &overrides).map_err(Failure::configuration)?;
                logging::use_format(config.log.format);
                let running = Arc::new(OnceLock::new());
                on_hangup(read_again(Arc::clone(&running)))?;
                let front = self.service.bind("issuer", &config, &mut sockets)?;
                let admin = config.listen.admin_is_chosen.then(|| Admin::bind_among(&mut sockets, &config.listen));
                let admin = admin.transpose().map_err(Failure::failed)?;
                sockets.finish().map_err(Failure::usage)?;
                serve(front, admin, &config, &stop, &running)
            }
            None => {
                stay_on_hangup("there is no configuration file to read again")?;
                self.self_contained(&stop)
            }
        }
    }

    fn self_contained(&self, stop: &Stop) -> Result {
        let address = self.service.trial_address("issuer", "127.0.0.1:8090")?;
        let secret = encode_base64url(&random_array::<16>().map_err(Failure::failed)?);
        // Bound before the configuration is complete: the issuer's name holds the port that was found.
        let front = self.service.bind("issuer", &default_config(address, &secret)?, &mut Sockets::default())?;
        let found = front.address().map_err(Failure::failed)?;
        let config = default_config(found, &secret)?;
        say_what_to_try(found, &secret);
        serve(front, None, &config, stop, &OnceLock::new())
    }
}

/// What SIGHUP does: the files of the signing key and of the nonce ring are read again, the configuration is not.
fn read_again(running: Arc<OnceLock<Arc<IssuerAlone>>>) -> impl Fn() + Send + 'static {
    move || {
        match running.get().map_or_else(|| Ok(Vec::new()), |alone| alone.read_again()).as_deref() {
            Ok([]) => tracing::warn!("SIGHUP: the configuration is not read again while the issuer runs"),
            Ok(read) => {
                let (what, were) = (read.join(" and "), if read.len() == 1 { "was" } else { "were" });
                tracing::warn!("SIGHUP: {what} {were} read again; the rest of the configuration waits for a restart");
            }
            Err(error) => {
                tracing::error!("{error}");
                return notify::kept();
            }
        }
        notify::ready();
    }
}

fn serve(
    front: Front,
    admin: Option<Admin>,
    config: &Config,
    stop: &Stop,
    running: &OnceLock<Arc<IssuerAlone>>,
) -> Result {
    let alone = Arc::new(IssuerAlone::new(config).map_err(Failure::configuration)?);
    let _ = running.set(Arc::clone(&alone));
    let address = front.address().map_err(Failure::failed)?;
    let _looked_after = alone.look_after().map_err(Failure::failed)?;
    let _shown = admin.map(|admin| show(admin, &alone, config, stop)).transpose()?;
    tracing::info!(%address, issuer = alone.issuer().identifier(), "listening");
    notify::ready();
    drained(front.run(|_| IssuerStack::new(alone.issuer(), address), stop).map_err(Failure::failed)?)
}

/// Health, metrics and the administration, on a listener and a thread of their own.
fn show(admin: Admin, alone: &Arc<IssuerAlone>, config: &Config, stop: &Stop) -> std::result::Result<Running, Failure> {
    let address = admin.address().map_err(Failure::failed)?;
    tracing::info!(admin = %address, "listening for administrators");
    let shown = ShownIssuer::new(alone, config.listen.admin_secret.clone(), stop);
    admin.start_issuer(shown).map_err(Failure::failed)
}

fn default_config(address: SocketAddr, secret: &str) -> std::result::Result<Config, Failure> {
    let trial = trial_clients(secret);
    let text = format!(
        r#"
[listen]
address = "{address}"
[authorization_server]
url = "http://{address}"
audience = ["{TRIAL_AUDIENCE}"]
{trial}"#
    );
    let flags = Overrides::default().reader(Reader::Issuer);
    Config::from_parts(&text, Path::new("default"), [], &flags).map_err(Failure::configuration)
}

fn say_what_to_try(address: SocketAddr, secret: &str) {
    let keybound = own_name();
    announce(
        format_args!("{STRONG}keybound{PLAIN} issues bound tokens on http://{address}."),
        format_args!(
            "export KEYBOUND_CLIENT_SECRET={secret}\n\
             {keybound} token --issuer http://{address} --client-id demo\n\
             curl -i http://{address}/.well-known/oauth-authorization-server"
        ),
        format_args!(
            "The first prints a token for {TRIAL_AUDIENCE}; a gateway there accepts it with [[issuer]] url = \
             \"http://{address}\".\nAs the person {TRIAL_USER}, whom nobody asks for a password here: --client-id demo --login."
        ),
    );
}
