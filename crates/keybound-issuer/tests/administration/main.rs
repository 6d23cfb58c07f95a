//! What an administrator does over HTTP, held against its description, and seen by the issuer at once.

mod audit;
mod clients;
mod described;
mod keys;
mod support;
mod users;
