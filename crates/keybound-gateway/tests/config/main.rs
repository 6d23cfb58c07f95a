//! Configurations and what is said about their mistakes: the exact lines a person sees.

mod files;
mod mistakes;
mod reading;
mod routes;
mod tables;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::Duration;

use keybound::crypto::aws_lc::SoftwareKey;
use keybound::crypto::{Alg, AlgSet, Signer as _};
use keybound_gateway::config::{
    Config, KeySource, Mode, NoncePolicy, Overrides, Place, ProofHandling, Reader, Sealing, UpstreamAuthorization,
    default_text, schema,
};
use keybound_issuer::keys::{KeySettings, SealingKeys};

/// What every configuration below needs besides what it is about.
const REST: &str = "[[origin]]\nurl = \"https://api.example.com\"\n[[issuer]]\nurl = \"https://id.example.com\"\n\
                    audience = [\"https://api.example.com\"]\n[[route]]\npath = \"/\"\nupstream = [\"http://127.0.0.1:9000\"]\n";

fn file() -> &'static Path {
    Path::new("keybound.toml")
}

fn lines_of(text: &str) -> String {
    Config::parse(text, file()).map_or_else(|errors| errors.to_string(), |_| String::new())
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}
