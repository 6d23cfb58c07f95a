//! `keybound issuer`: the authorization server alone, with a file, or without one as a self-contained default on loopback.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine::issuer_alone;
use keybound_gateway::front::{Front, Stop};
use keybound_gateway::issuer::IssuerStack;

use crate::logging;
use crate::outcome::{Failure, Result};
use crate::service::{Ending, drained, environment, own_name, trial_address, unbound};
use crate::style::{FAINT, PLAIN, STRONG};

/// What the tokens of the self-contained default are for: where `keybound serve` listens by default.
const TRIAL_AUDIENCE: &str = "http://127.0.0.1:8080";

/// Run the authorization server alone
///
/// It issues tokens that are bound to the client's key. With --config, it reads [authorization_server] of the file, with
/// [listen], [proof], [replay] and [limits]; gateways name it in [[issuer]]. Without, it is an issuer on loopback with one
/// client, all in memory.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound issuer
  keybound issuer --config issuer.toml
  keybound issuer --listen 127.0.0.1:8091")]
pub(crate) struct Issuer {
    /// The configuration file
    #[arg(long, value_name = "FILE", env = "KEYBOUND_CONFIG")]
    config: Option<PathBuf>,
    /// Where to listen, instead of what the file says
    #[arg(long, value_name = "ADDR")]
    listen: Option<String>,
    #[command(flatten)]
    ending: Ending,
}

impl Issuer {
    pub(crate) fn run(&self) -> Result {
        let stop = self.ending.stop()?;
        match &self.config {
            Some(path) => {
                let overrides = Overrides::listen(self.listen.clone()).reader(Reader::Issuer);
                let config = Config::load(path, environment(), &overrides).map_err(Failure::configuration)?;
                logging::use_format(config.log.format);
                serve(self.bind(&config)?, &config, &stop)
            }
            None => self.self_contained(&stop),
        }
    }

    fn self_contained(&self, stop: &Stop) -> Result {
        let address = trial_address("issuer", self.listen.as_deref().unwrap_or("127.0.0.1:8090"))?;
        let secret = encode_base64url(&random_array::<16>().map_err(Failure::failed)?);
        // Bound before the configuration is complete: the issuer's name holds the port that was found.
        let front = self.bind(&default_config(address, &secret)?)?;
        let found = front.address().map_err(Failure::failed)?;
        let config = default_config(found, &secret)?;
        announce(found, &secret);
        serve(front, &config, stop)
    }

    fn bind(&self, config: &Config) -> std::result::Result<Front, Failure> {
        Front::bind(&config.listen, &config.limits).map_err(|error| unbound(error, "issuer", self.config.as_deref()))
    }
}

fn serve(front: Front, config: &Config, stop: &Stop) -> Result {
    let issuer = issuer_alone(config).map_err(Failure::configuration)?;
    tracing::info!(address = %front.address().map_err(Failure::failed)?, issuer = issuer.identifier(), "listening");
    drained(front.run(|_| IssuerStack::new(&issuer), stop).map_err(Failure::failed)?)
}

fn default_config(address: SocketAddr, secret: &str) -> std::result::Result<Config, Failure> {
    let text = format!(
        r#"
[listen]
address = "{address}"
[authorization_server]
url = "http://{address}"
audience = ["{TRIAL_AUDIENCE}"]
[[authorization_server.client]]
client_id = "demo"
client_secret = "{secret}"
grant_types = ["client_credentials"]
scope = ["read", "write"]
dpop_bound_access_tokens = true
"#
    );
    let flags = Overrides::default().reader(Reader::Issuer);
    Config::from_parts(&text, Path::new("default"), [], &flags).map_err(Failure::configuration)
}

fn announce(address: SocketAddr, secret: &str) {
    anstream::println!("{STRONG}keybound{PLAIN} issues bound tokens on http://{address}.");
    anstream::println!(
        "{FAINT}Everything is in memory and ends with this process. Paste into another terminal:{PLAIN}\n"
    );
    let keybound = own_name();
    println!("export KEYBOUND_CLIENT_SECRET={secret}");
    println!("{keybound} token --issuer http://{address} --client-id demo");
    println!("curl -i http://{address}/.well-known/oauth-authorization-server\n");
    anstream::println!(
        "{FAINT}The first prints a token for {TRIAL_AUDIENCE}; a gateway there accepts it with [[issuer]] url = \
         \"http://{address}\". Ctrl-C ends it.{PLAIN}"
    );
}
