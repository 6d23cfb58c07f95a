//! The issuer over real sockets, in octets: what clients send, what strangers send, and what each gets.

mod assertions;
mod barrier;
mod bound;
mod browser;
mod clients;
mod code;
mod device;
mod device_pages;
mod documents;
mod elsewhere;
mod ended;
mod exchange;
mod introspection;
mod nonces;
mod octets;
mod pages;
mod people;
mod proofs;
mod provider;
mod pushed;
mod refresh;
mod registration;
mod request_object;
mod session;
mod sign_in;
mod support;
