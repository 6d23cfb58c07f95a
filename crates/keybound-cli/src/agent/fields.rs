//! Which fields go through the agent: neither those of one hop, nor those that its secret stands in, nor those it sets itself.

use http::header::{
    AUTHORIZATION, CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, HOST, HeaderMap, HeaderName, PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE,
};

use super::guard::AGENT_SECRET;

/// Of one hop (RFC 9110 section 7.6.1), by themselves.
const ONE_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("proxy-connection"),
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// What a program sends that the target is not to see.
const OURS: [HeaderName; 6] =
    [AGENT_SECRET, AUTHORIZATION, CONTENT_LENGTH, HeaderName::from_static("dpop"), HOST, http::header::EXPECT];

/// Leaves of a request what goes on. The length is told by the body.
pub(super) fn onward(fields: &mut HeaderMap) {
    // Servers of gRPC insist on it, and it is HTTP/2 from end to end.
    let grpc = fields.get(CONTENT_TYPE).is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
    let trailers = fields.get(TE).filter(|te| grpc && *te == "trailers").cloned();
    of_one_hop(fields);
    if let Some(trailers) = trailers {
        fields.insert(TE, trailers);
    }
    for name in &OURS {
        fields.remove(name);
    }
}

/// Leaves of an answer what goes back. The nonce was the agent's.
pub(super) fn back(fields: &mut HeaderMap) {
    if fields.contains_key(TRANSFER_ENCODING) {
        fields.remove(CONTENT_LENGTH); // RFC 9112 section 6.3: it means nothing
    }
    of_one_hop(fields);
    fields.remove("dpop-nonce");
}

fn of_one_hop(fields: &mut HeaderMap) {
    let lines: Vec<String> =
        fields.get_all(CONNECTION).iter().filter_map(|line| line.to_str().ok().map(str::to_owned)).collect();
    let named = lines.iter().flat_map(|line| line.split(',')).filter_map(|name| HeaderName::try_from(name.trim()).ok());
    for name in named.chain(ONE_HOP) {
        fields.remove(&name);
    }
}
