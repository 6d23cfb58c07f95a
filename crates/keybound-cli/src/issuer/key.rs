//! `keybound issuer key`: the signing keys in the store of an issuer.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use clap::{Args, Subcommand};
use keybound::time::UnixTime;
use keybound_gateway::config::{Config, Overrides, Reader};
use keybound_gateway::engine;
use keybound_issuer::Keys;
use keybound_issuer::keys::StoredKey;
use serde_json::{Value, json};

use crate::outcome::{Failure, Outcome, Result};
use crate::output;
use crate::service::environment;
use crate::style::{FAINT, PLAIN};
use crate::token::block_on;

/// Look after the keys that an issuer signs with
///
/// They stand in its store, sealed, and follow each other by themselves. A running issuer learns within seconds what is changed here.
/// A private key is never printed.
#[derive(Debug, Args)]
#[command(after_help = "Examples:
  keybound issuer key list --config issuer.toml
  keybound issuer key rotate --config issuer.toml")]
pub(super) struct SigningKeys {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// List the keys, in the order in which they sign
    #[command(after_help = "Example: keybound issuer key list --config issuer.toml --json")]
    List {
        /// The configuration of the issuer
        #[arg(long, value_name = "FILE", env = "KEYBOUND_CONFIG")]
        config: PathBuf,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Have the next key sign, and make the one after it
    ///
    /// At once, if it was published for as long as verifiers may keep the key set without looking (published_ahead); else as soon as that
    /// is so. With --revoke, a key that somebody else has is taken out at once: verifiers refuse what it signed as soon as they look
    /// at the key set again, within 5 minutes if they heed it, and a gateway that embeds the issuer within 10 seconds.
    #[command(after_help = "Examples:
  keybound issuer key rotate --config issuer.toml
  keybound issuer key rotate --config issuer.toml --revoke 0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I")]
    Rotate {
        /// The configuration of the issuer
        #[arg(long, value_name = "FILE", env = "KEYBOUND_CONFIG")]
        config: PathBuf,
        /// The key to take out, by its kid
        #[arg(long, value_name = "KID", allow_hyphen_values = true)]
        revoke: Option<String>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

impl SigningKeys {
    pub(super) fn run(&self) -> Result {
        match &self.what {
            What::List { config, json } => show(&open(config)?, *json),
            What::Rotate { config, revoke, json } => {
                let keys = open(config)?;
                let now = UnixTime::from(SystemTime::now());
                if revoke.as_ref().is_some_and(|kid| keys.list(now).iter().all(|key| *key.kid != **kid)) {
                    return Err(Failure::usage("there is no key of this name"));
                }
                let changing = async {
                    match revoke {
                        Some(kid) => keys.revoke(kid).await,
                        None => keys.rotate().await,
                    }
                };
                block_on(changing)?.map_err(Failure::failed)?;
                show(&keys, *json)
            }
        }
    }
}

/// The file may be one of an issuer alone, or of a gateway with one in it.
fn open(file: &Path) -> std::result::Result<Keys, Failure> {
    let load = |reader| Config::load(file, environment(), &Overrides::default().reader(reader));
    let config = load(Reader::Issuer).or_else(|mistakes| load(Reader::Serve).map_err(|_| mistakes));
    engine::issuer_keys(&config.map_err(Failure::configuration)?).map_err(Failure::configuration)
}

fn show(keys: &Keys, as_json: bool) -> Result {
    let now = UnixTime::from(SystemTime::now());
    let keys = keys.list(now);
    if as_json {
        output::line(json!(keys.iter().map(in_json).collect::<Vec<_>>()))?;
        return Ok(Outcome::Done);
    }
    for key in &keys {
        let what = match (key.retires, key.goes) {
            _ if key.signs > now => format!("signs from {}", moment(key.signs)),
            (Some(retires), Some(goes)) => format!("signs until {}, published until {}", moment(retires), moment(goes)),
            _ => format!("signs since {}", moment(key.signs)),
        };
        output::styled(format_args!(
            "{}  {:7}  {:7}  {FAINT}{what}{PLAIN}\n",
            key.kid,
            key.alg.name(),
            key.state.as_str()
        ))?;
    }
    Ok(Outcome::Done)
}

fn in_json(key: &StoredKey) -> Value {
    json!({
        "kid": key.kid,
        "alg": key.alg.name(),
        "state": key.state.as_str(),
        "published": key.published.as_secs(),
        "signs": key.signs.as_secs(),
        "retires": key.retires.map(UnixTime::as_secs),
        "goes": key.goes.map(UnixTime::as_secs),
    })
}

fn moment(time: UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).ok();
    let moment = seconds.and_then(|seconds| jiff::Timestamp::from_second(seconds).ok());
    moment.map_or_else(|| time.as_secs().to_string(), |moment| moment.to_string())
}
