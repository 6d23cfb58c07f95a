//! One question to an introspection endpoint, or to another that takes a form: the trait by which it is asked.

use core::fmt;
use core::pin::Pin;
use core::time::Duration;

use http::HeaderValue;
use keybound::client::Form;

use crate::fetch::FetchError;

/// A POST of a form to an introspection endpoint. It holds a token, so it does not show.
#[non_exhaustive]
pub struct Question<'q> {
    /// Where to, an absolute https URI, or an http URI of a loopback host.
    pub endpoint: &'q str,
    /// The `Accept` field.
    pub accept: &'static str,
    /// The `Authorization` field, if the credentials are there.
    pub authorization: Option<HeaderValue>,
    /// The body, `application/x-www-form-urlencoded`.
    pub form: Form,
}

impl<'q> Question<'q> {
    /// To this endpoint, for answers of this type, with an empty form and no credentials yet.
    pub fn new(endpoint: &'q str, accept: &'static str) -> Self {
        Self { endpoint, accept, authorization: None, form: Form::new() }
    }
}

impl fmt::Debug for Question<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Question").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// What an endpoint said, the body of a 200.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Said {
    /// The body.
    pub body: Vec<u8>,
}

impl Said {
    /// This body.
    pub const fn new(body: Vec<u8>) -> Self {
        Self { body }
    }
}

/// An answer to come.
pub type Asking<'a> = Pin<Box<dyn Future<Output = Result<Said, FetchError>> + Send + 'a>>;

/// Asks introspection endpoints.
///
/// It answers within seconds, follows no redirects, takes no other status than 200 for an answer, and never reads much more
/// than [`MAX_DOCUMENT`](crate::fetch::MAX_DOCUMENT) octets into memory.
pub trait Ask: Send + Sync + fmt::Debug {
    /// Asks.
    fn ask<'a>(&'a self, question: Question<'a>) -> Asking<'a>;

    /// Hears that an answer of this age was believed again, for whoever counts.
    fn believed(&self, age: Duration) {
        let _ = age;
    }
}
