//! The issuer as its clients see it, through its router and without a socket: the vectors of whole token requests, what it
//! says of itself and what it issues.

#[path = "endpoint/issued.rs"]
mod issued;
#[path = "endpoint/support.rs"]
mod support;
#[path = "endpoint/vectors.rs"]
mod vectors;
