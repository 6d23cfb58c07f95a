//! The whole gateway over real sockets: tokens, proofs and nonces on every kind of exchange it carries.

mod exchanges;
mod grpc;
mod support;
