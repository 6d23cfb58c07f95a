//! The command line as a user has it: processes, sockets, and transcripts of input, output and exit status.

mod address;
mod administration;
mod agent;
mod agent_streams;
#[path = "../nodes/client.rs"]
mod client;
mod demo;
mod descriptors;
mod durable;
mod issuer;
mod keys;
mod load;
mod manifests;
mod options;
mod outputs;
mod page;
mod proofs;
mod requests;
mod serve;
mod supervised;
mod support;
