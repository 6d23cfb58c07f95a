//! One call of gRPC that is a message each way, on the HTTP/2 of the front:
//! <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>. Neither streams nor compression.

use bytes::{BufMut as _, Bytes, BytesMut};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use prost::Message;

use crate::answer::Problem;
use crate::body::{Body, RequestBody};

const STATUS: HeaderName = HeaderName::from_static("grpc-status");
const MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");

/// Before each message: whether it is compressed, and its length.
const PREFIX: usize = 5;

/// How a call ends without an answer, by the numbers of gRPC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Code {
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unimplemented = 12,
}

/// The same in words, which hold nothing but letters, digits and spaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Failure(pub(super) Code, pub(super) &'static str);

/// Whether the request is a call of this method.
pub(super) fn calls(head: &Parts, method: &str) -> Result<(), Failure> {
    let kind = head.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    let of_grpc = kind == b"application/grpc"
        || kind.starts_with(b"application/grpc+proto")
        || kind.starts_with(b"application/grpc;");
    if head.method != Method::POST || !of_grpc {
        return Err(Failure(Code::InvalidArgument, "this is no call of gRPC"));
    }
    if head.uri.path() != method {
        return Err(Failure(Code::Unimplemented, "there is no such method here"));
    }
    Ok(())
}

/// Reads the one message of a call.
pub(super) async fn read<M: Message + Default>(mut body: RequestBody, most: usize) -> Result<M, Failure> {
    let mut octets = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let Ok(piece) = frame.map_err(failure)?.into_data() else { continue };
        if octets.len() + piece.len() > most + PREFIX {
            return Err(Failure(Code::ResourceExhausted, "the message is too long"));
        }
        octets.extend_from_slice(&piece);
    }
    let malformed = Failure(Code::InvalidArgument, "this is not one message of this method");
    let (prefix, message) = octets.split_first_chunk::<PREFIX>().ok_or(malformed)?;
    let [compressed, length @ ..] = *prefix;
    if compressed != 0 {
        return Err(Failure(Code::Unimplemented, "compression is not known here"));
    }
    if usize::try_from(u32::from_be_bytes(length)) != Ok(message.len()) {
        return Err(malformed);
    }
    M::decode(message).map_err(|_| malformed)
}

const fn failure(problem: Problem) -> Failure {
    match problem {
        Problem::BodyStalled | Problem::BodySlow => Failure(Code::DeadlineExceeded, "the message did not come in time"),
        _ => Failure(Code::InvalidArgument, "the message broke off"),
    }
}

/// The answer to a call.
pub(super) fn answer<M: Message>(message: &M) -> Response<Body> {
    let length = message.encoded_len();
    let mut octets = BytesMut::with_capacity(PREFIX + length);
    octets.put_u8(0);
    octets.put_u32(u32::try_from(length).expect("an answer is made of a header and a few fields"));
    message.encode(&mut octets).expect("a buffer that grows takes everything");
    let trailers = HeaderMap::from_iter([(STATUS, HeaderValue::from_static("0"))]);
    let body = Full::new(Bytes::from(octets)).with_trailers(core::future::ready(Some(Ok(trailers))));
    let mut response = Response::new(Body::streaming(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

impl Failure {
    /// The answer to a call that has failed; whoever does not speak gRPC sees by the status that it has.
    pub(super) fn answer(self, head: &Parts) -> Response<Body> {
        let Self(code, words) = self;
        let mut response = Response::new(Body::empty());
        if head.headers.get(CONTENT_TYPE).is_none_or(|kind| !kind.as_bytes().starts_with(b"application/grpc")) {
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        }
        let fields = response.headers_mut();
        fields.insert(CONTENT_TYPE, GRPC);
        fields.insert(STATUS, HeaderValue::from(code as u16));
        fields.insert(MESSAGE, HeaderValue::from_static(words));
        response
    }
}
