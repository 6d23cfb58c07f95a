//! DPoP (RFC 9449) for axum, hyper and tonic: a layer that lets through only who holds the key of the access token.
//!
//! A [`ResourceServer`] decides; [`ProtectLayer`] asks it for every request and puts the
//! [`Admission`](keybound::token::Admission) into the request's extensions.
//!
//! ```
//! use axum::{Extension, Router, routing::get};
//! use keybound::replay::MemoryStore;
//! use keybound::token::Admission;
//! use keybound_tower::{Policy, ProtectLayer, ResourceServer};
//!
//! fn app(server: ResourceServer<MemoryStore>) -> Result<Router, Box<dyn std::error::Error>> {
//!     let layer = ProtectLayer::new(server, Policy::required().scope("orders:read")?);
//!     Ok(Router::new().route("/orders", get(orders)).route_layer(layer))
//! }
//!
//! // It is called only with a valid token and a fresh proof by the key the token is bound to.
//! async fn orders(Extension(admission): Extension<Admission>) -> String {
//!     format!("orders of {}", admission.subject())
//! }
//! # let _ = app;
//! ```
//!
//! How a server is made stands at [`ResourceServer`]; whole programs are in `examples/`.

pub mod answer;
mod clock;
mod cors;
mod discovery;
pub mod fetch;
mod file_store;
pub mod introspection;
mod judgement;
mod jwks;
mod nonce_only;
pub mod pinned;
mod policy;
mod protect;
mod recent;
mod resource_server;
mod ring;
mod tokens;

pub use clock::{Clock, SystemClock};
pub use cors::{Cors, Preflight};
pub use discovery::IssuerError;
pub use file_store::{FileStore, FileStoreError, FileStoreFigures};
pub use judgement::{Access, Judgement};
pub use jwks::DiscoveredKeys;
pub use nonce_only::{NonceOnly, NonceOnlyError, NonceOnlyFigures};
pub use policy::{Mode, Policy, ProofHandling};
pub use protect::{Protect, ProtectBody, ProtectFuture, ProtectLayer};
pub use recent::Recent;
pub use resource_server::{ConfigError, ConfigErrors, ResourceServer, ResourceServerBuilder};
pub use ring::{RingFault, RingKeeper, RingNonces, RingSource};
pub use tokens::{FixedKeys, IssuerKeys, KeySource, KeyState, Voucher};
