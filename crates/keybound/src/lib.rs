//! DPoP (RFC 9449) for every role, without I/O, clock or randomness of its own.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::as_conversions,
        clippy::arithmetic_side_effects
    )
)]

pub mod authorization_server;
pub mod challenge;
pub mod client;
pub mod crypto;
pub mod jwk;
pub mod jws;
pub mod nonce;
pub mod proof;
pub mod refusal;
pub mod replay;
pub mod request;
pub mod time;
pub mod token;
pub mod verify;
