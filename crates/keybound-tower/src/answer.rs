//! From a judgement to fields of HTTP, for the layer and for whoever decides by other means.

use http::header::CACHE_CONTROL;
use http::{HeaderMap, HeaderValue, Response};
use keybound::challenge::{DPOP_NONCE, ResourceAnswer};
use keybound::nonce::Nonce;
use keybound::refusal::Denial;

use crate::{Judgement, Policy, ProofHandling, ResourceServer};

impl<S> ResourceServer<S> {
    /// The answer to a request that was denied: status, challenges, nonce and a small JSON body. The [`Denial`] is in its
    /// extensions, for the layers outside; its detail is for the log alone.
    pub fn answer(&self, denial: &Denial, judgement: &Judgement, policy: &Policy) -> Response<String> {
        let challenges = policy.challenges(self.challenges());
        let mut answer = ResourceAnswer::new(denial, &challenges, judgement.scheme(), judgement.nonce());
        if let Some(seconds) = judgement.retry_after {
            answer = answer.retry_after(seconds);
        }
        let mut response = Response::new(answer.body());
        *response.status_mut() = answer.status();
        answer.apply(response.headers_mut());
        response.extensions_mut().insert(denial.clone());
        response
    }
}

/// Adds the nonce that is due to the answer of the service behind, whatever that answer is, and keeps caches away from it
/// (R-RS-29). Where the proof is consumed here, a nonce of the service behind is taken out: clients keep one for a server.
pub fn complete(headers: &mut HeaderMap, nonce: Option<&Nonce>, proof: ProofHandling) {
    match proof {
        ProofHandling::Consume => drop(headers.remove(&DPOP_NONCE)),
        ProofHandling::Check if headers.contains_key(&DPOP_NONCE) => return,
        ProofHandling::Check => {}
    }
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce.as_str()).ok()) {
        headers.insert(&DPOP_NONCE, value);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
