//! Every algorithm, the RFCs' own values, the keys that must not pass, and private keys in every form.

mod private_keys;
mod public_keys;
mod signatures;

use super::SoftwareKey;
use crate::crypto::Alg;

/// A file of `vectors/spec`.
macro_rules! spec {
    ($name:literal) => {
        serde_json::from_str::<serde_json::Value>(include_str!(concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/../../vectors/spec/",
            $name
        )))
        .expect("the vectors are JSON")
    };
}
use spec;

fn generate(alg: Alg) -> SoftwareKey {
    SoftwareKey::generate(alg).expect("the library makes keys")
}
