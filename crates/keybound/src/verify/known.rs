//! What was learnt from the header segments of returning clients. All proofs of one client have an octet-identical header,
//! so that a second proof needs no header decoding, no JSON, no key import and no thumbprint.

use std::sync::Arc;

use quick_cache::sync::Cache;

use crate::crypto::PreparedKey;
use crate::jwk::Thumbprint;
use crate::proof::Header;

/// A longer segment is an oddity, and not worth its memory: one with an RSA key of 4096 bits has about 1,000 octets.
const MAX_SEGMENT: usize = 1536;

/// The key of a header, prepared.
#[derive(Debug)]
pub(super) struct KnownHeader {
    pub(super) header: Header,
    pub(super) jkt: Thumbprint,
    pub(super) key: Arc<dyn PreparedKey>,
}

/// Bounded; which segment is forgotten first does not matter for safety, only for speed.
#[derive(Debug)]
pub(super) struct KnownHeaders(Option<Cache<Box<str>, Arc<KnownHeader>>>);

impl KnownHeaders {
    pub(super) fn new(most: usize) -> Self {
        Self((most > 0).then(|| Cache::new(most)))
    }

    pub(super) fn get(&self, segment: &str) -> Option<Arc<KnownHeader>> {
        self.0.as_ref()?.get(segment)
    }

    pub(super) fn insert(&self, segment: &str, known: &Arc<KnownHeader>) {
        if let Some(cache) = &self.0
            && segment.len() <= MAX_SEGMENT
            && cache.peek(segment).is_none()
        {
            cache.insert(segment.into(), Arc::clone(known));
        }
    }
}
