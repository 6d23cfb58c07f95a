//! The key that is made for an issuer and a client when none is named.

use data_encoding::HEXLOWER;
use keybound::crypto::Alg;
use keybound::crypto::aws_lc::SoftwareKey;
use sha2::{Digest as _, Sha256};

use super::Result;
use crate::outcome::Failure;
use crate::style::{FAINT, PLAIN};
use crate::{key, output};

/// The key of this issuer and client (R-CLI-28), made when first needed, and its former ones.
pub(super) fn own_key(issuer: &str, client_id: &str) -> Result<(SoftwareKey, Vec<SoftwareKey>)> {
    let keys = key::store()?;
    let name = own_name(issuer, client_id);
    if !keys.contains(&name) {
        let key = SoftwareKey::generate(Alg::Es256).map_err(Failure::failed)?;
        match keys.add(&name, &key) {
            Ok(()) => {
                output::aside(format_args!("{FAINT}made the key {name} for this issuer and client{PLAIN}"));
                return Ok((key, Vec::new()));
            }
            Err(why) if why.exists() => {} // another run was first
            Err(why) => return Err(key::failure(why)),
        }
    }
    key::load_all(&name)
}

/// Readable, and different for different issuers and clients.
fn own_name(issuer: &str, client_id: &str) -> String {
    let host = issuer.split_once("://").map_or(issuer, |(_, rest)| rest);
    let plain = |text: &str| -> String {
        let fit = |char: char| {
            if char.is_ascii_alphanumeric() || char == '.' { char } else { '-' }
        };
        text.chars().map(fit).take(32).collect()
    };
    let digest = Sha256::new().chain_update(issuer).chain_update([0]).chain_update(client_id).finalize();
    let digest = HEXLOWER.encode(&digest[..6]);
    format!("auto-{}-{}-{digest}", plain(host), plain(client_id))
}
