//! The memory of used proofs that many nodes share: a [`ReplayStore`](keybound::replay::ReplayStore) in PostgreSQL, for those who have that and
//! no Redis.
//!
//! A record is one call of a function in the database, for many proofs at once. It looks whether the marker of the epoch stands beside the proofs and
//! the server is in the life that the node knows, and whether their clocks agree; it inserts each proof that is not there, and counts it for
//! its client's key. The tables are not logged: a server that has crashed, and one that takes over from another, finds them empty, without the
//! marker. So nothing is ever recorded at a server that may have forgotten, and no record waits for a disk by itself. It does wait while a slot is
//! emptied, once in some minutes: a `TRUNCATE` is over when the log of transactions is on the disk.
//!
//! # Where what is
//!
//! | file | what |
//! |---|---|
//! | `settings.rs` | the URL, the login |
//! | `store.rs` | the store; how it waits and looks every second is [`keybound_tower::pinned`] |
//! | `record.rs` | the connections: many proofs in one call |
//! | `pin.rs` | the server in one life: the epoch; from an entry to a job |
//! | `ring.rs` | which slots are over |
//! | `server.rs` | what a server says of itself |
//! | `tables.sql` | the tables, and the functions on them |

mod error;
mod pin;
mod record;
mod ring;
mod server;
mod settings;
mod store;

pub use keybound_tower::pinned::{ConnectError, Figures, SettingsError};

pub use self::pin::Pinned;
pub use self::settings::{DEFAULT_PER_KEY, DEFAULT_SCHEMA, DEFAULT_TIMEOUT, PostgresSettings};
pub use self::store::{Postgres, PostgresStore};
