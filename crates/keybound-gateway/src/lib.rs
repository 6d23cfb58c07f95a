//! The gateway: a reverse proxy that checks DPoP (RFC 9449) before an upstream sees a request.
//!
//! A request goes from [`front`] (one listener, bounded connections, well-formed requests) to a
//! [`Handler`](front::Handler), which decides, and from there through [`proxy`] to an upstream. [`decisions`]
//! answers other proxies, which forward for themselves. [`config`] reads the file, [`observe`] counts, and [`admin`] shows.

pub mod admin;
pub mod answer;
pub mod attestation;
pub mod body;
pub mod config;
pub mod decisions;
pub mod engine;
pub mod front;
mod health;
pub mod issuer;
mod metadata;
pub mod nonce_ring;
pub mod notify;
pub mod observe;
mod passage;
pub mod proxy;
pub mod reasons;
pub mod reload;
mod share;
mod signing_key;
pub mod stack;
mod telemetry;
mod write;
