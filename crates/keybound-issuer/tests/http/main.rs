//! The issuer over real sockets, in octets: what clients send, what strangers send, and what each gets.

mod assertions;
mod clients;
mod code;
mod documents;
mod nonces;
mod octets;
mod people;
mod proofs;
mod pushed;
mod refresh;
mod support;
