//! From a judgement to fields of HTTP, for the layer and for whoever decides by other means.

use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};
use keybound::challenge::{DPOP_NONCE, ResourceAnswer};
use keybound::nonce::Nonce;
use keybound::refusal::Denial;

use crate::{Judgement, Policy, ProofHandling, ResourceServer};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");

impl<S> ResourceServer<S> {
    /// The answer to a request that was denied: status, challenges, nonce and a small JSON body. The [`Denial`] is in its
    /// extensions, for the layers outside; its detail is for the log alone.
    ///
    /// A call of gRPC gets the same status and fields, no body, and its own status in `grpc-status`: clients that look
    /// at either understand it.
    pub fn answer(&self, denial: &Denial, judgement: &Judgement, policy: &Policy) -> Response<String> {
        let challenges = policy.challenges(self.challenges());
        let mut answer = ResourceAnswer::new(denial, &challenges, judgement.scheme(), judgement.nonce());
        if let Some(seconds) = judgement.retry_after {
            answer = answer.retry_after(seconds);
        }
        let mut response = Response::new(String::new());
        *response.status_mut() = answer.status();
        answer.apply(response.headers_mut());
        match judgement.form {
            Form::Json => *response.body_mut() = answer.body(),
            Form::Grpc(media_type) => {
                let headers = response.headers_mut();
                headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
                headers.insert(GRPC_STATUS, HeaderValue::from_static(grpc_status(answer.status())));
                headers.insert(GRPC_MESSAGE, HeaderValue::from_static(denial.code()));
            }
        }
        response.extensions_mut().insert(denial.clone());
        response
    }
}

/// Which kind of answer the one who asked can read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    Json,
    /// Fields alone, under this media type.
    Grpc(&'static str),
}

impl Form {
    pub(crate) fn wanted(headers: &HeaderMap) -> Self {
        let sent = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
        let is = |media_type: &str| {
            sent.get(..media_type.len()).is_some_and(|start| start.eq_ignore_ascii_case(media_type.as_bytes()))
        };
        if is("application/grpc-web-text") {
            Self::Grpc("application/grpc-web-text")
        } else if is("application/grpc-web") {
            Self::Grpc("application/grpc-web")
        } else if is("application/grpc") {
            Self::Grpc("application/grpc")
        } else {
            Self::Json
        }
    }
}

/// The code of gRPC that says the same.
fn grpc_status(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "16",
        StatusCode::FORBIDDEN => "7",
        StatusCode::TOO_MANY_REQUESTS => "8",
        StatusCode::SERVICE_UNAVAILABLE => "14",
        _ => "3",
    }
}

/// Adds the nonce that is due to the answer of the service behind, whatever that answer is, and keeps caches away from it
/// (R-RS-29). Where the proof is consumed here, a nonce of the service behind is taken out: clients keep one for a server.
pub fn complete(headers: &mut HeaderMap, nonce: Option<&Nonce>, proof: ProofHandling) {
    match proof {
        ProofHandling::Consume => drop(headers.remove(&DPOP_NONCE)),
        ProofHandling::Check if headers.contains_key(&DPOP_NONCE) => {
            // R-NONCE-02: one, even where the service behind gives several.
            if let Some(first) = headers.get(&DPOP_NONCE).cloned() {
                headers.insert(&DPOP_NONCE, first);
                headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
            }
            return;
        }
        ProofHandling::Check => {}
    }
    if let Some(value) = nonce.and_then(|nonce| HeaderValue::from_str(nonce.as_str()).ok()) {
        headers.insert(&DPOP_NONCE, value);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // R-NONCE-02, R-RS-29
    #[test]
    fn one_nonce_and_no_cache() {
        let ours = Nonce::parse("ours").unwrap();
        for (inner, nonce, proof, expected, stored) in [
            (None, Some(&ours), ProofHandling::Consume, Some("ours"), false),
            (Some("theirs"), Some(&ours), ProofHandling::Consume, Some("ours"), false),
            (Some("theirs"), None, ProofHandling::Consume, None, true),
            (None, None, ProofHandling::Consume, None, true),
            (None, Some(&ours), ProofHandling::Check, Some("ours"), false),
            (Some("theirs"), Some(&ours), ProofHandling::Check, Some("theirs"), false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
            if let Some(value) = inner {
                headers.append(&DPOP_NONCE, HeaderValue::from_static(value));
                headers.append(&DPOP_NONCE, HeaderValue::from_static("another"));
            }
            complete(&mut headers, nonce, proof);
            let found: Vec<_> = headers.get_all(&DPOP_NONCE).iter().collect();
            assert_eq!(found, expected.into_iter().collect::<Vec<_>>(), "{inner:?} {proof:?}");
            assert_eq!(headers[CACHE_CONTROL] == "max-age=60", stored, "{inner:?} {proof:?}");
        }
    }

    #[test]
    fn who_speaks_grpc() {
        for (sent, expected) in [
            ("application/grpc", Form::Grpc("application/grpc")),
            ("Application/gRPC+proto", Form::Grpc("application/grpc")),
            ("application/grpc-web+proto", Form::Grpc("application/grpc-web")),
            ("application/grpc-web-text", Form::Grpc("application/grpc-web-text")),
            ("application/json", Form::Json),
            ("", Form::Json),
        ] {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(sent))]);
            assert_eq!(Form::wanted(&headers), expected, "{sent:?}");
        }
    }
}
