//! DPoP (RFC 9449) for axum, hyper and tonic: a layer that lets through only who holds the key of the access token.
//!
//! A [`ResourceServer`] decides; [`ProtectLayer`] asks it for every request and puts the
//! [`Admission`](keybound::token::Admission) into the request's extensions.

pub mod answer;
mod clock;
mod judgement;
mod policy;
mod resource_server;
mod tokens;

pub use clock::{Clock, SystemClock};
pub use judgement::{Access, Judgement};
pub use policy::{Mode, Policy, ProofHandling};
pub use resource_server::{ConfigError, ConfigErrors, ResourceServer, ResourceServerBuilder};
pub use tokens::{FixedKeys, IssuerKeys};
