//! Traces: a span for each request, which a thread of its own hands over by OTLP. Nothing waits for that thread, and nothing
//! of a token, a proof, a path or a query is in a span.

use core::fmt;
use core::time::Duration;
use std::time::SystemTime;

use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, TextMapPropagator as _};
use opentelemetry::trace::{Span as _, SpanKind, Status, Tracer as _, TracerProvider as _};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{Sampler, SdkTracer, SdkTracerProvider, Span};

use crate::config::{ParentDecision, Telemetry};

mod collector;
mod spans;

pub(crate) use spans::Counts;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

/// For what is left to be handed over at the end.
const FAREWELL: Duration = Duration::from_secs(5);

/// What makes spans.
pub(crate) struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Trace(Span);

/// What is said of a request once it is over.
#[derive(Clone, Copy)]
pub(crate) struct Facts<'a> {
    pub(crate) method: &'static str,
    /// Empty where it reached none.
    pub(crate) route: &'a str,
    pub(crate) mode: &'static str,
    pub(crate) status: Option<u16>,
    pub(crate) reason: Option<&'static str>,
    pub(crate) iat_offset: Option<i64>,
    pub(crate) upstream: Option<&'a dyn fmt::Display>,
}

impl Traces {
    /// Goes by these settings, and counts what becomes of spans.
    ///
    /// # Errors
    ///
    /// If there can be no client or no thread for it, in words.
    pub(crate) fn new(settings: &Telemetry, counts: Counts) -> Result<Self, String> {
        let part = Sampler::TraceIdRatioBased(settings.sampling);
        let sampler = match settings.parent {
            ParentDecision::Follow => Sampler::ParentBased(Box::new(part)),
            ParentDecision::Ignore => part,
        };
        let resource = Resource::builder_empty()
            .with_service_name(settings.service.clone())
            .with_attribute(KeyValue::new("service.version", env!("CARGO_PKG_VERSION")));
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler)
            .with_resource(resource.build())
            .with_span_processor(spans::processor(settings, counts)?)
            .build();
        let tracer = provider.tracer("keybound");
        Ok(Self { provider, tracer })
    }

    /// A request has come, with these fields.
    pub(crate) fn begin(&self, method: &'static str, headers: &HeaderMap) -> Trace {
        let builder = self.tracer.span_builder(method).with_kind(SpanKind::Server).with_start_time(SystemTime::now());
        Trace(builder.start_with_context(&self.tracer, &parent(headers)))
    }

    /// Hands over what there is; there will be no more.
    pub(crate) fn end(&self) {
        if let Err(error) = self.provider.shutdown_with_timeout(FAREWELL) {
            tracing::warn!(%error, "the last spans could not be handed over");
        }
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Traces(..)")
    }
}

impl Trace {
    /// Says in the fields of a request to an upstream that this span is its parent (W3C Trace Context).
    pub(crate) fn propagate(&self, headers: &mut HeaderMap) {
        let context = self.0.span_context();
        if !context.is_valid() {
            return;
        }
        let flags = context.trace_flags().to_u8();
        let parent = format!("00-{}-{}-{flags:02x}", context.trace_id(), context.span_id());
        if let Ok(parent) = HeaderValue::try_from(parent) {
            headers.insert(TRACEPARENT, parent);
        }
        match HeaderValue::try_from(context.trace_state().header()) {
            Ok(state) if !state.is_empty() => headers.insert(TRACESTATE, state),
            _ => headers.remove(TRACESTATE),
        };
    }

    /// The request is over.
    pub(crate) fn end(mut self, facts: &Facts<'_>) {
        let span = &mut self.0;
        if !span.is_recording() {
            return;
        }
        let Facts { method, route, mode, status, reason, iat_offset, upstream } = *facts;
        span.set_attribute(KeyValue::new("http.request.method", method));
        span.set_attribute(KeyValue::new("keybound.mode", mode));
        if !route.is_empty() {
            span.update_name(format!("{method} {route}"));
            span.set_attribute(KeyValue::new("http.route", route.to_owned()));
        }
        if let Some(status) = status {
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status)));
        }
        if let Some(reason) = reason {
            span.set_attribute(KeyValue::new("keybound.reason", reason));
        }
        if let Some(offset) = iat_offset {
            span.set_attribute(KeyValue::new("keybound.iat_offset", offset));
        }
        if let Some(upstream) = upstream {
            span.set_attribute(KeyValue::new("keybound.upstream", upstream.to_string()));
        }
        // What a client did wrong is no error of a server's span.
        if status.is_none_or(|status| status >= 500) {
            span.set_status(Status::error(reason.unwrap_or(if status.is_none() { "canceled" } else { "" })));
        }
        span.end();
    }
}

/// What a request says of the trace it belongs to; nothing, if it does not say so in exactly one field.
fn parent(headers: &HeaderMap) -> Context {
    let mut fields = headers.get_all(TRACEPARENT).iter();
    let (Some(parent), None) = (fields.next(), fields.next()) else { return Context::new() };
    let states = headers.get_all(TRACESTATE).iter().map(|state| state.to_str().unwrap_or_default());
    let states: Vec<_> = states.filter(|state| !state.is_empty()).collect();
    let said = Said { parent: parent.to_str().unwrap_or_default(), state: states.join(",") };
    TraceContextPropagator::new().extract_with_context(&Context::new(), &said)
}

struct Said<'a> {
    parent: &'a str,
    state: String,
}

impl Extractor for Said<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => Some(&self.state),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}
