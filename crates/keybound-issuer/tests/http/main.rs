//! The issuer over real sockets, in octets: what clients send, what strangers send, and what each gets.

mod assertions;
mod clients;
mod documents;
mod nonces;
mod octets;
mod proofs;
mod support;
