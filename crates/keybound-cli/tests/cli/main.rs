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
#[cfg(target_os = "linux")]
mod floods;
#[path = "../../../keybound-gateway/tests/wire/frame.rs"]
mod frame;
mod frames;
mod issuer;
mod keys;
mod load;
mod manifests;
mod options;
mod outputs;
mod page;
mod proofs;
mod requests;
mod secrets;
mod serve;
mod supervised;
mod support;
mod tls;
