//! The issuer as its clients see it, through its router and without a socket: the vectors of whole token requests, what it
//! says of itself, what it issues and what it keeps to itself.

#[path = "endpoint/issued.rs"]
mod issued;
#[path = "endpoint/silence.rs"]
mod silence;
#[path = "endpoint/support.rs"]
mod support;
#[path = "endpoint/vectors.rs"]
mod vectors;
