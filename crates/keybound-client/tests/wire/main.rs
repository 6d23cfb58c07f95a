//! The client against servers that play by the rules, and servers that lie, over real sockets.

mod discovery;
mod grants;
mod http2;
mod keys;
mod layer;
mod lies;
mod logins;
mod own_issuer;
mod redirects;
mod retries;
mod support;
mod tokens;
