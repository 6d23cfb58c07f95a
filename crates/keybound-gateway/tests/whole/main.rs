//! The whole gateway over real sockets: tokens and proofs of a real client, an issuer's keys in a file, upstreams.

#[path = "../wire/support.rs"]
#[expect(dead_code, reason = "the tests of the wire use the rest")]
mod support;

mod attest;
mod check;
mod decisions;
mod embedded;
mod ext_authz;
mod forms;
mod hosts;
mod introspection;
mod metadata;
mod outage;
mod policy;
mod postgres;
mod presets;
mod reload;
mod report;
mod rotation;
mod scene;
mod shared;
mod shared_issuer;
