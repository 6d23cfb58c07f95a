//! Getting a small document from an issuer: the trait, and over HTTP.

use core::fmt;
use core::pin::Pin;
use core::time::Duration;

#[cfg(feature = "discovery")]
mod http;

#[cfg(feature = "discovery")]
pub use self::http::HttpFetch;
#[cfg(feature = "discovery")]
pub(crate) use self::http::{bounded, client, transport};

/// The longest document that is read, in octets: metadata and key sets have a few thousand.
pub const MAX_DOCUMENT: usize = 256 * 1024;

/// What an issuer served.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Document {
    /// The body of a 200.
    pub body: Vec<u8>,
    /// For how long it says it is fresh (`Cache-Control: max-age`); nothing of what it says is believed beyond bounds.
    pub max_age: Option<Duration>,
}

impl Document {
    /// This body, without a word about freshness.
    pub const fn new(body: Vec<u8>) -> Self {
        Self { body, max_age: None }
    }

    /// Fresh for this long.
    #[must_use]
    pub const fn max_age(mut self, max_age: Duration) -> Self {
        self.max_age = Some(max_age);
        self
    }
}

/// Why there is no document.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum FetchError {
    /// No connection: nothing of what was asked has to do with it.
    Unreachable(Box<str>),
    /// A connection that broke off, or no answer in time.
    Transport(Box<str>),
    /// An answer of this status. Redirects are not followed.
    Status(u16),
    /// More than [`MAX_DOCUMENT`] octets.
    Oversized,
}

impl fmt::Display for FetchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(why) | Self::Transport(why) => f.write_str(why),
            Self::Status(status) => write!(f, "the answer has status {status}, not 200"),
            Self::Oversized => write!(f, "the answer has more than {MAX_DOCUMENT} octets"),
        }
    }
}

impl core::error::Error for FetchError {}

/// A document to come.
pub type Fetching<'f> = Pin<Box<dyn Future<Output = Result<Document, FetchError>> + Send + 'f>>;

/// Gets documents.
///
/// It answers within seconds, follows no redirects, and never reads much more than [`MAX_DOCUMENT`] octets into memory.
pub trait Fetch: Send + Sync + fmt::Debug {
    /// Gets the document at this absolute https URI, or http URI of a loopback host.
    fn fetch<'f>(&'f self, location: &'f str) -> Fetching<'f>;
}
