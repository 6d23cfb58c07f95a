//! Spans that wait to be handed over: so many and no more, and each is counted, whatever becomes of it.

use core::time::Duration;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};

use opentelemetry::Context;
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use prometheus_client::metrics::counter::Counter;

use super::collector::Collector;
use crate::config::Telemetry;

/// For one batch, repetitions included.
const PATIENCE: Duration = Duration::from_secs(5);

/// How long a span may wait for others.
const DELAY: Duration = Duration::from_secs(1);

/// Spans sent at once, at most.
const BATCH: usize = 512;

/// What becomes of spans.
#[derive(Clone, Debug)]
pub(crate) struct Counts {
    pub(crate) sent: Counter,
    /// Nobody took them.
    pub(crate) failed: Counter,
    /// There was no room for them.
    pub(crate) dropped: Counter,
}

/// Takes spans and sends them in batches, from a thread of its own.
pub(super) fn processor(settings: &Telemetry, counts: Counts) -> Result<impl SpanProcessor + use<>, String> {
    let text = |value: &http::HeaderValue| value.to_str().map(str::to_owned).map_err(|error| error.to_string());
    let headers = settings.headers.iter().map(|(name, value)| Ok((name.to_string(), text(value)?)));
    let exporter = opentelemetry_otlp::SpanExporter::builder()
        .with_http()
        .with_http_client(Collector::new(PATIENCE)?)
        .with_protocol(Protocol::HttpBinary)
        .with_endpoint(&*settings.endpoint)
        .with_headers(headers.collect::<Result<HashMap<_, _>, String>>()?)
        .with_timeout(PATIENCE)
        .build()
        .map_err(|error| error.to_string())?;
    let waiting = Arc::new(AtomicUsize::new(0));
    let dropped = counts.dropped.clone();
    let counted = Counted {
        inner: exporter,
        endpoint: settings.endpoint.clone(),
        counts,
        waiting: Arc::clone(&waiting),
        fails: AtomicBool::new(false),
    };
    let config = BatchConfigBuilder::default()
        .with_max_queue_size(settings.queue)
        .with_max_export_batch_size(BATCH.min(settings.queue))
        .with_scheduled_delay(DELAY);
    let inner = BatchSpanProcessor::builder(counted).with_batch_config(config.build()).build();
    Ok(Bounded { inner, waiting, most: settings.queue, dropped })
}

/// Lets in what there is room for.
#[derive(Debug)]
struct Bounded {
    inner: BatchSpanProcessor,
    /// Taken in, and neither sent nor failed.
    waiting: Arc<AtomicUsize>,
    most: usize,
    dropped: Counter,
}

impl SpanProcessor for Bounded {
    fn on_start(&self, span: &mut Span, cx: &Context) {
        self.inner.on_start(span, cx);
    }

    fn on_end(&self, span: SpanData) {
        if self.waiting.fetch_add(1, Relaxed) < self.most {
            return self.inner.on_end(span);
        }
        self.waiting.fetch_sub(1, Relaxed);
        self.dropped.inc();
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}

/// Sends, counts, and says in the log when that begins to fail and when it succeeds again.
#[derive(Debug)]
struct Counted<E> {
    inner: E,
    endpoint: Box<str>,
    counts: Counts,
    waiting: Arc<AtomicUsize>,
    fails: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for Counted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        let sent = self.inner.export(batch).await;
        self.waiting.fetch_sub(count, Relaxed);
        let counter = if sent.is_ok() { &self.counts.sent } else { &self.counts.failed };
        counter.inc_by(u64::try_from(count).unwrap_or(u64::MAX));
        let failed_before = self.fails.swap(sent.is_err(), Relaxed);
        match &sent {
            Err(error) if !failed_before => {
                tracing::warn!(endpoint = %self.endpoint, %error, "spans cannot be handed over, and are dropped")
            }
            Ok(()) if failed_before => tracing::info!(endpoint = %self.endpoint, "spans are handed over again"),
            _ => {}
        }
        sent
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.inner.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.inner.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.inner.set_resource(resource);
    }
}
