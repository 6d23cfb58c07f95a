//! `[telemetry]`: where traces go, and of which requests there are any.

use core::fmt;

use http::{HeaderName, HeaderValue};
use keybound::request::TargetUri;

use super::read::not_empty;
use super::section::{Section, shortened};

/// Traces of requests, sent by OTLP over HTTP.
#[derive(Clone, PartialEq)]
#[non_exhaustive]
pub struct Telemetry {
    /// Where spans are posted to.
    pub endpoint: Box<str>,
    /// Fields that go along. They may be secret.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// What this program is called.
    pub service: String,
    /// The part of requests that get a span, from 0 to 1.
    pub sampling: f64,
    /// Who decides about a request of a trace that has begun elsewhere.
    pub parent: ParentDecision,
    /// Spans that may wait to be sent.
    pub queue: usize,
}

/// Who decides whether a request that belongs to a trace gets a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ParentDecision {
    /// Whoever sent it, in `traceparent`.
    Follow,
    /// The gateway, as for any other.
    Ignore,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").field("endpoint", &self.endpoint).finish_non_exhaustive()
    }
}

/// `None` if anything is wrong; then there is a mistake that says what.
pub(super) fn telemetry(section: Section<'_>) -> Option<Telemetry> {
    let endpoint = section.text("endpoint", endpoint);
    let headers = section.texts("headers", header);
    let service = section.text("service", not_empty);
    let sampling = section.text("sampling", |text| {
        let part = text.parse().ok().filter(|part: &f64| (0.0..=1.0).contains(part));
        part.ok_or_else(|| {
            format!("{:?} is no part of a whole; write a number from 0 to 1, like \"0.1\"", shortened(text))
        })
    });
    let parent = section.choice("parent", "a way to take what a client decided", |text| match text {
        "follow" => Some(ParentDecision::Follow),
        "ignore" => Some(ParentDecision::Ignore),
        _ => None,
    });
    let queue = section.count("queue");
    if let (Some(endpoint), Some(headers)) = (&endpoint, &headers)
        && !endpoint.value.is_private
        && !headers.value.is_empty()
    {
        let message = "would go over plain http, and they are secret as a rule; use an https endpoint";
        section.mistake("headers", &headers.place, message);
    }
    section.finish();
    Some(Telemetry {
        endpoint: endpoint?.value.url,
        headers: headers?.value.into_iter().map(|header| header.value).collect(),
        service: service?.value,
        sampling: sampling?.value,
        parent: parent?.value,
        queue: queue?.value,
    })
}

/// Where spans go, and whether nobody can read them on the way.
struct Endpoint {
    url: Box<str>,
    is_private: bool,
}

/// The base of an OTLP receiver, as every program is told of it; traces have their own path below.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    let fault = || format!("{:?} is no URL; write it like \"http://127.0.0.1:4318\"", shortened(text));
    let uri = TargetUri::parse(text).map_err(|_| fault())?;
    if text.contains(['?', '#']) {
        return Err(fault());
    }
    let url = format!("{}/v1/traces", text.trim_end_matches('/')).into();
    Ok(Endpoint { url, is_private: uri.is_https() || uri.is_loopback() })
}

/// `name=value`; what is wrong with it is said without the value.
fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let fault = || "has an item that is no field; write it like \"x-api-key=value\"".to_owned();
    let (name, value) = text.split_once('=').ok_or_else(fault)?;
    let name = name.trim().parse().map_err(|_| fault())?;
    let mut value: HeaderValue = value.trim().parse().map_err(|_| fault())?;
    value.set_sensitive(true);
    Ok((name, value))
}
