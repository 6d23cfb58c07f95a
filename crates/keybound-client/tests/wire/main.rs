//! The client against servers that play by the rules, and servers that lie, over real sockets.

mod lies;
mod redirects;
mod retries;
mod support;
mod tokens;
