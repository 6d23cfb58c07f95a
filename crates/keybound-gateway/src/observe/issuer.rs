//! What the embedded issuer, or the issuer alone, did: looked at when somebody asks.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use keybound_issuer::Issuer;
use keybound_issuer::audit::Count;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::labels::{IssuedLabels, RefusedLabels};

#[derive(Debug, Default)]
pub(super) struct Issuers {
    issued: Family<IssuedLabels, Counter>,
    refused: Family<RefusedLabels, Counter>,
    failures: Counter,
}

impl Issuers {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let metrics = Self::default();
        registry.register("issuer_tokens", "Access tokens issued, by grant", metrics.issued.clone());
        registry.register(
            "issuer_refusals",
            "Requests that the issuer refused or that failed there, by endpoint and reason",
            metrics.refused.clone(),
        );
        registry.register(
            "issuer_audit_failures",
            "Entries of the audit log that could not be written to its file, and writes of refusals to the store that failed",
            metrics.failures.clone(),
        );
        metrics
    }

    pub(super) fn take(&self, issuer: &Issuer) {
        let audit = issuer.audit();
        self.failures.inner().store(audit.failures(), Relaxed);
        let text = |text: Box<str>| Arc::<str>::from(text);
        for count in audit.counts() {
            match count {
                Count::Issued { grant_type, token_type, count, .. } => {
                    let labels = IssuedLabels { grant: text(grant_type), token_type: text(token_type) };
                    self.issued.get_or_create(&labels).inner().store(count, Relaxed);
                }
                Count::Refused { endpoint, reason, count, .. } => {
                    let labels = RefusedLabels { endpoint: text(endpoint), reason: text(reason) };
                    self.refused.get_or_create(&labels).inner().store(count, Relaxed);
                }
                _ => {}
            }
        }
    }
}
