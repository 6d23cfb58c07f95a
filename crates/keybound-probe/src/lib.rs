//! Tools that look at a server from outside, as its clients see it.
//!
//! [`load`] sends many requests, each with a fresh proof (DPoP, RFC 9449), and says how long the answers took.

pub mod load;
