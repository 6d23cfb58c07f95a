//! `keybound issuer key`: the signing keys in the store of an issuer.

use std::path::PathBuf;
use std::time::SystemTime;

use clap::{Args, Subcommand};
use keybound::time::UnixTime;
use keybound_gateway::engine;
use keybound_issuer::keys::StoredKey;
use serde_json::Value;

use super::entry::moment;
use super::place::{configuration, failure};
use crate::outcome::{Failure, Outcome, Result};
use crate::output;
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
    ///
    /// Nothing is changed: an issuer makes its first keys when it starts.
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
            What::List { config, json } => {
                let keys = block_on(engine::stored_keys(&configuration(config)?))?;
                show(&keys.map_err(Failure::configuration)?, *json)
            }
            What::Rotate { config, revoke, json } => {
                let place =
                    engine::administration_with_keys(&configuration(config)?).map_err(Failure::configuration)?;
                let changing = async {
                    match revoke {
                        Some(kid) => place.revoke_key(kid).await,
                        None => place.rotate_keys().await,
                    }
                };
                show(&block_on(changing)?.map_err(failure("signing key"))?, *json)
            }
        }
    }
}

fn show(keys: &[StoredKey], as_json: bool) -> Result {
    let now = UnixTime::from(SystemTime::now());
    if as_json {
        output::line(keys.iter().map(|key| Value::from(key.facts())).collect::<Value>())?;
        return Ok(Outcome::Done);
    }
    for key in keys {
        let what = match (key.retires, key.goes) {
            _ if key.signs > now => format!("signs from {}", moment(key.signs)),
            (Some(retires), Some(goes)) => format!("signs until {}, published until {}", moment(retires), moment(goes)),
            _ => format!("signs since {}", moment(key.signs)),
        };
        output::styled(format_args!(
            "{}  {:7}  {:7}  {FAINT}{what}{PLAIN}",
            key.kid,
            key.alg.name(),
            key.state.as_str()
        ))?;
    }
    Ok(Outcome::Done)
}
