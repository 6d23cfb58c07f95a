//! The memory of used proofs that many nodes share: a [`ReplayStore`](keybound::replay::ReplayStore) on Redis or Valkey, on one
//! server, under Sentinel, or in a Cluster.
//!
//! A record is one script on one server. It compares the marker of the epoch and the life of the server with what the node knows,
//! looks whether their clocks agree, inserts the proof if it is not there, and counts it for its client's key. What a node believes
//! of a server is believed for one connection; a connection that breaks, and a server that says something else, are looked at
//! again before anything more is recorded. So nothing is ever recorded at a server that may have forgotten.
//!
//! Records and marker are members of one key, a sorted set by the times when they go, and go by no clock but that of a script: so
//! whatever else may take a record away (a clock of the server that jumps, a policy by which it evicts, a slot that is moved and not
//! arrived) takes the marker away too.
//!
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | the URL, logins, certificates |
//! | `store.rs` | the store; how it waits and looks every second is [`keybound_tower::pinned`] |
//! | `record.rs`, `record.lua` | one server in one life: many jobs in one script |
//! | `pin.rs` | all servers, each in one life: the epoch; from an entry to a job |
//! | `server.rs`, `open.lua` | what a server says of itself; the markers |
//! | `find.rs`, `lanes.rs` | which servers; which slots |
//! | `text.lua` | the text that nodes share beside the records |
//! | `dial.rs` | connections |

mod dial;
mod error;
mod find;
mod lanes;
mod pin;
mod record;
mod server;
mod settings;
mod store;

pub use keybound_tower::pinned::{ConnectError, Figures, SettingsError};

pub use self::pin::Pinned;
pub use self::settings::{DEFAULT_PER_KEY, DEFAULT_PREFIX, DEFAULT_TIMEOUT, RedisSettings, Topology};
pub use self::store::{Redis, RedisStore};
