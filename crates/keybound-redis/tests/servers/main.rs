//! The store on real servers. Each test starts its own; they need `redis-server`, and `cargo xtask test` runs them.

mod clock;
mod cluster;
mod entry;
mod layer;
mod layered;
mod refused;
mod restart;
mod sentinel;
mod single;
mod support;
mod text;
mod tls;
mod trouble;
