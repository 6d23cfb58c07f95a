//! The admin listener over real sockets: who is answered, what is counted and shown, and that nothing secret is.

#[path = "../../../keybound-tower/examples/support/cast.rs"]
#[expect(dead_code, reason = "the examples use the rest")]
mod cast;
#[path = "../wire/support.rs"]
#[expect(dead_code, reason = "the tests of the wire use the rest")]
mod support;

mod administration;
mod counts;
mod dashboard;
mod guard;
mod health;
mod log;
mod pages;
mod questions;
mod ready;
mod scene;
mod traces;
