//! The cryptography of AWS-LC: [`AwsLc`] checks signatures, [`SoftwareKey`] makes them. No key is taken here that
//! [`PublicJwk`](crate::jwk::PublicJwk) would refuse.

mod encoded;
mod private_jwk;
mod software_key;
#[cfg(test)]
mod tests;
mod verify;

pub use software_key::{KeyError, SoftwareKey};
pub use verify::AwsLc;

use crate::refusal::Fault;

/// Octets of the library's random generator, for those who start things: keys of nonce rings, `jti` values, states.
///
/// ```
/// use keybound::crypto::aws_lc::random_array;
///
/// assert_ne!(random_array::<32>()?, random_array()?);
/// # Ok::<(), keybound::refusal::Fault>(())
/// ```
///
/// # Errors
///
/// [`Fault::CryptoFailure`] if the generator has no entropy.
pub fn random_array<const N: usize>() -> Result<[u8; N], Fault> {
    let mut octets = [0; N];
    aws_lc_rs::rand::fill(&mut octets).map_err(|_| Fault::CryptoFailure)?;
    Ok(octets)
}
