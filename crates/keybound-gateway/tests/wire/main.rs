//! The gateway over real sockets, in octets: what comes in, what goes on, and what happens when one side misbehaves.

mod fields;
mod floods;
mod frame;
mod http1_upstream;
mod http2;
mod http2_upstream;
mod hygiene;
mod limits;
mod proxy_protocol;
mod share;
mod stop;
mod streams;
mod support;
mod tls;
mod upstream;
