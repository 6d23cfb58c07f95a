//! The gateway: a reverse proxy that checks DPoP (RFC 9449) before an upstream sees a request.

pub mod config;
