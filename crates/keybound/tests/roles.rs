//! Client, authorization server and resource server in one process, without sockets, under a clock that is turned by hand:
//! the whole flow, and whatever can come in between.

#[path = "roles/cast.rs"]
mod cast;
#[path = "roles/clocks.rs"]
mod clocks;
#[path = "roles/flow.rs"]
mod flow;
#[path = "roles/grants.rs"]
mod grants;
#[path = "roles/issuer.rs"]
mod issuer;
#[path = "roles/nonces.rs"]
mod nonces;
#[path = "roles/purposes.rs"]
mod purposes;
#[path = "roles/replays.rs"]
mod replays;
#[path = "roles/restart.rs"]
mod restart;
