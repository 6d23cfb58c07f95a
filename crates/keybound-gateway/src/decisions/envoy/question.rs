//! The request that Envoy asks about, out of what Envoy says of it: its own words for method, path and host count, and no field
//! of the client's.

use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request};

use super::messages::{CheckRequest, HttpRequest};
use crate::answer::Problem;
use crate::decisions::asked::{Misset, Unasked, aim};

const METHOD: &str = "attributes.request.http.method";
const PATH: &str = "attributes.request.http.path";
const HOST_IS: &str = "attributes.request.http.host";
const SCHEME: &str = "attributes.request.http.scheme";

/// The request, and as much of its body as Envoy has sent along.
pub(super) struct Question {
    pub(super) parts: Parts,
    pub(super) body: Bytes,
}

/// Takes the question apart.
pub(super) fn about(question: CheckRequest) -> Result<Question, Unasked> {
    let http = question.attributes.and_then(|attributes| attributes.request).and_then(|request| request.http);
    let Some(http) = http else { return Err(Misset::new("attributes.request.http", "is missing").into()) };
    for (name, value) in [(METHOD, &http.method), (PATH, &http.path), (HOST_IS, &http.host), (SCHEME, &http.scheme)] {
        if value.is_empty() {
            return Err(Misset::new(name, "is missing").into());
        }
    }
    // Which one it is, the declared origin knows.
    if !matches!(&*http.scheme, "http" | "https") {
        return Err(Misset::new(SCHEME, "is neither http nor https").into());
    }
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.headers = fields(&http)?;
    (parts.method, parts.uri) = aim((METHOD, http.method.as_bytes()), (PATH, http.path.as_bytes()))?;
    let host = HeaderValue::try_from(http.host).map_err(|_| Unasked::Client(Problem::HostInvalid))?;
    parts.headers.try_insert(HOST, host).map_err(|_| Unasked::Client(Problem::HeaderCrowded))?;
    let body = if http.raw_body.is_empty() { Bytes::from(http.body) } else { http.raw_body };
    Ok(Question { parts, body })
}

/// The client's fields, by whichever of the two ways Envoy tells them.
fn fields(http: &HttpRequest) -> Result<HeaderMap, Unasked> {
    let mut fields = HeaderMap::new();
    match &http.header_map {
        Some(_) if !http.headers.is_empty() => {
            return Err(Misset::new("attributes.request.http.headers", "came beside header_map").into());
        }
        Some(map) => {
            for field in &map.headers {
                let value = if field.raw_value.is_empty() { field.value.as_bytes() } else { &field.raw_value };
                add(&mut fields, http, &field.key, value)?;
            }
        }
        None => {
            for (name, value) in &http.headers {
                add(&mut fields, http, name, value.as_bytes())?;
            }
        }
    }
    Ok(fields)
}

fn add(fields: &mut HeaderMap, http: &HttpRequest, name: &str, value: &[u8]) -> Result<(), Unasked> {
    if name.starts_with(':') {
        return agrees(http, name, value);
    }
    let malformed = Unasked::Client(Problem::RequestMalformed);
    let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| malformed.clone())?;
    let value = HeaderValue::from_bytes(value).map_err(|_| malformed)?;
    let pieces = if name == AUTHORIZATION { pieces(&value) } else { vec![value] };
    for value in pieces {
        fields.try_append(&name, value).map_err(|_| Unasked::Client(Problem::HeaderCrowded))?;
    }
    Ok(())
}

/// Envoy joins several `Authorization` fields by commas, with `encode_raw_headers` too. There is none in a token, and what
/// is of another scheme is not looked into here.
fn pieces(credentials: &HeaderValue) -> Vec<HeaderValue> {
    let octets = credentials.as_bytes();
    let of = |scheme: &[u8]| octets.get(..scheme.len()).is_some_and(|start| start.eq_ignore_ascii_case(scheme));
    if !(of(b"dpop ") || of(b"bearer ")) {
        return vec![credentials.clone()];
    }
    // Two are as wrong as many.
    octets.split(|octet| *octet == b',').take(2).filter_map(|piece| HeaderValue::from_bytes(piece).ok()).collect()
}

/// Envoy says these twice. The one that is sent on is the field, so that what is decided about must be the same.
fn agrees(http: &HttpRequest, name: &str, value: &[u8]) -> Result<(), Unasked> {
    let (attribute, said) = match name {
        ":method" => (METHOD, &http.method),
        ":path" => (PATH, &http.path),
        ":authority" => (HOST_IS, &http.host),
        ":scheme" => (SCHEME, &http.scheme),
        _ => return Ok(()),
    };
    if said.as_bytes() == value {
        return Ok(());
    }
    // Attributes are text: octets that are none were replaced in them.
    match core::str::from_utf8(value) {
        Ok(_) => Err(Misset::new(attribute, "is not what the field says").into()),
        Err(_) => Err(Unasked::Client(Problem::TargetInvalid)),
    }
}

#[cfg(test)]
mod tests {
    use super::super::messages::{AttributeContext, HeaderValue, Request};
    use super::*;
    use proptest::prelude::*;
    use prost::Message as _;

    fn asked(http: HttpRequest) -> CheckRequest {
        CheckRequest { attributes: Some(AttributeContext { request: Some(Request { http: Some(http) }) }) }
    }

    fn http() -> HttpRequest {
        let text = str::to_owned;
        let (method, path, host, scheme) = (text("GET"), text("/a"), text("api.example.com"), text("https"));
        HttpRequest { method, path, host, scheme, ..HttpRequest::default() }
    }

    #[test]
    fn as_many_fields_as_fit_into_a_question_are_no_harm() {
        for count in [32_000_usize, 40_000] {
            let field = |at: usize| HeaderValue { key: format!("{at:x}"), ..HeaderValue::default() };
            let headers = (0..count).map(field).collect();
            let header_map = Some(super::super::messages::HeaderMap { headers });
            match about(asked(HttpRequest { header_map, ..http() })) {
                Ok(_) => {}
                Err(unasked) => assert_eq!(unasked, Unasked::Client(Problem::HeaderCrowded)),
            }
        }
    }

    proptest! {
        #[test]
        fn octets_are_read_or_refused(octets in proptest::collection::vec(any::<u8>(), 0..512)) {
            if let Ok(question) = CheckRequest::decode(&octets[..]) {
                let _ = about(question);
            }
        }

        #[test]
        fn fields_are_read_or_refused(fields in proptest::collection::vec((".{0,12}", proptest::collection::vec(any::<u8>(), 0..24)), 0..8)) {
            let headers = fields.into_iter().map(|(key, raw)| HeaderValue { key, raw_value: raw.into(), ..HeaderValue::default() });
            let header_map = Some(super::super::messages::HeaderMap { headers: headers.collect() });
            let _ = about(asked(HttpRequest { header_map, ..http() }));
        }
    }
}
