//! Why there is no load, or no report.

use core::fmt;
use std::io;

use keybound::client::{AlgMisfit, MalformedToken, PlainHttpRefused};
use keybound::crypto::SigningFailed;

/// What keeps a run from starting or from ending well. How the server answers is in the [`Report`](super::Report).
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The URL is not an absolute http or https URI.
    Url(String),
    /// The URL is plain http to another machine.
    PlainHttp(PlainHttpRefused),
    /// The name of the server could not be looked up.
    Lookup(String, io::Error),
    /// There are no root certificates to judge the server by.
    Tls(String),
    /// The server cannot be reached.
    Connect(String, io::Error),
    /// The rate is not a positive number.
    Rate(f64),
    /// The access token cannot be sent.
    Token(MalformedToken),
    /// The key cannot sign with its algorithm.
    Key(AlgMisfit),
    /// The key could not be used.
    Signing(SigningFailed),
    /// There can be no more threads, or one of them failed.
    Thread(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => write!(f, "{url} is not an absolute http or https URL"),
            Self::PlainHttp(why) => why.fmt(f),
            Self::Lookup(host, why) => write!(f, "{host} cannot be looked up: {why}"),
            Self::Tls(why) => write!(f, "there are no root certificates: {why}"),
            Self::Connect(origin, why) => write!(f, "{origin} cannot be reached: {why}"),
            Self::Rate(rate) => write!(f, "{rate} is not a number of requests a second above 0"),
            Self::Token(why) => why.fmt(f),
            Self::Key(why) => why.fmt(f),
            Self::Signing(why) => why.fmt(f),
            Self::Thread(why) => write!(f, "a thread failed: {why}"),
        }
    }
}

impl core::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn core::error::Error + 'static)> {
        match self {
            Self::Lookup(_, why) | Self::Connect(_, why) | Self::Thread(why) => Some(why),
            _ => None,
        }
    }
}

impl From<PlainHttpRefused> for LoadError {
    fn from(why: PlainHttpRefused) -> Self {
        Self::PlainHttp(why)
    }
}

impl From<MalformedToken> for LoadError {
    fn from(why: MalformedToken) -> Self {
        Self::Token(why)
    }
}

impl From<AlgMisfit> for LoadError {
    fn from(why: AlgMisfit) -> Self {
        Self::Key(why)
    }
}

impl From<SigningFailed> for LoadError {
    fn from(why: SigningFailed) -> Self {
        Self::Signing(why)
    }
}
