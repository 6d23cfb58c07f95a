//! What was learnt from the header segments of returning clients. All proofs of one client have an octet-identical header,
//! so that a second proof needs no header decoding, no JSON, no key import and no thumbprint.

use core::sync::atomic::{AtomicU32, Ordering};
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
///
/// A segment is kept from the second time on: a key that comes once costs no memory, and pushes out nobody who returns.
#[derive(Debug)]
pub(super) struct KnownHeaders(Option<Memory>);

#[derive(Debug)]
struct Memory {
    segments: Cache<Box<str>, Arc<KnownHeader>>,
    /// Bits of the thumbprints of keys that came once, each where other bits of it say. Who is overwritten comes once more.
    once: Box<[AtomicU32]>,
}

impl KnownHeaders {
    pub(super) fn new(most: usize) -> Self {
        Self((most > 0).then(|| Memory {
            segments: Cache::new(most),
            once: core::iter::repeat_with(AtomicU32::default).take(most.saturating_mul(2)).collect(),
        }))
    }

    pub(super) fn get(&self, segment: &str) -> Option<Arc<KnownHeader>> {
        self.0.as_ref()?.segments.get(segment)
    }

    pub(super) fn insert(&self, segment: &str, known: &Arc<KnownHeader>) {
        if let Some(memory) = &self.0
            && segment.len() <= MAX_SEGMENT
            && memory.came_before(&known.jkt)
        {
            memory.segments.insert(segment.into(), Arc::clone(known));
        }
    }
}

impl Memory {
    fn came_before(&self, jkt: &Thumbprint) -> bool {
        let [a, b, c, d, e, f, g, h, ..] = *jkt.as_bytes();
        let place = usize::try_from(u32::from_be_bytes([a, b, c, d])).ok();
        let place = place.and_then(|bits| bits.checked_rem(self.once.len())).and_then(|place| self.once.get(place));
        let mark = u32::from_be_bytes([e, f, g, h]) | 1; // zero is nobody
        place.is_some_and(|place| place.swap(mark, Ordering::Relaxed) == mark)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::aws_lc::AwsLc;
    use crate::crypto::{Alg, Crypto as _};
    use crate::jwk::PublicJwk;

    const JWK: &[u8] = br#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    fn known() -> Arc<KnownHeader> {
        let jwk = PublicJwk::from_json(JWK).unwrap();
        let key = AwsLc.prepare(&jwk, Alg::Ed25519).unwrap();
        Arc::new(KnownHeader { jkt: jwk.thumbprint(), key, header: Header { alg: Alg::Ed25519, jwk } })
    }

    #[test]
    fn who_returns_is_remembered_and_who_came_once_is_not() {
        let headers = KnownHeaders::new(8);
        let known = known();
        headers.insert("segment", &known);
        assert!(headers.get("segment").is_none());
        headers.insert("segment", &known);
        assert!(headers.get("segment").is_some_and(|found| Arc::ptr_eq(&found, &known)));
        assert!(headers.get("Segment").is_none());
    }

    #[test]
    fn an_oversized_segment_is_never_remembered() {
        let (headers, known) = (KnownHeaders::new(8), known());
        let segment = "x".repeat(MAX_SEGMENT + 1);
        (0..3).for_each(|_| headers.insert(&segment, &known));
        assert!(headers.get(&segment).is_none());
    }

    #[test]
    fn without_room_nothing_is_remembered() {
        let (headers, known) = (KnownHeaders::new(0), known());
        (0..3).for_each(|_| headers.insert("segment", &known));
        assert!(headers.get("segment").is_none());
    }
}
