//! Secrets that stand for something: made of 256 random bits, and kept as digests.

use keybound::crypto::aws_lc::random_array;
use keybound::jws::encode_base64url;
use keybound::refusal::Fault;
use keybound::replay::ReplayEntry;
use sha2::{Digest as _, Sha256};

/// A new secret that nobody guesses: a code, a token, a `request_uri`.
pub(crate) fn secret() -> Result<String, Fault> {
    Ok(encode_base64url(&random_array::<32>()?))
}

/// A new name that is no secret: of a grant, a token.
pub(crate) fn name() -> Result<String, Fault> {
    Ok(encode_base64url(&random_array::<16>()?))
}

/// Under which the store knows a secret.
pub(crate) fn digest(secret: &str) -> Box<str> {
    encode_base64url(&Sha256::digest(secret.as_bytes())).into()
}

/// Under which the store knows a proof or assertion.
pub(crate) fn digest_of_entry(entry: &ReplayEntry<'_>) -> Box<str> {
    let mut digest = Sha256::new();
    entry.digest_input(|octets| digest.update(octets));
    encode_base64url(&digest.finalize()).into()
}
